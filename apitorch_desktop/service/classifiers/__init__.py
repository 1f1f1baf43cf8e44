"""Classification, training and export."""
