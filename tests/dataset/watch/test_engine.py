"""A watched folder: a service that goes away, options that change, and what an earlier run left half done."""

import csv
import errno
import os
import shutil
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.types import INBOX, Classification
from apitorch_desktop.dataset.batch.classification import COLUMNS
from apitorch_desktop.dataset.watch import arrivals, engine
from apitorch_desktop.dataset.watch.actions import UnfitDestination
from apitorch_desktop.dataset.watch.arrivals import Arrival, state_of
from apitorch_desktop.dataset.watch.engine import FolderWatch
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.task import WatchTask
from tests.helpers.image_samples import saved, scene
from tests.helpers.service_process import serving
from tests.helpers.waiting import until

SURE = Classification(
    id="c_1", classifier="colors", label="Red Ones", sentence="It is red.", confidence="high", confidence_value="0.9"
)
UNSURE = Classification(id="c_2", classifier="colors", label="red", confidence="low", confidence_value="0.3")
STRANGE = Classification(
    id="c_3", classifier="colors", label="red", confidence="unknown", confidence_value="0.95", none_of_these=True
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(arrivals, "REST", 0.05)
    monkeypatch.setattr(arrivals, "TICK", 0.05)
    monkeypatch.setattr(engine, "_RETRY_PAUSE", 0.05)
    monkeypatch.setattr(engine, "_GROWTH", 0.05)


def photo(path, size=1000):
    path.write_bytes(saved(scene(), "PNG") + bytes(size))
    return path


def rows(table):
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Watch:
    """A watch on a thread, with what it reported."""

    def __init__(self, home, task, connect, add=None):
        self.done, self.states, self.stop, self.error = [], [], Event(), None
        self._journal = WatchJournal(home, task)
        watch = FolderWatch(
            task, self._journal, on_done=lambda *report: self.done.append(report), on_state=self.states.append, add=add
        )
        self._thread = Thread(target=self._work, args=(watch, connect))
        self._thread.start()

    def _work(self, watch, connect):
        try:
            watch.work(connect, self.stop)
        except Exception as error:  # noqa: BLE001 - for the test
            self.error = error

    def places(self):
        return sorted(Path(place).name for place, *_ in self.done)

    def end(self):
        self.stop.set()
        self._thread.join()
        self._journal.close()
        if self.error:
            raise self.error


@contextmanager
def watching(home, task, connect, add=None):
    watch = Watch(home, task, connect, add)
    try:
        yield watch
    finally:
        watch.end()


@contextmanager
def nobody():
    """Connect to a service that is never asked."""
    with closing(ApiClient("http://127.0.0.1:9", "k" * 42, attempts=1)) as client:
        yield client


@contextmanager
def journal_of(home, task):
    with closing(WatchJournal(home, task)) as journal:
        yield journal


def answered(home, task, **answers):
    """Put answers into the journal, as an earlier run did: `a=SURE` about `a.png`."""
    with journal_of(home, task) as journal:
        for name, answer in answers.items():
            path = task.folder / f"{name}.png"
            journal.save(Arrival(path, state_of(path)), answer)


def test_a_service_that_is_away_is_waited_for_and_a_refused_photo_is_named(tmp_path, home, folder):
    task = WatchTask("service", folder, "design-score", tmp_path / "answers.csv")
    (folder / "letter.jpg").write_text("Dear zebra,")
    with serving(tmp_path / "data") as service:
        url, key, port = service.url, service.key, service.port

        @contextmanager
        def connect():
            with closing(ApiClient(url, key, attempts=1)) as client:
                yield client

        with watching(home, task, connect) as watch:
            photo(folder / "one.png")
            until(lambda: watch.places() == ["letter.jpg", "one.png"])
            service.end()
            photo(folder / "two.png")
            until(lambda: watch.states)
            assert "Waiting for the service." in watch.states[0] and len(watch.states) == 1
            with serving(tmp_path / "data", "--port", str(port), key=key):
                until(lambda: watch.states[1:] == ["The service is back."])
                assert watch.places() == ["letter.jpg", "one.png", "two.png"]
                (folder / "one.png").write_bytes((folder / "one.png").read_bytes() + b"\0")  # another photo of the name
                until(lambda: watch.places() == ["letter.jpg", "one.png", "one.png", "two.png"])
    assert [bool(row["label"]) for row in rows(task.table)] == [
        row["image"] != str(folder / "letter.jpg") for row in rows(task.table)
    ]
    assert len(rows(task.table)) == 4


def test_what_is_known_is_not_asked_again_when_more_is_wanted(tmp_path, home, folder):
    for name in ("a", "b", "c"):
        photo(folder / f"{name}.png")
    task = WatchTask("service", folder, "colors", tmp_path / "answers.csv")
    answered(home, task, a=SURE, b=UNSURE, c=STRANGE)
    with watching(home, task, nobody) as watch:
        until(lambda: len(watch.done) == 3)
    out = tmp_path / "out"
    for least, moved in ((0.95, []), (0.5, ["a.png"]), (0.2, ["b.png"])):
        photo(folder / "d.png", 7)
        answered(home, task, d=UNSURE)
        more = WatchTask("service", folder, "colors", tmp_path / "answers.csv", out, least)
        with watching(home, more, nobody) as watch:
            until(lambda: "d.png" in watch.places())
            until(lambda: set(moved) <= set(watch.places()))  # noqa: B023
            assert watch.places() == sorted([*moved, "d.png"])
    assert sorted(path.name for path in folder.iterdir()) == ["c.png"]
    assert (out / "red_ones" / "a.png").exists()
    assert [Path(row["image"]).name for row in rows(task.table)].count("a.png") == 1


def test_folders_by_label_may_be_in_the_folder_itself_or_around_it(tmp_path, home, folder):
    for out in (folder, tmp_path):
        photo(folder / "a.png")
        task = WatchTask("service", folder, "colors", tmp_path / f"{out.name}.csv", out)
        answered(home, task, a=SURE)
        with watching(home, task, nobody) as watch:
            until(lambda: watch.done)
            photo(folder / "b.png")
            answered(home, task, b=UNSURE)
            until(lambda: "b.png" in watch.places())
            assert watch.places() == ["a.png", "b.png"]
        assert (out / "red_ones" / "a.png").exists()
        (folder / "b.png").unlink()
        with watching(home, task, nobody) as watch:
            photo(folder / "c.png")
            answered(home, task, c=UNSURE)
            until(lambda: watch.done)
            assert watch.places() == ["c.png"]
        (folder / "c.png").unlink()
        shutil.rmtree(out / "red_ones")


@pytest.mark.parametrize("at", ["reserved", "moved", "copied", "other"])
def test_a_move_that_was_interrupted_is_finished_once(tmp_path, home, folder, at):
    """Killed after the name was taken, after the move, after the copy; or somebody else took the name."""
    data = photo(folder / "a.png").read_bytes()
    target = tmp_path / "out" / "red_ones" / "a.png"
    task = WatchTask("service", folder, "colors", tmp_path / "answers.csv", tmp_path / "out")
    answered(home, task, a=SURE)
    target.parent.mkdir(parents=True)
    with journal_of(home, task) as journal:
        journal.begin_move(folder / "a.png", target)
    if at == "reserved":
        target.touch()
    elif at == "moved":
        (folder / "a.png").rename(target)
    elif at == "copied":
        shutil.copy2(folder / "a.png", target)
    else:
        target.write_bytes(b"mine")
    with watching(home, task, nobody) as watch:
        until(lambda: watch.done)
    place = target.with_name("a (2).png") if at == "other" else target
    assert place.read_bytes() == data and not (folder / "a.png").exists()
    assert sorted(target.parent.iterdir()) == sorted({place, target})
    assert at != "other" or target.read_bytes() == b"mine"
    assert [row["image"] for row in rows(task.table)] == [str(place)]
    with journal_of(home, task) as journal:
        assert journal.photos() == [], "it is small"


@pytest.mark.parametrize("length", [0, 20, None])
def test_a_row_that_was_interrupted_is_written_once(tmp_path, home, folder, length):
    photo(folder / "a.png")
    table = tmp_path / "answers.csv"
    task = WatchTask("service", folder, "colors", table)
    row = f"{folder / 'a.png'},colors,Red Ones,high,0.9,It is red.,\r\n"
    start = f"{','.join(COLUMNS)}\r\nb.png,colors,blue,high,0.9,,"  # without its line end, as some editors leave it
    answered(home, task, a=SURE)
    if length != 0:
        start += "\r\n"
    with table.open("w", newline="") as file:
        file.write(start + row[:length])
    with journal_of(home, task) as journal:
        journal.save_row(folder / "a.png", table, len(start), written=False)
        journal.save_row(folder / "b.png", table, 0, written=True)
    photo(folder / "c.png")
    answered(home, task, c=UNSURE)
    with watching(home, task, nobody) as watch:
        until(lambda: any(place.endswith("c.png") for place, *_ in watch.done))
    assert [Path(one["image"]).name for one in rows(table)] == ["b.png", "a.png", "c.png"]


def test_a_photo_moves_to_another_file_system_whole(tmp_path, home, folder):
    other = Path("/dev/shm") / f"watched-{os.getpid()}"
    with suppress(OSError):
        other.mkdir()
    if not other.is_dir() or other.stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is no other file system")
    try:
        data = photo(folder / "a.png").read_bytes()
        task = WatchTask("service", folder, "colors", None, other)
        answered(home, task, a=SURE)
        with watching(home, task, nobody) as watch:
            until(lambda: watch.done)
        assert [path.read_bytes() for path in other.rglob("*") if path.is_file()] == [data]
        assert not list(folder.iterdir())
    finally:
        shutil.rmtree(other)


def test_a_destination_that_cannot_be_written_is_tried_again(tmp_path, home, folder):
    names = ("a", "b", "c")
    for name in names:
        photo(folder / f"{name}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "red_ones").write_text("a file")
    task = WatchTask("service", folder, "colors", None, tmp_path / "out")
    answered(home, task, **dict.fromkeys(names, SURE))
    with watching(home, task, nobody) as watch:
        until(lambda: watch.states)
        time.sleep(0.5)
        assert "cannot be written" in watch.states[0] and len(list(folder.iterdir())) == 3
        (tmp_path / "out" / "red_ones").unlink()
        until(lambda: len(watch.done) == 3)
        assert len(watch.states) == 1
    assert sorted(path.name for path in (tmp_path / "out").glob("*/*")) == ["a.png", "b.png", "c.png"]


def test_photos_that_cannot_be_moved_are_tried_again_ever_more_seldom(tmp_path, home, folder, monkeypatch):
    tried = []

    def forbidden(arrival, place, _journal):
        tried.append(time.monotonic())
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place / arrival.path.name))

    monkeypatch.setattr(engine, "move", forbidden)
    photo(folder / "a.png")
    task = WatchTask("service", folder, "colors", None, tmp_path / "out")
    answered(home, task, a=SURE)
    with watching(home, task, nobody) as watch:
        until(lambda: len(tried) == 4)
    assert tried[3] - tried[2] > 0.19 and len(watch.states) == 1


