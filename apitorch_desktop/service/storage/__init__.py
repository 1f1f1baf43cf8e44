"""Persistent storage: training sets, images, model versions and classifications, in one data folder."""
