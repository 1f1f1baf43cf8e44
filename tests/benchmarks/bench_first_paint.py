"""First paint of our window against that of a bare PySide6 QMainWindow: whole processes, A and B in turn.

    xvfb-run python tests/benchmarks/bench_first_paint.py [RUNS]

Prints both medians and the median of the ratios pair by pair. Aim: at most 1.3. What is painted first are the window's
surfaces; the third figure is how long it takes until every part lies on them and can be used.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

_CHILD = """
import os, sys
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QMainWindow

class UntilPainted(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint and watched.isWidgetType() and watched.isWindow():
            QTimer.singleShot(0, lambda: os._exit(0))  # behind the paint in the queue
        return False

def until_whole():
    from apitorch_desktop.ui.bootstrap import Bootstrap
    for window in QApplication.topLevelWidgets():
        made = window.findChild(Bootstrap)
        if made is not None and not made._steps:
            QTimer.singleShot(0, lambda: os._exit(0))

run = QApplication.exec
def watched_run(*_):
    app = QApplication.instance()
    if sys.argv[1] == "whole":
        timer = QTimer(interval=2)
        timer.timeout.connect(until_whole)
        timer.start()
    else:
        watch = UntilPainted(app)
        app.installEventFilter(watch)
    return run()
QApplication.exec = watched_run

if sys.argv[1] == "bare":
    app = QApplication([])
    window = QMainWindow()
    window.resize(1440, 900)
    window.show()
    app.exec()
else:
    from apitorch_desktop.cli.main import main
    main([])
"""


def _seconds(which: str) -> float:
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, which], env={**os.environ, "APITORCH_DESKTOP_HOME": home}, timeout=60
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{which} ended with {done.returncode} before its first paint")
    return seconds


def main(runs: int = 15) -> None:
    _seconds("bare"), _seconds("ours")
    pairs = [(_seconds("bare"), _seconds("ours")) for _ in range(runs)]
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    whole = statistics.median(_seconds("whole") for _ in range(runs))
    print(f"bare {bare * 1000:.0f} ms, ours {ours * 1000:.0f} ms, ratio {ratio:.2f} (median of {runs} pairs)")
    print(f"all parts in place after {whole * 1000:.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
