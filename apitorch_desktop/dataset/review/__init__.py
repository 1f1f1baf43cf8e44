"""Review of a training set: duplicates, label issues, quality, balance."""
