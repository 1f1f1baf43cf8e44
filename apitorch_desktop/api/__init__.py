"""The API Torch interface and its client. No Qt, no storage."""
