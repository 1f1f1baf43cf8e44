"""Imports are on the journal of edits before their first image is sent: whatever happens, Undo takes away what came in."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from apitorch_desktop.api.errors import ConnectionFailed
from apitorch_desktop.dataset.edits.history import CannotUndo, EditStage
from apitorch_desktop.dataset.edits.model import to_set_key
from apitorch_desktop.dataset.edits.payloads import ImportPayload
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from apitorch_desktop.dataset.sources.image_source import ImageBytes, UploadItem
from apitorch_desktop.dataset.transfers.queue import TransferQueue, TransferState
from tests.helpers.dataset_home import Home, picture
from tests.helpers.fake_api import FakeApi

COUNT = 12


class Importer:
    """A home with the transfers beside it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.open()

    def open(self) -> None:
        home = self.home
        self.transfers = TransferQueue(home.folder / "transfers", lambda _connection: home.client)
        self.imports = UndoableImports(home.edits.journal, self.transfers)
        home.edits.journal.is_transferring = self.transfers.is_active

    def restart(self) -> None:
        self.transfers.close()
        self.home.restart()
        self.open()

    def accept(self, labels: list[str] | None = None) -> int:
        uploads = [
            UploadItem(
                (labels or ["l0", "new"])[number % 2], ImageBytes(picture(100 + number), "n.jpg"), f"{number}.jpg"
            )
            for number in range(COUNT)
        ]
        listed = self.home.listing().labels
        return self.imports.upload("c1", self.home.set_id, "Importing", uploads, labels_before=listed)

    def work(self, enough: int | None = None) -> None:
        """Work transfers off, or until so many images were sent."""
        stop, client, sent = threading.Event(), self.home.client, []
        right = client.upload_image

        def upload_image(*given, **more):
            answer = right(*given, **more)
            sent.append(answer)
            if len(sent) == enough:
                stop.set()
            return answer

        client.upload_image = upload_image
        self.transfers.work(stop.is_set, until_done=True)
        client.upload_image = right

    def state(self) -> dict[str, list[str]]:
        """What is listed, by the bytes that are really there."""
        found = self.home.content()
        return {label: found.get(label, []) for label in self.home.listing().labels}


@pytest.fixture
def importer(either: Home):
    made = Importer(either)
    yield made
    made.transfers.close()


def test_an_import_is_undone_and_done_again_with_the_labels_it_made(importer):
    before = importer.state()
    transfer = importer.accept()
    assert importer.home.edits.journal.undoable("c1") is None, "a running import is not undone"
    importer.work()
    ended = importer.imports.finish("c1", transfer)
    assert (ended.created, ended.edit.title, ended.edit.stage) == (COUNT, "import 12 photos", EditStage.DONE)
    after = importer.state()
    assert (len(after["l0"]), len(after["new"])) == (11, 6)
    assert importer.imports.finish("c1", transfer).edit is None  # said once
    importer.restart()
    importer.home.edits.undo(importer.home.workspace)
    assert importer.state() == before
    importer.home.edits.redo(importer.home.workspace)
    assert importer.state() == after


def cancel(importer, transfer):
    """Its own *Cancel*, as the window runs it."""
    importer.transfers.cancel(transfer)
    return importer.imports.finish("c1", transfer)