def test_a_destination_that_is_a_file_ends_the_watch(tmp_path, home, folder):
    (tmp_path / "out").write_text("a file")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        task = WatchTask("service", folder, "colors", None, out)
        with pytest.raises(UnfitDestination, match="out” is no folder"), watching(home, task, nobody) as watch:
            until(lambda: watch.error)


def test_links_are_followed_as_an_import_does_and_stay(tmp_path, home, folder):
    real, out = tmp_path / "real", tmp_path / "out"
    for place in (real, out):
        place.mkdir()
    for name in ("a", "b"):
        photo(real / f"{name}.png")
    (folder / "link.png").symlink_to(real / "a.png")
    (folder / "dead.png").symlink_to("nowhere.png")
    (folder / "trip").symlink_to("../real")
    (real / "up").symlink_to("../in")
    (folder / "moved").symlink_to("../out")
    photo(folder / "c.png")
    task = WatchTask("service", folder, "colors", None, out)
    answered(home, task, **{"c": SURE, "link": SURE, "trip/a": SURE, "trip/b": SURE})
    with watching(home, task, nobody) as watch:
        until(lambda: len(watch.done) == 4)
        assert watch.states == ["“dead.png” is a link that leads nowhere."]
    assert watch.places() == ["a.png", "b.png", "c.png", "link.png"]
    assert [path.name for path in out.glob("*/*")] == ["c.png"]
    assert {path.name for path in real.iterdir()} == {"a.png", "b.png", "up"} and (folder / "link.png").is_symlink()


