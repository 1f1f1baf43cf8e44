"""Imports are on the journal of edits before their first image is sent: whatever happens, Undo takes away what came in."""

import threading

import pytest

from apitorch_desktop.dataset.edits import CannotUndo, Stage
from apitorch_desktop.dataset.sources import Picture, Upload
from apitorch_desktop.dataset.transfers import Transfers
from tests.misbehaving import Misbehaving
from tests.unit.dataset.homes import Home, picture

COUNT = 12


class Importer:
    """A home with the transfers beside it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.open()

    def open(self) -> None:
        home = self.home
        self.transfers = Transfers(home.folder / "transfers", lambda _connection: home.client)
        self.imports = home.edits.importing(self.transfers)

    def restart(self) -> None:
        self.transfers.close()
        self.home.restart()
        self.open()

    def accept(self, labels: list[str] | None = None) -> int:
        uploads = [
            Upload((labels or ["l0", "new"])[number % 2], Picture(picture(100 + number), "n.jpg"), f"{number}.jpg")
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
    assert importer.home.edits.undoable("c1").stage is Stage.BEGUN
    importer.work()
    ended = importer.imports.ended("c1", transfer)
    assert (ended.created, ended.edit.title, ended.edit.stage) == (COUNT, "import 12 photos", Stage.DONE)
    after = importer.state()
    assert (len(after["l0"]), len(after["new"])) == (11, 6)
    assert importer.imports.ended("c1", transfer).edit is None  # said once
    importer.restart()
    importer.home.edits.undo(importer.home.workspace)
    assert importer.state() == before
    importer.home.edits.redo(importer.home.workspace)
    assert importer.state() == after


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_undo_of_an_import_that_was_interrupted_cancels_it_and_takes_away_what_came_in(importer, sent):
    before = importer.state()
    transfer = importer.accept()
    if sent:
        importer.work(sent)
    importer.restart()
    importer.imports.settle("c1")
    assert len(importer.state().get("new", ())) + len(importer.state()["l0"]) - 5 >= sent
    with pytest.raises(CannotUndo, match="still under way"):
        importer.home.edits.undo(importer.home.workspace)
    importer.imports.stop("c1")
    if sent:
        importer.home.edits.undo(importer.home.workspace)
    assert importer.state() == before
    assert importer.transfers.status(transfer).state == "cancelled"
    importer.work()
    assert importer.state() == before, "it does not go on"


def test_an_import_that_ended_when_nobody_was_there_is_remembered_at_the_next_start(importer):
    before = importer.state()
    importer.accept()
    importer.work()
    importer.restart()
    importer.imports.settle("c1")
    assert importer.home.edits.undoable("c1").title == "import 12 photos"
    importer.home.edits.undo(importer.home.workspace)
    assert importer.state() == before


def test_an_upload_whose_answer_was_lost_is_taken_away_too(plain: Home, documented: Misbehaving):
    importer = Importer(plain)
    before = importer.state()
    importer.accept()
    documented.wrong("lost", method="POST", path="/image$", times=1)
    importer.work(3)
    importer.transfers._journal._rows("UPDATE items SET state = 1 WHERE id = 1")  # as a kill would have left it
    importer.restart()
    assert importer.state() != before
    importer.imports.stop("c1")
    plain.edits.undo(plain.workspace)
    assert importer.state() == before
    importer.transfers.close()


def test_what_a_retry_brings_in_is_undone_by_itself_and_the_rest_after_it(plain: Home, documented: Misbehaving):
    importer = Importer(plain)
    before = importer.state()
    transfer = importer.accept()
    documented.wrong(400, method="POST", path="/new/image$", times=2)
    importer.work()
    assert importer.transfers.status(transfer).failed == 2
    assert importer.imports.ended("c1", transfer).edit.title == "import 10 photos"
    first = importer.state()
    documented.right()
    importer.transfers.retry_failed(transfer)
    importer.work()
    assert importer.imports.ended("c1", transfer).edit.title == "import 2 photos"
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
    assert home.edits.redoable("c1") is not None
    home.edits.delete(home.workspace, home.set_id, home.images("l3")[:1])
    importer.work()
    importer.imports.ended("c1", transfer)
    assert home.edits.undoable("c1").title == "delete 1 image"
    home.edits.undo(home.workspace)
    assert home.edits.undoable("c1").title == "import 12 photos"


def test_nothing_of_an_import_that_brought_nothing_in_stays_on_the_journal(importer):
    uploads = [Upload("l0", Picture(picture(0), "n.jpg"), "n.jpg")]
    transfer = importer.imports.upload("c1", importer.home.set_id, "Again", uploads)
    importer.work()
    assert importer.imports.ended("c1", transfer).created == 0
    assert importer.home.edits.history("c1") == []


def test_an_import_that_was_never_accepted_is_forgotten(importer, monkeypatch):
    monkeypatch.setattr(importer.transfers, "add_upload", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        importer.accept()
    assert importer.home.edits.history("c1") == []
