"""From dropped files to an import plan and an undoable import."""
