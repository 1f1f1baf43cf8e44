"""The thumbnail grid: layout, model, view, delegate, loader."""
