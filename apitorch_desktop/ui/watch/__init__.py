"""Watched folders: photos that arrive are classified in the background."""
