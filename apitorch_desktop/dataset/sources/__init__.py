"""Sources of images: files, archives, addresses, lists."""
