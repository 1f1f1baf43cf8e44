"""The session against a real service: what is open, what comes in, edits and their undo, and a service that goes away."""

import json
import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from PySide6.QtCore import Qt

from apitorch_desktop.dataset.app_data import open_app_data
from apitorch_desktop.dataset.edits.model import Edit, EditKind, EditOutcome, EditStage
from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.embedded_service import EmbeddedService
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.utils import paths
from tests.helpers.event_loop import wait_until


class Window:
    """The session and its collaborators as the bootstrap makes them, without widgets."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.model = GridModel()
        self.session = Session(tasks, self.model)
        self.editing = EditController(self.session)
        self.stores = open_app_data(paths.desktop_folder(), paths.cache_folder())
        self.embedded = EmbeddedService(tasks, paths.service_folder())
        self.desk = TransferController(tasks)
        self.said = []
        self.session.message.connect(self.said.append)
        self.embedded.changed.connect(self._service_changed)
        tasks.failures.connect(self.session.show_error)

    def _service_changed(self):
        self.stores.clients.set_embedded(self.embedded.url, self.embedded.key)
        self.session.service_changed(bool(self.embedded.url), self.embedded.state_text)

    def begin(self):
        self.embedded.start()
        self.session.use(self.stores, self.stores.connections.current)
        wait_until(lambda: self.session.state is ConnectionState.READY, "the service did not come up")

    def labels(self):
        found = {}
        for row in range(self.model.shown):
            found.setdefault(self.model.label_at(row), []).append(self.model.image(row).image_id)
        return found

    def sentences(self):
        return [message.text for message in self.said]


@pytest.fixture
def window(tasks):
    window = Window(tasks)
    yield window
    window.session.deleteLater()
    window.embedded.deleteLater()
    window.desk.deleteLater()
    assert tasks.shutdown(60)
    window.stores.close()


def pictures(folder: Path, count: int, first: int = 0):
    folder.mkdir(exist_ok=True)
    made = []
    for number in range(first, first + count):
        path = folder / f"{number}.png"
        Image.new("RGB", (40, 30), (number * 7 % 256, number * 31 % 256, 90)).save(path)
        made.append(path)
    return made


@pytest.fixture
def filled(window, tmp_path):
    """A service with the training set “Coats”: three photos of `plains`, two of `mountain`."""
    window.begin()
    client = window.session.workspace.client
    coats = client.create_training_set("Coats")
    for number, path in enumerate(pictures(tmp_path / "first", 5)):
        client.upload_image(coats.id, "plains" if number < 3 else "mountain", path=path)
    window.session.refresh()
    wait_until(lambda: window.model.total == 5, what="the listing did not come")
    wait_until(lambda: window.session.open_set.listed)
    return window


def test_a_service_with_nothing_says_so_and_one_training_set_opens_by_itself(filled):
    session = filled.session
    assert session.open_set.training_set.name == "Coats"
    assert {label: len(ids) for label, ids in filled.labels().items()} == {"mountain": 2, "plains": 3}
    [shown] = session.training_sets
    assert dict(zip(shown.labels, shown.counts, strict=True)) == {"mountain": 2, "plains": 3}
    assert session.unavailable_reason("labels") == ""


def test_what_a_transfer_brings_in_appears_without_a_new_listing(filled, tmp_path):
    session, desk = filled.session, filled.desk
    desk.start(filled.stores.transfers)
    resets = []
    filled.model.modelReset.connect(lambda: resets.append(1))
    desk.progressed.connect(lambda _status: session.open_set.fetch_new_images())
    before = filled.model.image(0).image_id
    uploads = [UploadItem("desert", ImageFile(path), path.name) for path in pictures(tmp_path / "more", 6, 20)]
    filled.stores.imports.upload("embedded", session.open_set.training_set.id, "More", uploads)
    wait_until(lambda: filled.model.total == 11, "the photos did not come")
    assert not resets
    assert session.open_set.counts["desert"] == 6
    assert filled.model.row_of(before) is not None
    wait_until(lambda: [one.state for one in desk.statuses] == ["done"])


def test_labels_and_counts_of_a_set_stay_right_when_another_one_is_opened(filled, tmp_path):
    session, editing = filled.session, filled.editing

    def listed(name):
        found = next(training_set for training_set in session.training_sets if training_set.name == name)
        return dict(zip(found.labels or (), found.counts or (), strict=True))

    editing.create_training_set("Hats", lambda set_id: session.open(set_id))
    wait_until(lambda: session.open_set.training_set.name == "Hats" and session.open_set.listed)
    assert listed("Coats") == {"mountain": 2, "plains": 3}
    hats, client = session.open_set.training_set.id, session.workspace.client
    image = client.upload_image(hats, "straw", path=pictures(tmp_path / "hats", 1, 90)[0])
    session.open_set.refresh()
    wait_until(lambda: filled.model.total == 1)
    coats = next(training_set.id for training_set in session.training_sets if training_set.name == "Coats")
    session.open(coats)
    assert listed("Hats") == {"straw": 1}, "at once, before the service is asked"
    wait_until(lambda: filled.model.total == 5 and session.open_set.listed)
    client.delete_image(image.id)  # another program
    client.delete_image(filled.labels()["plains"][0])
    session._on_application_state(Qt.ApplicationState.ApplicationActive)
    wait_until(lambda: listed("Hats") == {"straw": 0} and listed("Coats") == {"mountain": 2, "plains": 2})
    wait_until(lambda: filled.model.total == 4)
    editing.create_label(hats, "felt")
    wait_until(lambda: set(listed("Hats")) == {"straw", "felt"})


def test_a_large_set_is_shown_as_it_was_before_it_is_compared_with_the_service(filled, monkeypatch):
    monkeypatch.setattr("apitorch_desktop.ui.session.open_training_set._MANY", 4)
    session, editing = filled.session, filled.editing
    coats = session.open_set.training_set.id
    editing.create_training_set("Hats", lambda set_id: session.open(set_id))
    wait_until(lambda: session.open_set.training_set.name == "Hats" and session.open_set.listed)
    session.workspace.client.delete_image(session.workspace.cached_listing(coats).images[0].image_id)  # another program
    shown = []
    session.open(coats)
    session.open_set.changed.connect(lambda: shown.append((filled.model.total, session.open_set.listed)))
    wait_until(lambda: filled.model.total == 4 and session.open_set.listed)
    assert (5, False) in shown
    session.open(
        next(one.id for one in session.training_sets if one.name == "Hats")
    )  # while it may not be compared yet
    wait_until(lambda: session.open_set.training_set.name == "Hats" and session.open_set.listed)
    assert not filled.model.total


def test_a_copy_that_a_listing_saw_in_the_middle_of_a_move_is_shown_once(filled):
    """With the documented calls alone an image that moves is there twice for a moment."""
    open_set = filled.session.open_set
    image = filled.model.record(filled.labels()["plains"][0])
    copy = msgspec.structs.replace(image, id="new", label="mountain")
    open_set.add_images([copy])
    edit = Edit(1, "embedded", open_set.training_set.id, EditKind.MOVE, "move 1 photo", EditStage.DONE, "", 0.0)
    changed = {image.image_id: copy.image_id}
    open_set.apply(EditOutcome(edit, edit.training_set_id, removed=[image.image_id], added=[copy], changed=changed))
    assert filled.model.total == 5
    assert (
        open_set.counts == {label: len(ids) for label, ids in filled.labels().items()} == {"mountain": 3, "plains": 2}
    )


def test_a_move_shows_at_once_and_undo_takes_it_back(filled):
    session, editing = filled.session, filled.editing
    moving = [filled.model.record(one) for one in filled.labels()["plains"][:2]]
    editing.move(moving, "mountain")
    assert len(filled.labels()["mountain"]) == 4  # before the service has answered
    wait_until(lambda: "Moved 2 photos to “mountain”." in filled.sentences())
    assert session.workspace.client.labels(session.open_set.training_set.id)[0].count == 4
    [(verb, undo)] = filled.said[-1].actions
    assert verb == "Undo"
    undo()
    wait_until(lambda: len(filled.labels().get("plains", [])) == 3)
    wait_until(lambda: filled.said[-1].text.startswith("Undone: move 2 photos"))


def test_deleted_photos_come_back(filled):
    ids = filled.labels()["mountain"]
    filled.editing.delete([filled.model.record(one) for one in ids])
    assert filled.model.total == 3
    wait_until(lambda: "Deleted 2 photos." in filled.sentences())
    filled.editing.undo()
    wait_until(lambda: len(filled.labels().get("mountain", [])) == 2)


def test_labels_are_made_renamed_merged_and_deleted(filled):
    session, editing = filled.session, filled.editing
    set_id = session.open_set.training_set.id
    editing.create_label(set_id, "Grévy’s")
    wait_until(lambda: "grévy_s" in session.open_set.counts)
    editing.rename_label(set_id, "plains", "Plains Zebra")
    wait_until(lambda: session.open_set.counts.get("plains_zebra") == 3)
    editing.rename_label(set_id, "mountain", "plains zebra")  # exists: a merge
    wait_until(lambda: session.open_set.counts == {"grévy_s": 0, "plains_zebra": 5})
    editing.delete_label(set_id, "plains_zebra")
    wait_until(lambda: filled.model.total == 0)
    editing.undo()
    wait_until(lambda: filled.model.total == 5)


def test_what_the_service_refuses_is_taken_back_and_said_once(filled):
    editing = filled.editing
    before = filled.labels()
    moving = [filled.model.record(one) for one in before["plains"]]
    for _ in range(2):
        editing.move(moving, "!!!")
        wait_until(lambda: not filled.tasks.active(Lane.INTERACTIVE))
    assert {label: sorted(ids) for label, ids in filled.labels().items() if ids} == {
        label: sorted(ids) for label, ids in before.items()
    }
    told = [message for message in filled.said if message.tone == "bad"]
    assert told
    assert "!!!" in told[0].text
    assert len({message.topic for message in told}) == 1  # the line shows messages of one topic once


def test_a_service_that_dies_is_started_again_and_the_window_goes_on(filled):
    session, states = filled.session, []
    session.connection_changed.connect(lambda: states.append((session.state, session.state_text)))
    os.kill(service_pid(), signal.SIGKILL)
    wait_until(lambda: any(state is ConnectionState.AWAY for state, _ in states))
    assert "started again" in next(words for state, words in states if state is ConnectionState.AWAY)
    wait_until(lambda: session.state is ConnectionState.READY)
    assert filled.model.total == 5
    filled.editing.create_label(session.open_set.training_set.id, "after")
    wait_until(lambda: "after" in session.open_set.counts)


def test_photos_that_somebody_else_deleted_leave_on_refresh(filled):
    gone = filled.labels()["plains"][0]
    filled.session.workspace.client.delete_image(gone)
    filled.session.refresh()
    wait_until(lambda: filled.model.total == 4)
    assert filled.model.row_of(gone) is None


@pytest.mark.parametrize("when", ["done", "under way"])
def test_a_listing_that_was_asked_for_before_an_edit_does_not_take_it_back(filled, monkeypatch, when):
    open_set, workspace = filled.session.open_set, filled.session.workspace
    moved, deleted, left = filled.labels()["plains"]
    listing, move = workspace.listing, filled.stores.edits.move
    fetched, go, sent = threading.Event(), threading.Event(), threading.Event()

    def late(*given, **more):
        found = listing(*given, **more)
        fetched.set()
        assert go.wait(60)
        return found

    def slow(*given, **more):
        assert sent.wait(60)
        return move(*given, **more)

    monkeypatch.setattr(workspace, "listing", late)
    monkeypatch.setattr(filled.stores.edits, "move", slow)
    if when == "under way":
        filled.editing.move([filled.model.record(moved)], "mountain")
    open_set.refresh()
    wait_until(fetched.is_set)
    if when == "done":
        filled.editing.move([filled.model.record(moved)], "mountain")
        sent.set()
    filled.editing.delete([filled.model.record(deleted)])
    labels = {"mountain": 3, "plains": 1}
    if when == "done":  # else any other edit waits for the first one
        filled.editing.create_label(open_set.training_set.id, "new")
        labels["new"] = 0
        wait_until(lambda: "new" in open_set.counts)
    seen = []
    open_set.changed.connect(lambda: seen.append(dict(open_set.counts)))
    go.set()
    wait_until(lambda: seen and not open_set._task)
    assert all(counts == labels for counts in seen), seen
    sent.set()
    wait_until(lambda: "Deleted 1 photo" in " ".join(filled.sentences()))
    assert filled.labels()["plains"] == [left]
    assert filled.model.label_of(moved) == "mountain"


def test_undo_right_after_an_edit_undoes_that_one(filled, monkeypatch):
    """Also where reading the photos of the edit takes longer than the look at what can be undone."""
    move, next_undo, looked = filled.stores.edits.move, filled.stores.edits.next_undo, threading.Event()

    def slow(*given, **more):
        looked.wait(0.5)  # an undo that does not wait is there first
        return move(*given, **more)

    def look(*given):
        if threading.current_thread() is not threading.main_thread() and undone:
            looked.set()
        return next_undo(*given)

    undone = []
    monkeypatch.setattr(filled.stores.edits, "move", slow)
    monkeypatch.setattr(filled.stores.edits, "next_undo", look)
    monkeypatch.setattr(filled.editing, "look_up_history", lambda: None)
    photo = filled.labels()["plains"][0]
    filled.editing.move([filled.model.record(photo)], "mountain")
    undone.append(photo)
    filled.editing.undo()
    wait_until(lambda: "Undone: move 1 photo" in " ".join(filled.sentences()))
    wait_until(lambda: filled.model.label_of(photo) == "plains")


def test_a_photo_that_is_moved_twice_in_a_row_does_not_go_back_in_between(filled, monkeypatch):
    move, gates = filled.stores.edits.move, {"mountain": threading.Event(), "third": threading.Event()}

    def gated(workspace, set_id, records, label, *watch):
        assert gates[label].wait(60)
        return move(workspace, set_id, records, label, *watch)

    monkeypatch.setattr(filled.stores.edits, "move", gated)
    photo = filled.labels()["plains"][0]
    for label, gate in gates.items():
        filled.editing.move([filled.model.record(photo)], label)
        if label == "mountain":
            gate.set()
    wait_until(lambda: "to “mountain”" in " ".join(filled.sentences()))
    assert filled.model.label_of(photo) == "third"
    gates["third"].set()
    wait_until(lambda: "to “third”" in " ".join(filled.sentences()))
    assert filled.model.label_of(photo) == "third"
    assert {one.label for one in filled.session.workspace.listing(filled.session.open_set.training_set.id).images} == {
        "plains", "mountain", "third",
    }  # fmt: skip


def test_a_connection_to_nobody_says_what_to_do_and_a_wrong_key_is_told_apart(filled):
    session, connections = filled.session, filled.stores.connections
    url = filled.embedded.url
    wrong = connections.add("Wrong key", url)
    filled.stores.keys.store(wrong, "w" * 42)
    session.use(filled.stores, wrong)
    wait_until(lambda: session.state is ConnectionState.REFUSED)
    assert "key" in session.state_text.lower()
    assert filled.model.total == 0
    nobody = connections.add("Nobody", "http://127.0.0.1:9/")
    filled.stores.keys.store(nobody, "k" * 42)
    session.use(filled.stores, nobody)
    wait_until(lambda: session.state is ConnectionState.AWAY)
    assert session.unavailable_reason("labels") == session.state_text
    session.use(filled.stores, connections.get("embedded"))
    wait_until(lambda: session.state is ConnectionState.READY and filled.model.total == 5)


@pytest.fixture
def slow_keyring(monkeypatch):
    """The gate of a keyring that answers once the password is entered."""
    gate = threading.Event()

    def answer(_service, name):
        gate.wait(60)
        return "k" * 42 if name.endswith("http://127.0.0.1:9/api/") else None

    monkeypatch.setattr("apitorch_desktop.dataset.connections.api_keys.NOTICE", 0.2)
    monkeypatch.setattr("apitorch_desktop.dataset.connections.api_keys.PATIENCE", 0.1)
    monkeypatch.setattr("keyring.get_password", answer)
    yield gate
    gate.set()


def test_the_keyring_is_waited_for_until_it_answers_or_the_wait_is_stopped(filled, slow_keyring):
    session, expired = filled.session, []
    session.message_expired.connect(expired.append)
    connection = filled.stores.connections.add("Elsewhere", "http://127.0.0.1:9/")
    session.use(filled.stores, connection)
    wait_until(lambda: "Waiting for the keyring" in session.state_text)
    for _ in range(5):  # a retry waits in place of the last one
        session.connect_service()
    wait_until(lambda: sum(one.topic == "keyring wait" for one in filled.said) >= 2)
    assert len([one for one in filled.tasks.active(Lane.INTERACTIVE) if one.title == "Connecting"]) == 1
    assert session.state is ConnectionState.STARTING
    [(verb, stop)] = filled.said[-1].actions
    assert (verb, filled.said[-1].lasting) == ("Stop waiting", True)
    expired.clear()
    stop()
    wait_until(lambda: session.state is ConnectionState.REFUSED)
    assert "keyring does not answer" in session.state_text
    assert "keyring wait" in expired
    session.connect_service()
    slow_keyring.set()
    wait_until(lambda: session.state is ConnectionState.AWAY)  # the key is there; nothing answers at the address
    assert session.key.key == "k" * 42


def test_what_was_seen_is_shown_before_the_service_is_up(filled, tasks):
    filled.session.use(filled.stores, filled.stores.connections.get("embedded"))
    filled.stores.clients.set_embedded("", "")
    wait_until(lambda: bool(filled.session.training_sets))
    assert [one.name for one in filled.session.training_sets] == ["Coats"]


def service_pid():
    return json.loads((paths.service_folder() / "running.json").read_text())["pid"]
