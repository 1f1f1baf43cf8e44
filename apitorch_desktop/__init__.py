"""API Torch Desktop: curates images for a classifier, and classifies by drag and drop.

`ARCHITECTURE.md` beside this file has the tree, the floors, five flows and the glossary.
"""

import os

# before onnxruntime is imported anywhere: version 1.32 reports to its maker, and keeps an id of the device in the cache folder
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
CLASSIFY_OPTION = "--classify"
"""First word of a command line whose photos and folders the window classifies; without it they are imported."""
