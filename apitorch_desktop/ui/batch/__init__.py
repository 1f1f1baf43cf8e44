"""Classification of many photos."""
