"""Background jobs on QThread lanes."""
