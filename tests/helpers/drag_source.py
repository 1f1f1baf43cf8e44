"""A window of another program to drag from: `python drag_source.py X Y PATH_OR_URL…` offers them as a file manager does.

Prints `ready` once it is on the screen, `accepted` or `ignored` as what is under the pointer changes its mind, at last
`dropped` or `refused`.
"""

import sys

from PySide6.QtCore import QMimeData, QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    def __init__(self, urls):
        super().__init__("drag me")
        self._urls = urls
        self.setWindowFlags(Qt.WindowType.FramelessWindowHint | Qt.WindowType.X11BypassWindowManagerHint)
        self.resize(60, 60)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        drag = QDrag(self)
        mime = QMimeData()
        mime.setUrls(self._urls)
        drag.setMimeData(mime)
        drag.actionChanged.connect(
            lambda action: print("accepted" if action == Qt.DropAction.CopyAction else "ignored", flush=True)
        )
        result = drag.exec(Qt.DropAction.CopyAction)
        print("dropped" if result == Qt.DropAction.CopyAction else "refused", flush=True)


app = QApplication(sys.argv[:1])
x, y, *paths = sys.argv[1:]
source = Source([QUrl(p) if "://" in p else QUrl.fromLocalFile(p) for p in paths])
source.move(QPoint(int(x), int(y)))
source.show()
QTimer.singleShot(100, lambda: print("ready", flush=True))
sys.exit(app.exec())
