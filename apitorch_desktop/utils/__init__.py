"""Helpers without a feature of their own: paths, durable files, SQLite, text, parallel work."""
