"""From pixels to answers. No Qt, no network, no storage."""
