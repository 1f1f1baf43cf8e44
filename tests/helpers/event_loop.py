"""Turns of the Qt event loop."""

import time

from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from tests.helpers.waiting import PATIENCE, until


def turn():
    """A turn of the event loop, with the deletions that Qt puts off to its end."""
    QApplication.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def wait_until(condition, what="it did not happen", seconds=PATIENCE):
    """Run the event loop until something is so; answer it."""

    def between():
        turn()
        time.sleep(0.002)

    return until(condition, what, seconds, between)


def expose(widget):
    """Show a widget and wait until it is on the screen."""
    widget.show()
    wait_until(lambda: widget.windowHandle() is not None and widget.windowHandle().isExposed())
