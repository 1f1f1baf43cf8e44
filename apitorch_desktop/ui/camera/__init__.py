"""Cameras: the live picture with a classifier's answer, and photos taken into labels by key."""
