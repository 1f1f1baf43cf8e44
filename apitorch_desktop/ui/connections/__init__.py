"""Choosing, adding and changing connections."""
