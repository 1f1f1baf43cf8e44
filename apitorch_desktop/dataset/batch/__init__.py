"""Classification of many images, and the batches that are kept of it."""
