"""Wait for the keyring in a job, while the user enters its password."""

from __future__ import annotations

from threading import Event

from apitorch_desktop.dataset.connections.api_keys import KeyringWait
from apitorch_desktop.ui.tasks.runner import JobContext

WAITING = "Waiting for the keyring. If a window of the system asks for its password, enter it there."


def keyring_wait(context: JobContext) -> KeyringWait:
    """Return a wait that lasts until the keyring answers or the job is cancelled.

    When the keyring is slow, the task's `progress` callback receives an Event; setting it stops the wait.
    """
    stop = Event()
    return KeyringWait(lambda: stop.is_set() or context.cancelled(), lambda: context.post(stop))
