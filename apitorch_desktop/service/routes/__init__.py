"""The handlers, a module a subject; each answers its rows of the table of operations."""
