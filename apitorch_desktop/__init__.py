"""API Torch Desktop: curates images for a classifier, and classifies by drag and drop.

`ARCHITECTURE.md` beside this file has the tree, the floors, five flows and the glossary.
"""

__version__ = "0.1.0"
CLASSIFY_OPTION = "--classify"
"""First word of a command line whose photos and folders the window classifies; without it they are imported."""
