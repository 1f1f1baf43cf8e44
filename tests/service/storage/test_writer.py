"""The one writer: what comes together shares a commit, a failure is its caller's alone, an answer means durable."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event

from apitorch_desktop.service.storage import database as database_module
from apitorch_desktop.service.storage import writer as writer_module
from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import (
    Closed,
    DiskFull,
    RecordNotFound,
    StorageFault,
    StorageReadOnly,
)
from apitorch_desktop.service.storage.records import NewClassification
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.service.storage.writer import Transaction
from tests.helpers.stores import ME, Facts, add, add_many, consistent, files
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store on a scarce disk, where nothing is kept that was deleted."""
    monkeypatch.setattr(DiskReserve, "is_scarce", lambda _self: True)
    with Store.open(tmp_path / "data") as opened:
        yield opened
        consistent(opened)


@pytest.fixture
def zebras(store: Store) -> int:
    return store.training_sets.create(ME, "Zebras").id


class Held:
    """The writer, kept busy, so that what is handed in meanwhile becomes one group."""

    def __init__(self, store: Store) -> None:
        self._go, self._busy = threading.Event(), threading.Event()
        self._store = store
        self._calls: list[Future[object]] = []
        self.commits = 0
        self._threads = ThreadPoolExecutor(64)
        self._threads.submit(store._writer.run, self._wait)
        assert self._busy.wait(60)
        event.listen(store._database._writer, "commit", self._count)

    def _count(self, _connection: object) -> None:
        self.commits += 1

    def _wait(self, _transaction: Transaction) -> None:
        self._busy.set()
        assert self._go.wait(60)

    def hand_in(self, *calls: Callable[[], object]) -> None:
        """Let the calls wait for the writer, in this order."""
        for number, call in enumerate(calls, 1):
            self._calls.append(self._threads.submit(call))
            until(lambda number=number: self._store._writer._queue.qsize() >= number)

    def answers(self) -> list[object]:
        """What each call answers or raises, once the writer may go on; `commits` counts theirs."""
        self._go.set()
        self._threads.shutdown(wait=True)
        self.commits -= 1  # of the operation that waited
        return [call.exception() or call.result() for call in self._calls]

    def together(self, *calls: Callable[[], object]) -> list[object]:
        """What each call answers or raises, all in one group."""
        self.hand_in(*calls)
        return self.answers()


def test_hundreds_of_parallel_uploads_of_one_image_are_one_row(store: Store, zebras: int):
    told: list[int] = []
    store.on_change(told.append)
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda _: store.images.add(ME, zebras, "a", b"same", Facts()), range(300)))
    assert len({row.id for row, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert [row.id for row in store.images.page(ME, zebras).images] == [answers[0][0].id]
    assert len(files(store.folder)) == 1


def test_hundreds_of_parallel_uploads_of_different_images_are_one_row_each(store: Store, zebras: int):
    contents = [os.urandom(50) for _ in range(300)]
    rows = add_many(store, zebras, "a new label", contents)
    assert len({row.id for row in rows}) == 300
    assert [store.read(row.sha256) for row in rows] == contents
    assert store.training_sets.get(ME, zebras).counts == (300,)


def test_parallel_uploads_moves_and_deletes_of_the_same_bytes_leave_files_and_rows_alike(store: Store, zebras: int):
    contents = [bytes([i]) * 100 for i in range(4)]

    def work(seed: int) -> None:
        for step in range(15):
            label = "abc"[(seed + step) % 3]
            row = add(store, zebras, label, contents[(seed * 7 + step) % 4])
            try:
                if step % 3 == 0:
                    store.images.move(ME, row.id, "abc"[seed % 3])
                elif step % 3 == 1:
                    store.images.delete(ME, row.id)
                else:
                    assert store.read(row.sha256) == contents[(seed * 7 + step) % 4]
            except (RecordNotFound, StorageFault):
                pass  # another thread was faster

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(16)))
    consistent(store)
    for row in store.images.page(ME, zebras).images:
        assert store.read(row.sha256) in contents


def test_calls_that_come_together_share_one_commit(store: Store, zebras: int):
    held = Held(store)
    answers = held.together(*(lambda i=i: add(store, zebras, "a", bytes([i])) for i in range(20)))
    assert held.commits == 1
    assert [row.id for row in store.images.page(ME, zebras).images] == [row.id for row in answers]
    assert store.training_sets.get(ME, zebras).revision == 1


