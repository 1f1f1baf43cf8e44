"""Stored connections, their API keys and their API clients."""
