"""The main window's frame: toolbar, status bar, pages, drop overlay."""