def test_a_photo_that_arrives_in_parts_is_not_refused_before_it_has_rested(tmp_path, home, folder, monkeypatch):
    monkeypatch.setattr(engine, "_GROWTH", 1.0)
    data = saved(scene(), "JPEG")
    task = WatchTask("service", folder, "design-score")
    with serving(tmp_path / "data") as service:

        @contextmanager
        def connect():
            with closing(ApiClient(service.url, service.key, attempts=1)) as client:
                yield client

        with watching(home, task, connect) as watch:
            photo(folder / "first.png")
            until(lambda: watch.done)  # the service is there
            (folder / "slow.jpg").write_bytes(data[: len(data) // 2])
            (folder / "letter.jpg").write_text("Dear zebra,")
            time.sleep(0.5)
            (folder / "slow.jpg").write_bytes(data)
            until(lambda: len(watch.done) == 3)
    answers = {Path(place).name: answer for place, answer, _ in watch.done}
    assert isinstance(answers["slow.jpg"], Classification) and "is a text" in answers["letter.jpg"]


def test_photos_are_added_once_under_their_answer_or_without_a_label(tmp_path, home, folder):
    task = WatchTask("service", folder, "colors", None, tmp_path / "out", 0.5, "ts_1", True, True)
    for name in ("a", "b", "c"):
        photo(folder / f"{name}.png", len(name) + ord(name))
    answered(home, task, a=SURE, b=UNSURE, c=STRANGE)
    sent, refused = [], {("a.png", "red_ones"): "The disk of the service is full."}

    def add(items, stop):
        sent.extend((item.name, item.label) for item in items)
        return refused

    with watching(home, task, nobody, add) as watch:
        until(lambda: len(watch.done) == 3)
    assert sorted(sent) == [("a.png", "red_ones"), ("b.png", INBOX), ("c.png", INBOX)]
    assert (folder / "a.png").exists(), "what could not be added does not move"
    refused.clear()
    sent.clear()
    with watching(home, task, nobody, add) as watch:
        until(lambda: watch.done)
    assert sent == [("a.png", "red_ones")] and (tmp_path / "out" / "red_ones" / "a.png").exists()
    labels = WatchTask("service", folder, "colors", None, None, 0.5, "ts_1", True, False)
    assert [labels.label_for(answer) for answer in (SURE, UNSURE, STRANGE, "no")] == ["red_ones", None, None, None]


def test_libraries_and_caches_of_programs_are_never_entered(folder):
    for name in ("a.png", "Photos.photoslibrary/originals/0/b.png", "Cat Previews.lrdata/c.png", "sub/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        photo(folder / name)
    found = arrivals.Arrivals(WatchTask("here", folder, "colors", None, None, 0.8))
    found.scan(folder)
    found.scan(folder / "Photos.photoslibrary/originals/0/b.png")  # as a change in it is reported
    names: set[str] = set()
    until(lambda: names.update(arrival.path.name for arrival in found.ready()) or len(names) > 1)
    assert names == {"a.png", "d.png"} and not found.ready()
