"""A data folder that version 0.1.0 wrote opens with everything in it: sets, edits to undo, trash, transfers, settings.

`tests/data/v0_1_0_home.tar.gz` holds `home` (APITORCH_DESKTOP_HOME), `second_service` (the data folder of the service that
the second connection names) and `sources` (the files its transfers refer to); `v0_1_0_expected.json` is what 0.1.0 itself
read in it. Both were written once by the released program.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from apitorch_desktop.dataset.app_data import open_app_data
from apitorch_desktop.service.launcher import ServiceProcess
from apitorch_desktop.utils import paths
from tests.helpers import app_runner
from tests.helpers.dataset_home import picture
from tests.helpers.service_process import serving

DATA = Path(__file__).parents[1] / "data"
EXPECTED = json.loads((DATA / "v0_1_0_expected.json").read_text("utf-8"))
EMBEDDED = "embedded"
IMAGES = sum(len(found) for labels in EXPECTED["training_sets"].values() for found in labels.values())


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of 0.1.0, unpacked; `home` in it is the data folder."""
    with tarfile.open(DATA / "v0_1_0_home.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    _relocate(tmp_path)
    monkeypatch.setenv("APITORCH_DESKTOP_HOME", str(tmp_path / "home"))
    return tmp_path


def _relocate(root: Path) -> None:
    """Rewrite the one absolute path that the archive holds: sources of transfers lie in `root` now."""
    folder, old, new = root / "home" / "desktop" / "transfers", os.fsencode(EXPECTED["root"]), os.fsencode(root)
    with contextlib.closing(sqlite3.connect(folder / "transfers.sqlite")) as file, file:
        for number, source in file.execute("SELECT id, source FROM items WHERE kind IN ('file', 'member')").fetchall():
            file.execute("UPDATE items SET source = ? WHERE id = ?", (bytes(source).replace(old, new), number))
        for number, place in file.execute("SELECT id, folder FROM transfers WHERE folder IS NOT NULL").fetchall():
            file.execute("UPDATE transfers SET folder = ? WHERE id = ?", (bytes(place).replace(old, new), number))
    with contextlib.closing(sqlite3.connect(folder / "origins.sqlite")) as file, file:
        file.execute("UPDATE origin SET place = replace(place, ?, ?)", (EXPECTED["root"], str(root)))


@pytest.fixture
def opened(root):
    """The stores on disk and a workspace of the embedded service, as the window opens them."""
    service = ServiceProcess(paths.service_folder())
    service.attach_or_start()
    stores = open_app_data(paths.desktop_folder(), paths.cache_folder())
    stores.clients.set_embedded(service.url, service.key)
    workspace = stores.workspace(stores.connections.get(EMBEDDED), stores.clients.get(EMBEDDED))
    workspace.connect()
    yield stores, workspace
    stores.close()
    service.stop()


def content(workspace):
    """Training set's name → label → first 12 digits of the sha256 of its images, sorted."""
    found = {}
    for training_set in workspace.training_sets():
        listing = workspace.listing(training_set.id)
        found[training_set.name] = {
            label: sorted(image.sha256[:12] for image in listing.images if image.label == label)
            for label in sorted(listing.labels)
        }
    return found


def rows(edits, connection):
    return [[row.kind, row.title, row.stage] for row in edits.journal.rows(connection, newest=True)]


def test_everything_in_it_is_read(opened):
    stores, workspace = opened
    assert content(workspace) == EXPECTED["training_sets"]
    connections = [(one.id, one.name, one.base_url) for one in stores.connections.all()]
    assert connections == [(one["id"], one["name"], one["base_url"]) for one in EXPECTED["connections"]["all"]]
    assert stores.connections.current.id == EXPECTED["connections"]["current"]
    edits = stores.edits
    assert rows(edits, EMBEDDED) == EXPECTED["history"]
    assert rows(edits, connections[1][0]) == EXPECTED["second_history"]
    assert [[one.label, one.name, one.sha256] for one in edits.trash(EMBEDDED)] == EXPECTED["trash"]
    for trashed in edits.trash(EMBEDDED):
        assert hashlib.sha256(edits.trashed_bytes(trashed)).hexdigest() == trashed.sha256
    dismissals = sorted(map(list, stores.dismissals.all(EMBEDDED)))
    assert dismissals == sorted(EXPECTED["dismissals"])
    read = {
        one.id: (str(one.kind), one.connection_id, one.title, str(one.state), one.total, one.done, one.failed)
        for one in stores.transfers.all()
    }
    assert read == {
        one["id"]: tuple(one[key] for key in ("kind", "connection", "title", "state", "total", "done", "failed"))
        for one in EXPECTED["transfers"]
    }
    assert not (edits.note or stores.dismissals.note or stores.connections.note), "a file was taken for damaged"


def test_every_edit_is_undone_and_redone(opened):
    stores, workspace = opened
    edits = stores.edits
    before = content(workspace)
    for step in EXPECTED["undo_chain"]:
        assert edits.undo(workspace).edit.title == step["undo"]
        assert content(workspace) == step["content_after"], step["undo"]
    for _ in EXPECTED["undo_chain"]:
        edits.redo(workspace)
    assert content(workspace) == before


def test_the_paused_transfer_goes_on_and_the_failed_one_is_retried(opened, root):
    stores, workspace = opened
    transfers = stores.transfers
    [paused] = [one for one in transfers.all() if one.state == "paused"]
    transfers.resume(paused.id)
    transfers.work(lambda: False, only=paused.id, until_done=True)
    done = transfers.status(paused.id)
    assert (done.state, done.done) == ("done", done.total)
    assert stores.imports.finish(EMBEDDED, paused.id).edit.title == f"import {done.total} photos"
    [failed] = [one for one in transfers.all() if one.state == "failed"]
    (root / "sources" / "Gone" / "gone.jpg").write_bytes(picture(81))
    transfers.retry_failed(failed.id)
    transfers.work(lambda: False, only=failed.id, until_done=True)
    assert transfers.status(failed.id).state == "done"
    images = sum(len(found) for labels in content(workspace).values() for found in labels.values())
    assert images == IMAGES + paused.total - paused.done + 1


def test_every_edit_is_undone_to_the_start_without_a_look_in_between(opened):
    """The first undo of a "bring back" waits, since its image is stored under the address of 0.1.0's service."""
    stores, workspace = opened
    [paused] = [one for one in stores.transfers.all() if one.state == "paused"]
    stores.transfers.resume(paused.id)
    stores.transfers.work(lambda: False, only=paused.id, until_done=True)
    stores.imports.finish(EMBEDDED, paused.id)
    before = content(workspace)
    steps = [title for _, title, stage in rows(stores.edits, EMBEDDED) if stage == "done"]
    assert [stores.edits.undo(workspace).edit.title for _ in steps] == steps
    assert stores.edits.unfinished(EMBEDDED) == []
    assert content(workspace) == {}
    for _ in steps:
        stores.edits.redo(workspace)
    assert content(workspace) == before


def test_what_waited_for_the_other_connection_is_sent(opened, root):
    stores, _workspace = opened
    key = EXPECTED["second_key"]
    with serving(root / "second_service", key=key) as service:
        connection = next(one for one in stores.connections.all() if not one.embedded)
        stores.connections.update(replace(connection, base_url=service.url))
        connection = stores.connections.get(connection.id)
        stores.keys.store(connection, key)
        far = stores.workspace(connection, stores.clients.get(connection.id))
        far.connect()
        stores.edits.resume(far)
        assert content(far)["Studio set"]["später"]
        [conflict] = stores.edits.conflicts.check(far, lambda one: stores.transfers.read_original(connection.id, one))
        assert conflict.reason or conflict.current_label


def test_the_window_opens_it_as_it_was_left(root, monkeypatch):
    settings = EXPECTED["settings"]

    def steps(made):
        session, photos = made.session, made.photos
        app_runner.wait(lambda: session.open_set is not None and session.open_set.listed, "the last open set")
        assert str(session.open_set.training_set.id) == settings["open/training_set"]
        assert photos.grid.cell_size() == int(settings["grid/size"])
        assert photos.sort == settings["grid/sort"]
        key = f"embedded {session.open_set.training_set.id}"
        app_runner.wait(
            lambda: settings["open/filter"][key].items() <= msgspec.to_builtins(photos.filter).items(),
            "the filter",
        )
        shown = made.labeling.keys.shown()
        kept = {
            one: label for one, label in settings["labelling/keys"][key].items() if label in session.open_set.labels
        }
        assert kept.items() <= shown.items()
        focus = settings["open/places"][key]["focus"]
        app_runner.wait(lambda: photos.model.image(photos.grid.currentIndex().row()).image_id == focus, "the place")
        assert made.theme.tokens.dark and settings["look/scheme"] == "dark"

    assert app_runner.run(monkeypatch, steps) == 0
