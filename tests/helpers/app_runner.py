"""The real program, run by its own `main()` inside the test: its event loop's place is taken by the test's steps."""

import time

from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QRect, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from apitorch_desktop.cli.main import main
from apitorch_desktop.ui.bootstrap import Bootstrap
from apitorch_desktop.ui.main_window.main_window import MainWindow
from tests.helpers import x11_pointer as pointer

PATIENCE = 90
"""Seconds for one step, on a machine that has other things to do as well."""


SETTLED = 5
"""Turns of the event loop through which a widget's place is the same before it is clicked."""


def turn():
    QApplication.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    time.sleep(0.002)


def wait(condition, what, seconds=PATIENCE):
    """Run the event loop until something is there; answer it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        turn()
    return found


def run(monkeypatch, steps, *arguments):
    """Run the program, and `steps(bootstrap)` once its window is put together; answers main's exit status."""

    def exec_(*_):
        window = next(one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow) and one.isVisible())
        made = wait(lambda: window.findChild(Bootstrap), "the window's parts")
        try:
            wait(lambda: not made._steps and made.session.stores, "what lies on disk")
            window.activateWindow()
            steps(made)
        except BaseException:
            window.close()
            made.end()
            raise
        window.close()
        return 0

    monkeypatch.setattr(QApplication, "exec", exec_)
    application = QApplication.instance()
    try:
        return main(list(arguments))
    finally:
        for window in [one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow)]:
            window.deleteLater()
        turn()
        if application is not None:
            application.setStyleSheet("")


def press(widget: QWidget, part: QRect | None = None):
    """Click a widget with the real pointer, once it is on the screen and its place has settled."""
    wait(widget.isVisible, f"{widget.objectName() or type(widget).__name__} on the screen")
    places = []

    def settled():
        places.append((widget.mapToGlobal(QPoint(0, 0)), widget.size()))
        return len(places) > SETTLED and all(place == places[-1] for place in places[-SETTLED:])

    wait(settled, f"{type(widget).__name__} at rest")
    pointer.click(pointer.center(widget, part))


class Lateness:
    """How late a 10 ms timer of the GUI thread is at worst, in seconds."""

    def __init__(self):
        self.worst = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer(interval=10)
        self._timer.timeout.connect(self._tick)

    def _tick(self):
        now = time.perf_counter()
        self.worst = max(self.worst, now - self._last - 0.010)
        self._last = now

    def __enter__(self):
        self._last = time.perf_counter()
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.stop()


def dialog(kind: type[QWidget]):
    """The visible dialog of a kind; None where there is none."""
    return next((one for one in QApplication.topLevelWidgets() if isinstance(one, kind) and one.isVisible()), None)
