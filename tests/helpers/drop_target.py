"""A window of another program to drop on: `python drop_target.py X Y`; prints `ready`, then for each drop the files' bytes.

It asks for the addresses as soon as something enters it, as file managers do.
"""

import json
import sys
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QApplication, QLabel


class Target(QLabel):
    def __init__(self):
        super().__init__("drop here")
        self.setWindowFlags(Qt.WindowType.FramelessWindowHint | Qt.WindowType.X11BypassWindowManagerHint)
        self.setAcceptDrops(True)
        self.resize(200, 200)

    def dragEnterEvent(self, event):  # noqa: N802 - Qt's name
        print("formats", json.dumps(event.mimeData().formats()), flush=True)
        event.acceptProposedAction()

    def dropEvent(self, event):  # noqa: N802 - Qt's name
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls()]
        event.acceptProposedAction()
        print("dropped", json.dumps({path.name: path.stat().st_size for path in paths}), flush=True)


app = QApplication(sys.argv[:1])
target = Target()
target.move(QPoint(int(sys.argv[1]), int(sys.argv[2])))
target.show()
QTimer.singleShot(100, lambda: print("ready", flush=True))
sys.exit(app.exec())
