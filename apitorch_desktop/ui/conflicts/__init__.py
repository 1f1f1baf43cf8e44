"""Conflicts between edits and changes made elsewhere."""
