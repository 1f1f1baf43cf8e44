"""Widgets and models shared by several features."""
