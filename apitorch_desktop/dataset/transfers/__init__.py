"""Journalled uploads and downloads."""
