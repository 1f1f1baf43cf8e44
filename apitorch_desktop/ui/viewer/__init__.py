"""Full-size view of a photo."""
