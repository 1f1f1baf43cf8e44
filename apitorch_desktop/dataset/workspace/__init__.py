"""An open connection: listings, image bytes, the offline cache."""
