"""Sidebar with the tree of training sets and labels, and the classifier's state."""
