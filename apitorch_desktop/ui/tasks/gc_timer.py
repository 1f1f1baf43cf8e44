"""Garbage collection on the GUI thread only, in portions small enough not to be noticed.

Python's collector runs on whichever thread exceeds its threshold. A widget or timer in a reference cycle could then be
destroyed on a worker, which crashes the process ("Timers cannot be stopped from another thread").
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

INTERVAL = 1000
"""Milliseconds between two checks for enough objects to collect."""
MOST = 20_000
"""Most objects one collection examines: some 3 ms. Start-up alone leaves more than 100,000, modules and classes."""


class GcTimer(QObject):
    """Replaces Python's own collector as long as worker threads may run."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._timer = QTimer(self, interval=INTERVAL)
        self._timer.timeout.connect(self.collect)
        self._timer.start()
        self._was_enabled = gc.isenabled()
        gc.disable()

    def collect(self) -> None:
        """Collect everything if that is quick; else freeze the present objects and collect later ones only.

        Frozen objects are still released when nothing refers to them; only cycles among them stay. They are never
        unfrozen: collecting widgets after their application has ended crashes.
        """
        gc.disable()  # another runner may have ended and enabled it
        if gc.get_count()[0] < gc.get_threshold()[0]:
            return
        if sum(len(gc.get_objects(generation)) for generation in range(3)) > MOST:
            gc.freeze()
        else:
            gc.collect()

    def end(self) -> None:
        """Restore Python's own collector, once no worker runs any more."""
        self._timer.stop()
        if self._was_enabled:
            gc.enable()
