"""Cyclic garbage is collected on the GUI thread only, and never so much at once that the window would stutter.

Python collects wherever an allocation happens to be one too many, on a worker as well; a widget or timer in a reference
cycle would then be destroyed on that worker, and the process dies of it ("Timers cannot be stopped from another thread").
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

INTERVAL = 1000
"""Milliseconds between two looks at whether there is enough to collect."""
MOST = 20_000
"""Objects one collection looks at, at most: some 3 ms. Start-up alone leaves more than 100,000: modules and classes."""


class GcTimer(QObject):
    """Takes over from Python's own collector as long as worker threads may run."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._timer = QTimer(self, interval=INTERVAL)
        self._timer.timeout.connect(self.collect)
        self._timer.start()
        self._was_on = gc.isenabled()
        gc.disable()

    def collect(self) -> None:
        """Collect all there is if that is quick; else take what is there now for good, and collect what comes after it.

        What was taken for good goes as ever when nothing refers to it; only a cycle among it stays. It is never given back:
        to collect widgets after their application has ended crashes.
        """
        gc.disable()  # another owner of threads may have ended and given back
        if gc.get_count()[0] < gc.get_threshold()[0]:
            return
        if sum(len(gc.get_objects(generation)) for generation in range(3)) > MOST:
            gc.freeze()
        else:
            gc.collect()

    def end(self) -> None:
        """No worker runs any more: give the collector back to Python."""
        self._timer.stop()
        if self._was_on:
            gc.enable()
