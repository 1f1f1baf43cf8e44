"""Thumbnails: loading and decoding."""
