"""When the service is looked for: less and less often while it is away, at once when the person comes back."""

from PySide6.QtCore import Qt

from apitorch_desktop.ui.session.session import Heartbeat, Rhythm


class Spied:
    """A heartbeat whose owner counts how often it wants the service asked."""

    def __init__(self, tasks, parent, rhythm):
        self.wanted = 0
        self.heart = Heartbeat(tasks, rhythm, parent)
        self.heart.connect_wanted.connect(self._count)

    def _count(self):
        self.wanted += 1


def test_pauses_grow_to_the_longest_and_begin_anew_once_it_was_heard(tasks, qapp):
    heart = Heartbeat(tasks, Rhythm(retry=3000, longest=10_000), tasks)
    pauses = []
    for _ in range(6):
        heart.retry()
        pauses.append(heart._retry_timer.interval())
    assert pauses == [3000, 4500, 6750, 10_000, 10_000, 10_000]
    heart.stop(reset=True)
    assert not heart._retry_timer.isActive()
    heart.retry()
    assert heart._retry_timer.interval() == 3000
    heart.stop()


def test_coming_back_to_the_window_ends_the_pause_and_only_a_pause(tasks, qapp):
    spied = Spied(tasks, tasks, Rhythm())
    qapp.applicationStateChanged.emit(Qt.ApplicationState.ApplicationActive)
    assert spied.wanted == 0
    spied.heart.retry()
    qapp.applicationStateChanged.emit(Qt.ApplicationState.ApplicationInactive)
    assert spied.wanted == 0
    qapp.applicationStateChanged.emit(Qt.ApplicationState.ApplicationActive)
    assert spied.wanted == 1
    spied.heart.stop()
