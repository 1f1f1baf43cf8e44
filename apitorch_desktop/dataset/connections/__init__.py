"""Stored connections, their API keys and their clients."""
