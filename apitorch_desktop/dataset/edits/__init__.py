"""Undoable edits of training sets, journalled and sent to the service."""
