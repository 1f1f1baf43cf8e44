"""Labeling by keyboard."""
