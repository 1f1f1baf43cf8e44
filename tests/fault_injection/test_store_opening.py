"""Opening a data folder: one process at a time, and a sentence for everything that is in the way."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage.errors import CannotOpen, InUse, StorageFault
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, add, consistent

_HOLD = """
import sys
from pathlib import Path
from apitorch_desktop.service.storage.store import Store
store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
store.close()
"""


@contextmanager
def another_process(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the folder open."""
    command = [sys.executable, "-c", _HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.communicate()


def test_a_second_process_is_told_and_the_first_goes_on(tmp_path: Path):
    with Store.open(tmp_path) as store:
        number = store.training_sets.create(ME, "Zebras").id
        second = subprocess.run(
            [sys.executable, "-c", _HOLD, str(tmp_path)], capture_output=True, text=True, timeout=60
        )
        assert second.returncode
        assert "open" not in second.stdout
        assert f"InUse: Another API Torch service uses the data folder “{tmp_path}”." in second.stderr
        add(store, number, "a", b"x")
        consistent(store)


def test_the_folder_is_free_again_when_the_process_has_ended_or_was_killed(tmp_path: Path):
    with another_process(tmp_path) as process:
        with pytest.raises(InUse, match="Stop it first, or choose another folder"):
            Store.open(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Store.open(tmp_path) as store, pytest.raises(InUse):
            Store.open(tmp_path)
        with Store.open(tmp_path) as store:
            consistent(store)


def test_a_folder_is_made_for_its_owner_only(tmp_path: Path):
    folder = tmp_path / "not yet" / "there"
    with Store.open(folder) as store:
        consistent(store)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_may_have_any_name(tmp_path: Path):
    folder = tmp_path / "?a=b#c %20&é “x”\n🦓"
    for count in (1, 2):
        with Store.open(folder) as store:
            store.training_sets.create(ME, "Zebras")
            assert len(store.training_sets.all(ME)) == count
    assert (folder / "store.db").exists()


def test_nothing_stays_open_after_closing(tmp_path: Path):
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    Store.open(tmp_path / "warm up").close()
    before = descriptors()
    for _ in range(3):
        with Store.open(tmp_path / "data") as store:
            add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
    for _ in range(3):
        with pytest.raises(CannotOpen):
            Store.open(Path(__file__))
    with Store.open(tmp_path / "data"):
        for _ in range(3):
            with pytest.raises(InUse):
                Store.open(tmp_path / "data")
    assert descriptors() == before


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path):
    (tmp_path / "data").write_text("hello")
    with pytest.raises(CannotOpen, match=r"Choose another data folder|cannot be used"):
        Store.open(tmp_path / "data")
    assert (tmp_path / "data").read_text() == "hello"


@pytest.mark.parametrize("what", ["lock", "images", "store.db"])
def test_something_else_in_place_of_a_part_of_it_is_told(tmp_path: Path, what: str):
    if what == "images":
        (tmp_path / what).write_text("hello")
    else:
        (tmp_path / what).mkdir()
    with pytest.raises(CannotOpen) as caught:
        Store.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path):
    Store.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = (tmp_path / "store.db").read_bytes()
    with pytest.raises(CannotOpen, match=r"newer version of this program.*or another data folder"):
        Store.open(tmp_path)
    assert (tmp_path / "store.db").read_bytes() == before


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path):
    (tmp_path / "store.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(CannotOpen, match=r"is damaged\. Put back a copy"):
        Store.open(tmp_path)
    assert (tmp_path / "store.db").read_bytes() == b"not a database" * 1000


def test_a_damaged_page_is_told_where_it_is_met(tmp_path: Path):
    with Store.open(tmp_path) as store:
        number = store.training_sets.create(ME, "Zebras").id
        add(store, number, "a", b"x")
        store.classifications.put_message(ME, "there is something on the page")
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'feedback'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with (tmp_path / "store.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    with Store.open(tmp_path) as store:
        with pytest.raises(StorageFault, match="is damaged"):
            store.classifications.put_message(ME, "hello")
        with pytest.raises(StorageFault, match="is damaged"):
            store.classifications.feedback(ME)
        add(store, number, "a", b"the rest works")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "cannot be read"),
        ("nonsense", "cannot be read"),
        ("mysql://x/y", "must be one of PostgreSQL"),
        ("sqlite:///x.db", "must be one of PostgreSQL"),
        ("postgresql+nodriver://x/y", "driver"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2", "The database cannot be used"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_told(tmp_path: Path, url: str, sentence: str):
    pytest.importorskip("psycopg")
    with pytest.raises(CannotOpen, match=sentence):
        Store.open(tmp_path, database_url=url)
    with Store.open(tmp_path) as store:  # and nothing is in the way of the next try
        consistent(store)
