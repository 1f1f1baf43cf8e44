"""The grid page: search, filter, sort, share."""
