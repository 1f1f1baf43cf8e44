"""Tree of training sets and labels."""