def test_one_that_fails_leaves_the_others_of_its_group(store: Store, zebras: int):
    gone = add(store, zebras, "a", b"gone")

    def fault(transaction: Transaction) -> None:
        transaction.connection.exec_driver_sql("DELETE FROM images")
        raise ZeroDivisionError

    held = Held(store)
    first, deleted, again, crashed, broken, last = held.together(
        lambda: add(store, zebras, "a", b"1"),
        lambda: store.images.delete(ME, gone.id),
        lambda: store.images.delete(ME, gone.id),
        lambda: store._writer.run(fault),
        lambda: store._writer.run(
            lambda transaction: transaction.connection.exec_driver_sql(
                "INSERT INTO labels (id, training_set_id, name) VALUES ('x', 99, 'x')"
            )
        ),
        lambda: add(store, zebras, "a", b"2"),
    )
    assert held.commits == 1
    assert deleted.id == gone.id
    assert isinstance(again, RecordNotFound)
    assert isinstance(crashed, ZeroDivisionError)
    assert isinstance(broken, StorageFault)
    assert [row.id for row in store.images.page(ME, zebras).images] == [first.id, last.id]


def test_when_a_group_fails_as_a_whole_each_is_tried_on_its_own_and_files_follow_the_rows(store: Store, zebras: int):
    rows = [add(store, zebras, "a", data) for data in (b"comes back", b"goes")]
    held = Held(store)
    answers = held.together(
        lambda: store.images.delete(ME, rows[0].id),
        lambda: store.images.delete(ME, rows[1].id),
        lambda: store.images.add(ME, zebras, "b", b"comes back", Facts())[0],
        lambda: store.images.add(ME, zebras, "b", b"comes and goes", Facts())[0],
        lambda: store._writer.run(lambda transaction: transaction.connection.exec_driver_sql("no SQL at all")),
        lambda: store.labels.delete(ME, zebras, "a"),
    )
    assert [type(answer).__name__ for answer in answers] == ["ImageRow"] * 4 + ["StorageFault", "LabelRow"]
    assert store.images.page(ME, zebras).images == [answers[2], answers[3]]
    assert store.read(answers[2].sha256) == b"comes back"
    assert files(store.folder) == {answers[2].sha256, answers[3].sha256}


def test_an_image_whose_rows_failed_leaves_no_file(store: Store, zebras: int):
    held = Held(store)
    gone, answer = held.together(
        lambda: store.training_sets.delete(ME, zebras),
        lambda: add(store, zebras, "a", b"looked right when it was handed in"),
    )
    assert gone.id == zebras
    assert isinstance(answer, RecordNotFound)
    assert files(store.folder) == set()


def test_an_image_deleted_and_added_in_one_group_keeps_its_file(store: Store, zebras: int):
    row = add(store, zebras, "a", b"x")
    held = Held(store)
    _, again = held.together(
        lambda: store.images.delete(ME, row.id),
        lambda: store.images.add(ME, zebras, "b", b"x", Facts())[0],
    )
    assert held.commits == 1
    assert store.read(again.sha256) == b"x"


def test_images_that_come_back_while_their_files_wait_to_be_deleted_keep_them(store: Store, zebras: int, monkeypatch):
    contents = [bytes([i]) for i in range(100)]
    ids = [row.id for row in add_many(store, zebras, "a", contents)]
    monkeypatch.setattr(writer_module, "_DELETE_BATCH", 1)
    held = Held(store)
    held.hand_in(
        lambda: store.images.delete_many(ME, zebras, ids),
        *(lambda data=data: store.images.add(ME, zebras, "b", data, Facts())[0] for data in contents[:40]),
    )
    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "_GROUP_SIZE", 10)  # so that they come in groups after the deletion
        rows = held.answers()[1:]
    assert [store.read(row.sha256) for row in rows] == contents[:40]
    until(lambda: len(files(store.folder)) <= 40)
    consistent(store)


def test_an_answer_comes_after_the_commit_and_the_commit_after_the_file(store: Store, zebras: int):
    happened: list[str] = []
    commit = store._blobs.commit

    def traced(staged: object) -> None:
        commit(staged)
        happened.append("file")

    store._blobs.commit = traced
    event.listen(store._database._writer, "commit", lambda _: happened.append("commit"))
    store.on_change(lambda _: happened.append("told"))
    add(store, zebras, "a", b"x")
    happened.append("answer")
    assert happened == ["file", "commit", "told", "answer"]


def test_a_file_is_deleted_only_after_the_commit(store: Store, zebras: int):
    row = add(store, zebras, "a", b"x")
    there: list[bool] = []
    event.listen(store._database._writer, "commit", lambda _: there.append(store._blobs.exists(row.sha256)))
    store.images.delete(ME, row.id)
    assert there == [True]
    assert not store._blobs.exists(row.sha256)


def test_commits_wait_for_the_disk(store: Store):
    with store._database.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_readers_cannot_write(store: Store):
    with pytest.raises(StorageReadOnly), store._database.reading() as connection:
        connection.exec_driver_sql("DELETE FROM owners")


