"""One photo at full size."""
