"""A real pointer on a real X server: clicks, keys and drags from another program, sent through the X server by xdotool."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QPoint, QRect
from PySide6.QtWidgets import QApplication, QWidget

_SOURCE = Path(__file__).with_name("drag_source.py")


def xdotool(*words: object) -> None:
    """Run xdotool beside the event loop, so that the window can answer meanwhile."""
    done = threading.Event()

    def run() -> None:
        try:
            subprocess.run(["xdotool", *map(str, words)], check=True, timeout=60)
        finally:
            done.set()

    threading.Thread(target=run).start()
    while not done.is_set():
        QApplication.processEvents()
        time.sleep(0.002)


def center(widget: QWidget, part: QRect | None = None) -> QPoint:
    """The center of a widget, or of a part of it, in screen pixels."""
    return widget.mapToGlobal((part or widget.rect()).center())


def click(point: QPoint, button: int = 1, repeat: int = 1) -> None:
    xdotool("mousemove", point.x(), point.y(), "click", "--repeat", repeat, "--delay", 40, button)


def key(*names: str) -> None:
    xdotool("key", *names)


def write(text: str) -> None:
    xdotool("type", "--delay", 5, text)


def drag(things: Sequence[Path | str], target: QPoint, corner: QPoint) -> str:
    """Drag files or URLs from another program's window at `corner` and drop them at `target`; what came of it."""
    command = [sys.executable, str(_SOURCE), str(corner.x()), str(corner.y()), *map(str, things)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        assert source.stdout.readline() == "ready\n"
        steps: list[object] = ["mousemove", corner.x() + 30, corner.y() + 30, "mousedown", 1, "sleep", 0.2]
        for part in (0.1, 0.4, 0.7, 0.9, 1.0):
            x = corner.x() + 30 + (target.x() - corner.x() - 30) * part
            y = corner.y() + 30 + (target.y() - corner.y() - 30) * part
            steps += ["mousemove", round(x), round(y), "sleep", 0.1]
        xdotool(*steps, "mousemove", target.x(), target.y(), "sleep", 0.2, "mouseup", 1, "sleep", 0.3)
        outcome: list[str] = []
        reader = threading.Thread(target=lambda: outcome.append(source.stdout.readline().strip()))
        reader.start()
        while reader.is_alive():
            QApplication.processEvents()
            time.sleep(0.002)
        source.terminate()
    return outcome[0]
