"""Classification of single photos, and feedback."""
