"""List and control of transfers."""
