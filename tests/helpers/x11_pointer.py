"""A real pointer on a real X server: clicks, keys and drags from another program, sent through the X server by xdotool."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QPoint, QRect
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget

from tests.helpers.waiting import PATIENCE, until

_ROUNDS = 3
"""Answers of the X server that are waited for, 4 ms apart, until what xdotool sent has been handled."""
_SOURCE = Path(__file__).with_name("drag_source.py")


def xdotool(*words: object) -> None:
    """Run xdotool beside the event loop, so that the window can answer meanwhile, and handle all that it sent.

    When xdotool ends, the X server has handed out its events, but they may still be on their way to the window: an answer
    of the server comes after them. Qt's thread that reads them is then given the time to pass them on.
    """
    done = threading.Event()

    def run() -> None:
        try:
            subprocess.run(["xdotool", *map(str, words)], check=True, timeout=PATIENCE)
        finally:
            done.set()

    threading.Thread(target=run).start()
    while not done.is_set():
        QApplication.processEvents()
        time.sleep(0.002)
    for _ in range(_ROUNDS):
        QGuiApplication.sync()
        time.sleep(0.004)
    QApplication.processEvents()


def center(widget: QWidget, part: QRect | None = None) -> QPoint:
    """The center of a widget, or of a part of it, in screen pixels."""
    return widget.mapToGlobal((part or widget.rect()).center())


def click(point: QPoint, button: int = 1, repeat: int = 1) -> None:
    # without a pause: two clicks that are sent at once are a double-click, however busy the machine is
    xdotool("mousemove", point.x(), point.y(), "click", "--repeat", repeat, "--delay", 1, button)


def key(*names: str) -> None:
    xdotool("key", *names)


def write(text: str) -> None:
    xdotool("type", "--delay", 5, text)


class _Over(QObject):
    """Notes where over a window something is dragged.

    It filters the events of that one object: a filter in Python for the whole application sees objects that are being
    made and destroyed as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[QPoint] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() in (QEvent.Type.DragEnter, QEvent.Type.DragMove):
            self.places.append(watched.mapToGlobal(event.position().toPoint()))
        return False


def drag(things: Sequence[Path | str], target: QPoint, corner: QPoint, *, accepted: bool = True) -> str:
    """Drag files or URLs from another program's window at `corner` and drop them at `target`; what came of it.

    The button is let go once our window has been asked about the target and, if it is to be `accepted`, has agreed:
    what is let go before is no drop.
    """
    command = [sys.executable, str(_SOURCE), str(corner.x()), str(corner.y()), *map(str, things)]
    over, widget = _Over(), QApplication.topLevelAt(target)
    assert widget is not None
    window = widget.windowHandle()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        assert source.stdout.readline() == "ready\n"
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(map(str.strip, iter(source.stdout.readline, ""))))
        reader.start()
        window.installEventFilter(over)
        steps: list[object] = ["mousemove", corner.x() + 30, corner.y() + 30, "mousedown", 1, "sleep", 0.2]
        for part in (0.1, 0.4, 0.7, 0.9, 1.0):
            x = corner.x() + 30 + (target.x() - corner.x() - 30) * part
            y = corner.y() + 30 + (target.y() - corner.y() - 30) * part
            steps += ["mousemove", round(x), round(y), "sleep", 0.1]
        xdotool(*steps, "mousemove", target.x(), target.y(), "sleep", 0.2)

        def asked() -> bool:
            """Return whether the target has been asked about; move a little, since the last position may be left out."""
            if not accepted:
                return True
            if over.places and (over.places[-1] - target).manhattanLength() <= 2 and said[-1:] == ["accepted"]:
                return True
            xdotool("mousemove", target.x() + 1, target.y(), "sleep", 0.05, "mousemove", target.x(), target.y())
            return False

        def turn() -> None:
            QApplication.processEvents()
            time.sleep(0.002)

        try:
            until(asked, f"what is dragged to be taken: {said}", between=turn)
        finally:
            window.removeEventFilter(over)
            xdotool("mouseup", 1, "sleep", 0.3)
        outcome = until(
            lambda: next((one for one in said if one in ("dropped", "refused")), ""), "the drop", between=turn
        )
        source.terminate()
        reader.join()
    return outcome
