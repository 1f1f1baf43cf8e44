"""Comparison of two training sets, push and pull."""
