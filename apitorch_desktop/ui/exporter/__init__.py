"""Export of a training set."""
