"""The start: what PySide would do for each module that is imported is left out."""

import subprocess
import sys

_IMPORTS = """
import inspect, sys
from apitorch_desktop.ui import app
if "skip" in sys.argv:
    app._skip_source_scans()
read = []
getsource = inspect.getsource
inspect.getsource = lambda module: read.append(module.__name__) or getsource(module)
import colorsys
from PySide6.QtCore import QObject
print("colorsys" in read, hasattr(QObject(), "objectName"))
"""


def test_modules_are_not_read_again_when_they_are_imported():
    known, skipped = (
        subprocess.run([sys.executable, "-c", _IMPORTS, word], capture_output=True, text=True, check=True).stdout
        for word in ("", "skip")
    )
    assert known == "True True\n", "PySide has stopped it: so can we"
    assert skipped == "False True\n"
