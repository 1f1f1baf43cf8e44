"""Export of a training set to a folder or an archive."""
