"""The open connection and the open training set."""
