"""Work on training sets over any connection: sources, imports, edits, transfers, review, exports. No Qt."""
