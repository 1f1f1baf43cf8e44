"""Turns of the Qt event loop."""

import time

from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication


def turn():
    """A turn of the event loop, with the deletions that Qt puts off to its end."""
    QApplication.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def wait_until(condition, seconds=10.0, message="it did not happen in time"):
    """Run the event loop until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        turn()
        time.sleep(0.002)
