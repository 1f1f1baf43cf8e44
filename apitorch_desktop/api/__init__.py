"""Wire types and client of the API Torch interface, which INTERFACE.md describes. No Qt, no storage."""