def test_a_full_database_refuses_what_needs_room_and_takes_it_when_there_is(store: Store, zebras: int):
    kept = add(store, zebras, "a", b"kept")
    with store._database.writing() as connection:
        connection.exec_driver_sql(
            f"PRAGMA max_page_count = {connection.exec_driver_sql('PRAGMA page_count').scalar()}"
        )
    long = "x" * 9_000

    def fill(number: int) -> None:
        store.training_sets.create(ME, f"Set {number}", long)

    with pytest.raises(DiskFull, match="no room left"):
        for number in range(100):
            fill(number)
    held = Held(store)
    answers = held.together(
        lambda: fill(1000),
        lambda: store.images.delete(ME, kept.id),
        lambda: fill(1001),
        lambda: add(store, zebras, "b" * 100, b"y"),
    )
    assert [type(answer) for answer in answers[:3:2]] == [DiskFull, DiskFull]
    assert answers[1].id == kept.id
    consistent(store)
    with store._database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    fill(1002)
    add(store, zebras, "a", b"again")


def test_a_database_that_somebody_else_holds_is_told_and_works_again_after(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(database_module, "_BUSY_TIMEOUT", 0.2)
    with Store.open(tmp_path) as store:
        number = store.training_sets.create(ME, "Zebras").id
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(add, store, number, "a", bytes([i])) for i in range(8)]
            assert all(isinstance(call.exception(), StorageFault) for call in calls)
        assert files(tmp_path) == set()
        other.execute("ROLLBACK")
        other.close()
        add(store, number, "a", b"x")
        consistent(store)


def test_closing_finishes_what_was_handed_in(tmp_path: Path):
    store = Store.open(tmp_path)
    number = store.training_sets.create(ME, "Zebras").id
    held = Held(store)
    held.hand_in(*(lambda i=i: add(store, number, "a", bytes([i])) for i in range(5)))
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(store.close)
        until(lambda: store._writer._closed)
        with pytest.raises(Closed):
            add(store, number, "a", b"too late")
        rows = held.answers()
        closing.result(60)
    with Store.open(tmp_path) as again:
        assert again.images.page(ME, number).images == rows


def test_a_reader_sees_one_moment(store: Store, zebras: int):
    """Counts and images read in one transaction agree, whatever is written meanwhile."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            add(store, zebras, "a", number.to_bytes(4, "big"))

    with ThreadPoolExecutor(2) as threads:
        writer = threads.submit(write)
        try:
            seen = 0
            deadline = time.monotonic() + PATIENCE
            while seen < 50 and time.monotonic() < deadline:
                revision, examples = store.models.examples(zebras)
                assert revision <= len(examples) <= revision  # each of these commits adds one image and one revision
                seen = len(examples)
        finally:
            stop.set()
        writer.result(60)
    assert seen >= 50


def test_a_sweep_beside_uploads_and_deletes_harms_and_reports_nothing(store: Store, zebras: int):
    stop = threading.Event()

    def change(seed: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            row = add(store, zebras, "a", f"{seed} {number}".encode())
            if number % 2:
                store.images.delete(ME, row.id)

    with ThreadPoolExecutor(4) as threads:
        changing = [threads.submit(change, seed) for seed in range(4)]
        try:
            found = [store.sweep() for _ in range(20)]
        finally:
            stop.set()
        for each in changing:
            each.result(60)
    assert [sweep.missing for sweep in found] == [()] * 20
    assert all(store.read(row.sha256) for row in store.images.page(ME, zebras).images)


def test_an_image_that_comes_or_goes_during_a_sweep_is_neither_missing_nor_an_orphan(store: Store, zebras: int):
    going = add(store, zebras, "a", b"going")
    names, came = store._blobs.names, []

    def meanwhile() -> Iterator[str]:
        yield from list(names())
        came.append(add(store, zebras, "a", b"coming"))
        store.images.delete(ME, going.id)

    store._blobs.names = meanwhile
    assert store.sweep().missing == ()
    store._blobs.names = names
    assert store.read(came[0].sha256) == b"coming"
    assert store.sweep().removed == 0


def test_classifying_the_same_image_from_many_threads_keeps_every_answer(store: Store):
    answers = [NewClassification("safe-for-work", "safe for work"), NewClassification("design-score", "good")]
    with ThreadPoolExecutor(16) as threads:
        rows = list(threads.map(lambda i: store.classifications.put(ME, b"seen", Facts(), answers), range(60)))
    assert all(store.classifications.get(ME, row.id) == row for pair in rows for row in pair)
    assert len(files(store.folder)) == 1
