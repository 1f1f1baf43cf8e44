"""Findings of Review and actions on them."""
