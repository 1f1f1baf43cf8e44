"""Cyclic garbage is collected on the GUI thread only.

Python collects wherever an allocation happens to be one too many, on a worker as well; a widget or timer in a reference
cycle would then be destroyed on that worker, and the process dies of it ("Timers cannot be stopped from another thread").
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

INTERVAL = 1000
"""Milliseconds between two looks at whether there is enough to collect."""


class Garbage(QObject):
    """Takes over from Python's own collector as long as worker threads may run."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._frozen = False
        self._timer = QTimer(self, interval=INTERVAL)
        self._timer.timeout.connect(self.collect)
        self._timer.start()
        gc.disable()

    def collect(self) -> None:
        """Collect as far as Python would have by now: mostly only what is young, which takes well under a millisecond."""
        gc.disable()  # another owner of threads may have ended and given back
        due = [count > threshold for count, threshold in zip(gc.get_count(), gc.get_threshold(), strict=True)]
        if all(due[1:]):
            gc.collect()
        elif due[1]:
            gc.collect(1)
            if not self._frozen:
                # By now the program is up. Its modules and classes live as long as the process: to look at them again
                # and again would stop the window for 100 ms each time.
                self._frozen = True
                gc.freeze()
        elif due[0]:
            gc.collect(0)

    def end(self) -> None:
        """No worker runs any more: give the collector back to Python."""
        self._timer.stop()
        gc.enable()
