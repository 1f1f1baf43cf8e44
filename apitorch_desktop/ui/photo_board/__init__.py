"""Board of grouped photos, shared by review, trash and conflicts."""
