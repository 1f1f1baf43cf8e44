"""The map: the open training set as a plane of photos."""
