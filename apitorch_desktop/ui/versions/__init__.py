"""Versions of the open training set's classifier: what changed in each, compared, and which one is in use."""
