"""Loading and decoding of thumbnails and photos."""
