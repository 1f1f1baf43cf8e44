"""The real program, run by its own `main()` inside the test: its event loop's place is taken by the test's steps.

It fails on anything that the program writes to standard error, and notes which actions of the registry were driven.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtCore import QPoint, QRect, Qt, qInstallMessageHandler
from PySide6.QtGui import QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from apitorch_desktop.cli.main import main
from apitorch_desktop.ui.actions import ActionRegistry
from apitorch_desktop.ui.bootstrap import Bootstrap
from apitorch_desktop.ui.main_window.main_window import MainWindow
from tests.helpers import x11_pointer as pointer
from tests.helpers.event_loop import turn
from tests.helpers.event_loop import wait_until as wait
from tests.helpers.waiting import PATIENCE

SETTLED = 5
"""Turns of the event loop through which a widget's place is the same before it is clicked."""


def run(monkeypatch, steps, *arguments):
    """Run the program, and `steps(bootstrap)` once its window is put together; answers main's exit status."""

    failures = []

    def exec_(*_):
        window = next(one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow) and one.isVisible())
        made = wait(lambda: window.findChild(Bootstrap), "the window's parts")
        try:
            wait(lambda: not made._steps and made.session.stores, "what lies on disk")
            window.activateWindow()
            steps(made)
        except BaseException as failure:  # noqa: BLE001 - raised once the program has ended in order, its files closed
            failures.append(failure)
        window.close()
        # the program would leave a job behind after 5 s by `os._exit`, and the runner of tests with it
        assert made.tasks.shutdown(PATIENCE), "a job ignores its cancellation"
        return 0

    monkeypatch.setattr(QApplication, "exec", exec_)
    note_actions(monkeypatch)
    application, interval = QApplication.instance(), sys.getswitchinterval()
    try:
        with silent_standard_error():
            status = main(list(arguments))
            if failures:
                raise failures[0]
            return status
    finally:
        sys.setswitchinterval(interval)
        for window in [one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow)]:
            window.deleteLater()
        turn()
        if application is not None:
            plain_look(application)


def plain_look(application):
    """Take back what a theme did to the application: the next one starts from its type and colors, as a program does."""
    application.setStyleSheet("")
    application.setPalette(QPalette())
    application.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont))
    application.setLayoutDirection(Qt.LayoutDirection.LeftToRight)
    QGuiApplication.clipboard().clear()


driven: set[str] = set()
"""Ids of the actions of the registry that the running test has driven by pointer or key; the runner of tests empties it."""
_TESTS = str(Path(__file__).parents[1])
_PUMPS = {"turn", "xdotool", "drag"}
"""Functions of the tests that run the event loop: what they lead to came of an event, not of a call."""


def note_actions(monkeypatch):
    """Note each action that an event of pointer or keyboard runs; one that a test calls itself does not count."""
    run_action = ActionRegistry._run

    def noting(registry, spec):
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(_TESTS):
            frame = frame.f_back
        if frame is not None and frame.f_code.co_name in _PUMPS:
            driven.add(spec.id)
        return run_action(registry, spec)

    if run_action.__name__ != "noting":
        monkeypatch.setattr(ActionRegistry, "_run", noting)


@contextmanager
def silent_standard_error():
    """Fail if anything is written to standard error: by Python, by Qt, or by a library below."""
    known, handler = sys.stderr, qInstallMessageHandler(None)  # pytest-qt would keep Qt's messages to itself
    saved = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", buffering=1) as written:
        os.dup2(written.fileno(), 2)
        sys.stderr = written
        try:
            yield
        finally:
            sys.stderr = known
            os.dup2(saved, 2)
            os.close(saved)
            qInstallMessageHandler(handler)
            written.seek(0)
            text = written.read()
            known.write(text)
    assert not text, f"on standard error: {text}"


Target = QWidget | Callable[[], QWidget | None]
Part = QRect | Callable[[], QRect] | None


def press(target: Target, part: Part = None, **how):
    """Click a widget, or a part of it, with the real pointer, once it is on the screen and its place has settled.

    What the window may replace or move meanwhile is given by a function that finds it anew.
    """
    pointer.click(place(target, part), **how)


def place(target: Target, part: Part = None):
    """Wait until a widget is on the screen and at rest; answer the middle of it, or of a part of it, on the screen."""
    find = (lambda: target) if isinstance(target, QWidget) else target
    find_part = part if callable(part) else lambda: part
    places = []

    def settled():
        found = find()
        if found is None or not found.isVisible():
            places.clear()
            return None
        places.append((found, found.mapToGlobal(QPoint(0, 0)), found.size(), find_part()))
        return found if len(places) > SETTLED and all(seen == places[-1] for seen in places[-SETTLED:]) else None

    name = type(target).__name__ if isinstance(target, QWidget) else "a widget"
    return pointer.center(wait(settled, f"{name} on the screen and at rest"), find_part())


def dialog(kind: type[QWidget]):
    """The visible dialog of a kind; None where there is none."""
    return next((one for one in QApplication.topLevelWidgets() if isinstance(one, kind) and one.isVisible()), None)