def test_an_import_that_was_cancelled_is_not_undone_while_it_goes_on_again(importer):
    home, before = importer.home, importer.state()
    home.edits.create_label(home.workspace, home.set_id, "earlier")
    transfer = importer.accept()
    importer.work(4)
    cancel(importer, transfer)
    assert home.edits.journal.undoable("c1").title.startswith("import ")
    importer.transfers.resume(transfer)
    assert home.edits.journal.undoable("c1").title == "make the label “earlier”"
    importer.work()
    importer.imports.finish("c1", transfer)
    assert len(importer.state()["l0"]) == 11
    for _ in range(3):  # what came before the cancel, what came after it, the label
        home.edits.undo(home.workspace)
    assert importer.state() == before


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_undo_leaves_a_running_import_alone_and_takes_away_what_came_in_once_it_is_cancelled(importer, sent):
    before = importer.state()
    transfer = importer.accept()
    if sent:
        importer.work(sent)
    importer.restart()
    importer.imports.recover(importer.home.workspace)
    came = len(importer.state().get("new", ())) + len(importer.state()["l0"]) - 5
    assert came >= sent
    with pytest.raises(CannotUndo, match="import under way"):
        importer.home.edits.undo(importer.home.workspace)
    assert importer.transfers.status(transfer).state == "waiting"
    assert cancel(importer, transfer).created == came
    if sent:
        importer.home.edits.undo(importer.home.workspace)
    assert importer.state() == before
    assert importer.transfers.status(transfer).state == "cancelled"
    importer.work()
    assert importer.state() == before, "it does not go on"


def test_undo_during_an_import_takes_back_the_last_finished_edit_and_the_import_goes_on(importer):
    home = importer.home
    before = importer.state()
    home.edits.move(home.workspace, home.set_id, home.images("l1")[:1], "l2")
    transfer = importer.accept()
    importer.work(4)
    assert home.edits.undo(home.workspace).edit.title == "move 1 photo to “l2”"
    importer.work()
    assert importer.imports.finish("c1", transfer).created == COUNT
    after = importer.state()
    assert {label: images for label, images in after.items() if label not in {"l0", "new"}} == {
        label: images for label, images in before.items() if label != "l0"
    }
    home.edits.undo(home.workspace)
    assert importer.state() == before


def test_after_resume_only_what_came_in_since_is_counted_and_undone(importer):
    transfer = importer.accept()
    importer.work(3)
    first = cancel(importer, transfer).created
    importer.transfers.resume(transfer)
    importer.work()
    ended = importer.imports.finish("c1", transfer)
    assert (ended.created, ended.known) == (COUNT - first, first)
    assert ended.edit.title == f"import {COUNT - first} photos"


def test_an_import_that_ended_when_nobody_was_there_is_remembered_at_the_next_start(importer):
    before = importer.state()
    importer.accept()
    importer.work()
    importer.restart()
    importer.imports.recover(importer.home.workspace)
    assert importer.home.edits.journal.undoable("c1").title == "import 12 photos"
    importer.home.edits.undo(importer.home.workspace)
    assert importer.state() == before


def test_an_upload_whose_answer_was_lost_is_taken_away_too(plain: Home, documented: FakeApi):
    importer = Importer(plain)
    before = importer.state()
    transfer = importer.accept()
    documented.wrong("lost", method="POST", path="/image$", times=1)
    importer.work(3)
    importer.transfers._journal._file.read("UPDATE items SET state = 1 WHERE id = 1")  # as a kill would have left it
    importer.restart()
    assert importer.state() != before
    cancel(importer, transfer)
    plain.edits.undo(plain.workspace)
    assert importer.state() == before
    importer.transfers.close()


def test_what_a_retry_brings_in_is_undone_by_itself_and_the_rest_after_it(plain: Home, documented: FakeApi):
    importer = Importer(plain)
    before = importer.state()
    transfer = importer.accept()
    documented.wrong(400, method="POST", path="/new/image$", times=2)
    importer.work()
    assert importer.transfers.status(transfer).failed == 2
    assert importer.imports.finish("c1", transfer).edit.title == "import 10 photos"
    first = importer.state()
    documented.right()
    importer.transfers.retry_failed(transfer)
    importer.work()
    assert importer.imports.finish("c1", transfer).edit.title == "import 2 photos"
    assert len(importer.state()["new"]) == 6
    plain.edits.undo(plain.workspace)
    assert importer.state() == first
    plain.edits.undo(plain.workspace)
    assert importer.state() == before
    importer.transfers.close()


