"""Route handlers by subject; each module contributes rows to the operation table."""
