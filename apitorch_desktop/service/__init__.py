"""An API Torch service: everything works on one machine, offline. No Qt."""