def test_an_edit_made_meanwhile_is_undone_first_and_redo_is_kept_until_the_import_ends(importer):
    home = importer.home
    home.edits.move(home.workspace, home.set_id, home.images("l1")[:1], "l2")
    home.edits.undo(home.workspace)
    transfer = importer.accept()
    importer.work(4)
    assert home.edits.journal.redoable("c1") is not None
    home.edits.delete(home.workspace, home.set_id, home.images("l3")[:1])
    importer.work()
    importer.imports.finish("c1", transfer)
    assert home.edits.journal.undoable("c1").title == "delete 1 photo"
    home.edits.undo(home.workspace)
    assert home.edits.journal.undoable("c1").title == "import 12 photos"


def test_nothing_of_an_import_that_brought_nothing_in_stays_on_the_journal(importer):
    uploads = [UploadItem("l0", ImageBytes(picture(0), "n.jpg"), "n.jpg")]
    transfer = importer.imports.upload("c1", importer.home.set_id, "Again", uploads)
    importer.work()
    assert importer.imports.finish("c1", transfer).created == 0
    assert importer.home.edits.journal.rows("c1") == []


def test_an_import_that_was_never_accepted_is_forgotten(importer, monkeypatch):
    monkeypatch.setattr(importer.transfers, "add_upload", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        importer.accept()
    assert importer.home.edits.journal.rows("c1") == []


def test_an_import_that_was_never_accepted_takes_no_photos_of_another_connection_with_the_same_number(importer):
    journal = importer.home.edits.journal
    orphan = ImportPayload(planned=True, transfer_id=1, lock_name="0")  # the program ended before the transfer's commit
    journal.add("c2", to_set_key(importer.home.set_id), orphan, "the import", EditStage.BEGUN)
    assert importer.accept() == 1
    importer.work()
    importer.imports.recover(SimpleNamespace(connection=SimpleNamespace(id="c2")))
    assert journal.rows("c2") == []
    assert importer.imports.finish("c1", 1).created == COUNT


# --- into a training set made for it


def names(home: Home) -> list[str]:
    return [one.name for one in home.client.training_sets()]


@pytest.fixture
def maker(real: Home):
    made = Importer(real)
    yield made
    made.transfers.close()


def into_new(maker: Importer, name: str) -> int:
    begun = maker.imports.create_training_set("c1", maker.home.client, name)
    uploads = [UploadItem("a", ImageBytes(picture(200 + number), "n.jpg"), f"{number}.jpg") for number in range(3)]
    return maker.imports.upload("c1", begun.training_set.id, "Importing", uploads, new_set=begun)


def test_the_training_set_an_import_made_goes_with_its_undo_and_comes_back_with_its_redo(maker):
    home, name = maker.home, "Made for it"
    transfer = into_new(maker, name)
    maker.work()
    assert maker.imports.finish("c1", transfer).edit.title == "import 3 photos"
    maker.restart()
    home.edits.undo(home.workspace)
    assert name not in names(home)
    again = home.edits.redo(home.workspace)
    assert sorted(home.client.images(again.training_set_id).data[0].label) == ["a"]
    assert len(home.client.images(again.training_set_id).data[0].images) == 3
    outcome = home.edits.undo(home.workspace)
    assert outcome.training_set_removed
    assert name not in names(home)


def killed(home: Home, name: str, heard: bool) -> None:
    """A process that makes a training set for an import and dies, after or before it has heard of it."""
    code = """
import os, sys
from pathlib import Path
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from tests.helpers.dataset_home import Home
folder, url, key, name, heard = sys.argv[1:]
home = Home(Path(folder), url, key, 0)
right = home.client.create_training_set
def die(*given):
    right(*given)
    os._exit(9)
if not heard:
    home.client.create_training_set = die
imports = UndoableImports(home.edits.journal, TransferQueue(home.folder / "transfers", lambda _one: home.client))
imports.create_training_set("c1", home.client, name)
os._exit(9)
"""
    words = [str(home.folder), home.url, home.key, name, "heard" if heard else ""]
    assert subprocess.run([sys.executable, "-c", code, *words], timeout=60).returncode == 9
    assert name in names(home)


@pytest.mark.parametrize("heard", [True, False])
def test_a_training_set_made_just_before_a_kill_goes_at_the_next_start(maker, heard):
    home, name = maker.home, f"Half made {heard}"
    killed(home, name, heard)
    maker.restart()
    assert maker.imports.recover(home.workspace).lost == [name]
    assert name not in names(home)
    assert home.edits.journal.rows("c1") == []
    assert maker.imports.recover(home.workspace).lost == []


def test_undo_before_that_is_of_the_edit_before_it_and_nothing_else(maker):
    home, name = maker.home, "Not undone"
    before = home.content()
    home.edits.move(home.workspace, home.set_id, home.images("l1")[:1], "l2")
    killed(home, name, True)
    maker.restart()
    assert home.edits.undo(home.workspace).edit.title == "move 1 photo to “l2”"
    assert home.content() == before
    assert maker.imports.recover(home.workspace).lost == [name]


def test_a_training_set_is_not_undone_while_photos_are_imported_into_it(maker):
    home, name = maker.home, "Being filled"
    made = home.edits.create_training_set(home.workspace, name).training_set_id
    uploads = [UploadItem("a", ImageBytes(picture(200 + number), "n.jpg"), f"{number}.jpg") for number in range(3)]
    transfer = maker.imports.upload("c1", made, "Importing", uploads)
    with pytest.raises(CannotUndo, match="Photos are being imported into “Being filled”"):
        home.edits.undo(home.workspace)
    assert name in names(home)
    cancel(maker, transfer)
    home.edits.undo(home.workspace)
    assert name not in names(home)


def test_nothing_is_journalled_of_an_import_whose_training_set_is_gone(maker):
    home, name = maker.home, "Gone"
    transfer = into_new(maker, name)
    maker.work()
    made = next(found.id for found in home.client.training_sets() if found.name == name)
    home.client.delete_training_set(made)
    maker.transfers._engine.run(transfer).state = TransferState.STOPPED  # as if not all had been sent yet
    ended = cancel(maker, transfer)
    assert (ended.created, ended.edit) == (0, None)
    assert home.edits.journal.rows("c1") == []


def test_a_training_set_that_others_filled_meanwhile_stays(maker):
    home, name = maker.home, "Filled"
    killed(home, name, False)
    [found] = [one for one in home.client.training_sets() if one.name == name]
    home.client.upload_image(found.id, "theirs", data=picture(300), filename="t.jpg")
    maker.restart()
    maker.imports.recover(home.workspace)
    assert name in names(home)


def test_an_import_that_is_just_being_accepted_is_left_alone_by_undo_and_by_other_programs(maker):
    home, name = maker.home, "Just now"
    home.edits.move(home.workspace, home.set_id, home.images("l1")[:1], "l2")
    begun = maker.imports.create_training_set("c1", home.client, name)
    other = Home(home.folder, home.url, home.key, home.set_id)
    transfers = TransferQueue(home.folder / "transfers", lambda _connection: other.client)
    assert UndoableImports(other.edits.journal, transfers).recover(other.workspace).lost == []
    assert home.edits.undo(home.workspace).edit.title == "move 1 photo to “l2”"
    maker.imports.upload("c1", begun.training_set.id, "Importing", [], new_set=begun)
    transfers.close()
    other.close()
    assert name in names(home)


def test_photos_that_cannot_be_accepted_leave_a_training_set_that_undo_removes(maker, monkeypatch):
    home, name = maker.home, "No room"
    monkeypatch.setattr(maker.transfers, "add_upload", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        into_new(maker, name)
    assert home.edits.journal.undoable("c1").title == f"make the training set “{name}”"
    home.edits.undo(home.workspace)
    assert name not in names(home)


def test_a_training_set_that_could_not_be_made_leaves_nothing_on_the_journal(maker, monkeypatch):
    fault = ConnectionFailed("Nothing answers.")
    fault.unsent = True
    monkeypatch.setattr(maker.home.client, "create_training_set", lambda *_: (_ for _ in ()).throw(fault))
    with pytest.raises(ConnectionFailed):
        maker.imports.create_training_set("c1", maker.home.client, "Never")
    assert maker.home.edits.journal.rows("c1") == []
