"""The thumbnail grid: layout, model, view, painter."""
