"""The start: what PySide would do for each module that is imported is left out."""

import os
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


_OPENED = """
from PySide6.QtCore import QUrl
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication
from apitorch_desktop.ui.app import FileOpenApplication
app, opened = FileOpenApplication([]), []
app.paths_opened.connect(lambda paths: (opened.append(paths), print(paths)))
for word in ("/photos/a b.jpg", "/photos/c.jpg"):
    QApplication.sendEvent(app, QFileOpenEvent(QUrl.fromLocalFile(word)))
app.processEvents()
assert not opened, "the window is not there yet"
app.begin()
app.processEvents()
QApplication.sendEvent(app, QFileOpenEvent(QUrl("https://example.org/d.jpg")))
app.processEvents()
"""


def test_files_given_to_the_icon_on_macos_arrive_together_once_the_window_is_there():
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", _OPENED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['/photos/a b.jpg', '/photos/c.jpg']\n['https://example.org/d.jpg']\n"
