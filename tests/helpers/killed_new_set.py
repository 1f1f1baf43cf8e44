"""A program that is killed while it imports a folder into a training set made for it: `python dying_new_set.py FOLDER WHEN`.

WHEN: “unheard” (the set is made, the answer not heard), “unread” (no photo accepted yet), “middle” (three photos sent).
"""

import sys
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer

CORNER = QPoint(1500, 920)
PHOTOS = 3
_AT = {
    "unheard": (ApiClient, "create_training_set", 1),
    "unread": (TransferQueue, "add_upload", 0),
}


def stop_at(kind, name, calls):
    """From so many calls of a method on, nothing goes on any more."""
    right, gone, lock = getattr(kind, name), [], threading.Lock()

    def call(*given, **more):
        with lock:
            late = len(gone) >= calls
            gone.append(name)
        answer = None if late else right(*given, **more)
        if late or (name == "create_training_set"):
            threading.Event().wait()
        return answer

    setattr(kind, name, call)


def stop_in_the_middle():
    """Of the first photos that go together only three do, and then nothing goes on any more."""
    right, begun = ApiClient.upload_images, threading.Lock()

    def call(client, training_set, label, files, **more):
        if begun.acquire(blocking=False):
            right(client, training_set, label, files[:PHOTOS], **more)
        threading.Event().wait()

    ApiClient.upload_images = call


def steps(made):
    folder, when = sys.argv[1:]
    program.wait(lambda: made.session.sets_confirmed, "the service")
    program.wait(lambda: made.central_widget.empty.title() == "Drop a folder of photos here", "the empty window")
    if when == "middle":
        stop_in_the_middle()
    else:
        stop_at(*_AT[when])
    assert pointer.drag([Path(folder)], pointer.center(made.central_widget.pages), CORNER) == "dropped"
    plan = program.wait(lambda: program.dialog(ImportDialog), "the plan")
    program.wait(plan.start.isEnabled, "the look at the photos")
    program.press(plan.start)
    print("started", flush=True)
    program.wait(lambda: False, "being killed")


if __name__ == "__main__":
    program.run(pytest.MonkeyPatch(), steps)
