"""The page about the open training set: figures, labels, and what can be done with it."""
