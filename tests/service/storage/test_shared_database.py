"""Several processes on one PostgreSQL database and one bucket: here as several stores, each with a folder of its own."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from apitorch_desktop.service.classifiers import team as team_module
from apitorch_desktop.service.classifiers.team import JobKeeper, JobProgress
from apitorch_desktop.service.storage import images as images_module
from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage.base import lock_set
from apitorch_desktop.service.storage.coordination import LEASE, ClaimedJob
from apitorch_desktop.service.storage.errors import (
    BeingRemoved,
    RecordConflict,
    RecordNotFound,
    StorageFault,
    StorageUnreachable,
)
from apitorch_desktop.service.storage.records import EmbeddingRow, NewClassification
from apitorch_desktop.service.storage.schema import Removal
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.service.storage.validation import timestamp
from tests.helpers.stores import ME, Facts, add, consistent, empty, sweep_released
from tests.helpers.waiting import PATIENCE, until

VERSION = {"revision": 1, "encoder": "e", "head": b"h", "metrics": "{}", "images": 1, "labels": 1}


@pytest.fixture
def open_store(server: str, tmp_path: Path) -> Iterator:
    """`open_store()` opens another store on the same database and bucket."""
    empty(server)
    (tmp_path / "bucket").mkdir()
    numbers = iter(range(100))
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            Store.open(tmp_path / f"data{next(numbers)}", database_url=server, blob_url=(tmp_path / "bucket").as_uri())
        )


@pytest.fixture
def stores(open_store) -> tuple[Store, Store]:
    return open_store(), open_store()


def together(*jobs, times: int = 1) -> list:
    """Run all jobs at once, `times` each; return what they return or raise, in order."""
    start = threading.Barrier(len(jobs) * times)

    def run(job):
        start.wait(PATIENCE)
        try:
            return job()
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(len(jobs) * times) as threads:
        return list(threads.map(run, jobs * times))


def test_processes_that_start_at_the_same_time_make_one_database(open_store):
    stores = together(open_store, times=4)
    assert len({store.secret for store in stores}) == 1, stores
    made = together(*(lambda store=store: store.owners.create_first_key("first") for store in stores))
    assert len([key for key in made if key]) == 1
    assert len(stores[0].owners.keys()) == 1


def test_what_must_be_unique_is_however_many_make_it(stores):
    one, two = stores
    made = together(*(lambda store=store: store.training_sets.create(ME, "Zebras") for store in stores), times=6)
    assert sorted(row.slug for row in made) == sorted(["zebras", *(f"zebras-{count}" for count in range(2, 13))])
    number = made[0].id
    labels = together(*(lambda store=store: store.labels.create(ME, number, "striped") for store in stores), times=3)
    assert Counter(type(each) for each in labels)[RecordConflict] == 5
    rows = together(*(lambda store=store: add(store, number, "new", b"the same") for store in stores), times=4)
    assert len({row.id for row in rows}) == 1, rows
    versions = together(*(lambda store=store: store.models.put_version(number, **VERSION) for store in stores), times=4)
    assert sorted(row.version for row in versions) == list(range(1, 9)), versions
    owners = together(*(lambda store=store: store.owners.create("Ann") for store in stores))
    assert Counter(type(each) for each in owners)[RecordConflict] == 1
    embeddings = [EmbeddingRow(rows[0].sha256, b"v", None)]
    assert (
        together(*(lambda s=store: s.models.put_embeddings("e", embeddings) for store in stores), times=4) == [None] * 8
    )
    standard = together(*(lambda s=s: s.training_sets.standard(ME, "design-score", "Design") for s in stores), times=3)
    assert len({row.id for row in standard}) == 1
    consistent(one)
    consistent(two)


def test_every_change_counts_in_the_revision(stores):
    number = stores[0].training_sets.create(ME, "Zebras").id
    contents = [bytes([at]) for at in range(24)]
    jobs = [
        lambda at=at, data=data: add(stores[at % 2], number, f"l{at % 3}", data) for at, data in enumerate(contents)
    ]
    assert all(row.id for row in together(*jobs))
    row = stores[1].training_sets.get(ME, number)
    assert (sum(row.counts), row.labels) == (24, ("l0", "l1", "l2"))
    assert 2 <= row.revision <= 24  # one a commit
    images = stores[0].images.page(ME, number).images
    moves = [
        lambda at=at, image=image: stores[at % 2].images.move(ME, image.id, "l0") for at, image in enumerate(images)
    ]
    deletes = [
        lambda at=at, image=image: stores[at % 2].images.delete(ME, image.id) for at, image in enumerate(images[::2])
    ]
    found = together(*moves, *deletes)
    assert not [each for each in found if isinstance(each, Exception) and not isinstance(each, RecordNotFound)], found
    assert stores[1].training_sets.get(ME, number).counts == (12, 0, 0)
    consistent(stores[0])


def test_changes_of_many_sets_in_any_order_do_not_block_each_other_for_good(stores):
    numbers = [store.training_sets.create(ME, "Zebras").id for store in stores * 2]
    jobs = [
        lambda at=at: add(stores[at % 2], numbers[(at * 7 + at // 5) % 4], "a", bytes([at // 4, at % 4]))
        for at in range(64)
    ]
    with ThreadPoolExecutor(16) as threads:
        assert len(list(threads.map(lambda job: job(), jobs))) == 64
    assert sum(sum(row.counts) for row in stores[0].training_sets.all(ME)) == 64


def test_paging_misses_nothing_that_came_meanwhile(stores):
    number = stores[0].training_sets.create(ME, "Zebras").id
    add(stores[0], number, "a", b"first")
    ended = threading.Event()
    seen: list[str] = []

    def read() -> None:
        after = None
        while True:
            last = ended.is_set()
            page = stores[0].images.page(ME, number, after=after, limit=3)
            seen.extend(row.id for row in page.images)
            if page.images:
                after = str(page.images[-1].seq)
            elif last:
                return

    with ThreadPoolExecutor(9) as threads:
        reader = threads.submit(read)
        rows = list(threads.map(lambda at: add(stores[at % 2], number, "ab"[at % 3 > 0], bytes([at])), range(60)))
        ended.set()
        reader.result(120)
    assert len(seen) == 61
    assert set(seen) >= {row.id for row in rows}


def test_bytes_that_nothing_refers_to_are_kept_for_a_day(stores):
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    rows = [add(one, number, "a", data) for data in (b"goes", b"comes back")]
    one.images.delete_many(ME, number, [row.id for row in rows])
    one.sweep()
    assert set(two._blobs.names()) == {row.sha256 for row in rows}
    again = add(two, number, "b", b"comes back")
    sweep_released(one)
    assert set(two._blobs.names()) == {again.sha256}
    assert two.read(again.sha256) == b"comes back"
    with pytest.raises((RecordNotFound, StorageFault)):
        two.read(rows[0].sha256)
    add(two, number, "b", b"goes")  # after it was removed
    add(one, number, "c", b"goes")
    sweep_released(two)
    consistent(one)


@pytest.mark.parametrize("by", ["upload", "classification"])
def test_an_image_that_is_stored_while_the_sweep_removes_it_is_stored_again(stores, monkeypatch, by):
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    row = add(one, number, "a", b"x")
    one.images.delete(ME, row.id)
    removing, go_on, refused = threading.Event(), threading.Event(), threading.Event()
    remove = one._blobs.remove

    def slow(sha256s):
        removing.set()
        assert go_on.wait(PATIENCE)
        remove(sha256s)

    monkeypatch.setattr(one._blobs, "remove", slow)
    check = images_module._check_state

    def told(*given, **more):
        try:
            check(*given, **more)
        except BeingRemoved:
            refused.set()
            raise

    monkeypatch.setattr(images_module, "_check_state", told)

    def store_again() -> str:
        if by == "upload":
            return add(two, number, "a", b"x").sha256
        return two.classifications.put(ME, b"x", Facts(), [NewClassification("safe-for-work", "safe")])[0].sha256

    with ThreadPoolExecutor(2) as threads:
        sweep = threads.submit(sweep_released, one)
        assert removing.wait(PATIENCE)
        again = threads.submit(store_again)
        assert refused.wait(PATIENCE)  # its bytes are there already, and would be removed
        go_on.set()
        sweep.result(PATIENCE)
        assert two.read(again.result(PATIENCE)) == b"x"
    monkeypatch.undo()
    consistent(one)


def begin_removal(store: Store, monkeypatch) -> str:
    """Begin a removal, which then fails, as that of a process that is killed; return the image."""
    number = store.training_sets.create(ME, "Zebras").id
    row = add(store, number, "a", b"x")
    store.images.delete(ME, row.id)

    def fail(_sha256s):
        raise StorageUnreachable("The image storage failed.")

    with monkeypatch.context() as patch, pytest.raises(StorageUnreachable):
        patch.setattr(store._blobs, "remove", fail)
        sweep_released(store)
    return row.sha256


def removal(store: Store) -> tuple[Removal, str]:
    with store._database.querying() as connection:
        state, since = connection.execute(select(schema.released.c.state, schema.released.c.since)).one()
    return Removal(state), since


def set_begun(store: Store, minutes_ago: float) -> str:
    """Have the removals been begun some time ago."""
    since = timestamp(datetime.now(UTC) - timedelta(minutes=minutes_ago))
    store._writer.run(lambda transaction: transaction.execute(update(schema.released).values(since=since)).rowcount)
    return since


def test_a_removal_that_was_begun_is_finished_by_another_ten_minutes_later(stores, monkeypatch):
    one, two = stores
    sha256 = begin_removal(one, monkeypatch)
    began = set_begun(one, 9)
    two.sweeper.finish_removals()
    two.sweep()
    assert removal(two) == (Removal.UNDER_WAY, began)
    assert set(two._blobs.names()) == {sha256}
    began = set_begun(one, 11)
    two.sweeper.finish_removals()
    state, ended = removal(two)
    assert state == Removal.DONE
    assert ended > began
    assert len(ended) == len(began)
    assert ended.endswith("Z")
    assert list(two._blobs.names()) == []
    number = one.training_sets.all(ME)[0].id
    assert two.read(add(one, number, "a", b"x").sha256) == b"x"
    consistent(one)


def test_a_removal_is_finished_by_one_process_at_a_time(stores, monkeypatch):
    """The slower one would remove what was stored again meanwhile."""
    one, two = stores
    begin_removal(one, monkeypatch)
    set_begun(one, 11)
    removing, go_on = threading.Event(), threading.Event()
    remove, others = one._blobs.remove, []

    def slow(sha256s):
        removing.set()
        assert go_on.wait(PATIENCE)
        remove(sha256s)

    monkeypatch.setattr(one._blobs, "remove", slow)
    monkeypatch.setattr(two._blobs, "remove", others.extend)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(one.sweeper.finish_removals)
        assert removing.wait(PATIENCE)
        two.sweeper.finish_removals()
        go_on.set()
        first.result(PATIENCE)
    assert others == []
    assert removal(two)[0] == Removal.DONE


@pytest.mark.parametrize("by", ["upload", "classification"])
def test_an_image_that_replaces_a_damaged_one_is_served_by_all(stores, open_store, tmp_path, by):
    one, two = stores
    until(lambda: one.is_current and two.is_current)
    number = one.training_sets.create(ME, "Zebras").id
    image = add(one, number, "a", b"rotten")
    (tmp_path / "bucket" / image.sha256[0] / image.sha256).write_bytes(b"rOtten")
    one.sweeper.check_file(image.sha256)
    until(lambda: image.sha256 in two._blobs.damaged)
    if by == "upload":
        assert add(two, number, "a", b"rotten") == image
    else:
        two.classifications.put(ME, b"rotten", Facts(), [NewClassification("safe-for-work", "safe")])
    for store in stores:
        until(lambda store=store: image.sha256 not in store._blobs.damaged)
        assert store.read(image.sha256) == b"rotten"
    assert open_store().read(image.sha256) == b"rotten"


def test_what_one_process_commits_the_others_know_at_once(stores):
    one, two = stores
    until(lambda: one.is_current and two.is_current)
    notices: list[tuple[str, int]] = []
    two.on_notice(lambda kind, number: notices.append((kind, number)))
    row, key = one.owners.create_key(note="a key")
    assert two.owners.find_by_key(key) == ME
    one.owners.revoke_key(row.id)
    until(lambda: two.owners.cached_owner(key) is None)
    assert two.owners.find_by_key(key) is None
    number = one.training_sets.create(ME, "Zebras").id
    image = add(one, number, "a", b"x")
    until(lambda: ("set", number) in notices)
    notices.clear()
    one.models.put_version(number, **VERSION)
    until(lambda: ("set", number) in notices)
    notices.clear()
    one.models.replace_head(number, 1, b"other")
    until(lambda: ("set", number) in notices)
    one.sweeper._register_damage(image.sha256, good=False)
    until(lambda: image.sha256 in two._blobs.damaged)
    one.sweeper._register_damage(image.sha256, good=True)
    until(lambda: image.sha256 not in two._blobs.damaged)


def test_whoever_loses_the_connection_remembers_nothing_until_it_is_back(stores, server):
    one, two = stores
    until(lambda: two.is_current)
    notices: list[str] = []
    two.on_notice(lambda kind, _number: notices.append(kind))
    _, key = one.owners.create_key(note="a key")
    assert two.owners.find_by_key(key) == ME
    with one._database.querying() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN %%' OR query = 'SELECT 1'"
        )
    until(lambda: "all" in notices)
    until(lambda: two.is_current)
    notices.clear()
    number = one.training_sets.create(ME, "Zebras").id
    add(one, number, "a", b"x")
    until(lambda: "set" in notices)


def test_damage_that_is_found_while_the_connection_is_lost_is_known_once_it_is_back(stores, monkeypatch):
    one, two = stores
    until(lambda: two.is_current)
    image = add(one, one.training_sets.create(ME, "Zebras").id, "a", b"x")
    back = threading.Event()
    connect = two._database.connect
    monkeypatch.setattr(two._database, "connect", lambda: back.wait(PATIENCE) and connect())
    with one._database.querying() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN %%' OR query = 'SELECT 1'"
        )
    until(lambda: not two.is_current)
    one.sweeper._register_damage(image.sha256, good=False)
    assert image.sha256 not in two._blobs.damaged
    back.set()
    until(lambda: image.sha256 in two._blobs.damaged)


def test_a_split_that_waits_for_another_change_belongs_to_a_later_revision(stores):
    """Whoever lists after the one and before the other has to be told of the other."""
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    image = add(one, number, "a", b"x")
    begun, go_on = threading.Event(), threading.Event()

    def slow(transaction):
        lock_set(transaction, number)
        transaction.changed_sets.add(number)
        begun.set()
        assert go_on.wait(PATIENCE)

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(one._writer.run, slow)
        assert begun.wait(PATIENCE)
        second = threads.submit(two.images.set_split, ME, number, [image.id], "test")
        with one._database.querying() as connection:
            until(lambda: connection.exec_driver_sql(waiting).scalar())
        revision = one.training_sets.get(ME, number).revision
        go_on.set()
        first.result(PATIENCE)
        second.result(PATIENCE)
    assert one.training_sets.get(ME, number).revision == revision + 2
    found = one.changes.since(ME, number, f"{revision + 1}-{image.seq}")
    assert [row.split for row in found.images] == ["test"]


def expire(store: Store) -> None:
    store._writer.run(lambda transaction: transaction.execute(update(schema.jobs).values(expires=0)).rowcount)


def test_a_job_is_held_by_one_process_until_its_lease_expires(stores):
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    assert one.jobs.claim(4) == []
    add(one, number, "a", b"x")
    claims = together(lambda: one.jobs.claim(4), lambda: two.jobs.claim(4), times=3)
    (job,) = [job for claim in claims for job in claim]
    assert (job.training_set_id, job.attempts) == (number, 1)
    holder, other = (one, two) if one.jobs.renew([number]) else (two, one)
    assert holder.jobs.renew([number, 99]) == {number: job.changes}
    assert other.jobs.renew([number]) == {}
    assert not other.jobs.finish(number, job.changes)
    holder.jobs.report(number, 5)
    assert other.jobs.state(number) == ("", 5)
    add(other, number, "a", b"y")
    assert not holder.jobs.finish(number, job.changes)  # a change came meanwhile
    assert holder.jobs.renew([number]) == {number: job.changes + 1}
    expire(one)
    (again,) = other.jobs.claim(1)
    assert (again.changes, again.attempts) == (job.changes + 1, 1)  # the change began a new count
    assert holder.jobs.renew([number]) == {}
    with pytest.raises(RecordConflict, match="taken over"):
        holder.models.put_version(number, **VERSION, holder=holder.jobs.holder)
    assert other.models.put_version(number, **VERSION, holder=other.jobs.holder).version == 1
    with pytest.raises(RecordConflict, match="taken over"):
        holder.models.replace_head(number, 1, b"other", holder=holder.jobs.holder)
    assert other.jobs.finish(number, again.changes)
    assert other.jobs.claim(1) == []


def test_a_failed_job_rests_until_the_next_change_or_its_time(stores):
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    add(one, number, "a", b"x")
    (job,) = one.jobs.claim(1)
    assert one.jobs.fail(number, job.changes, "It failed.", None)
    assert two.jobs.claim(1) == []
    assert two.jobs.state(number) == ("It failed.", 0)
    add(one, number, "a", b"y")
    assert two.jobs.state(number) == ("", 0)
    (job,) = two.jobs.claim(1)
    assert two.jobs.fail(number, job.changes, "No room.", 0)
    (job,) = one.jobs.claim(1)
    one.jobs.release([number])
    assert two.jobs.claim(1) == [job]


def test_a_set_that_changes_all_the_time_does_not_keep_the_others_waiting(stores):
    one, two = stores
    numbers = [one.training_sets.create(ME, name).id for name in ("Busy", "Quiet")]
    for at, number in enumerate((numbers[0], numbers[1], numbers[0])):
        add(one, number, "a", bytes([at]))
    assert [job.training_set_id for job in one.jobs.claim(1)] == numbers[:1]  # it has waited longest
    add(two, numbers[0], "a", b"again")
    one.jobs.give_back(numbers[0])
    assert [two.jobs.claim(1)[0].training_set_id for _ in numbers] == numbers[::-1]


def test_a_busy_set_is_given_back_once_it_was_trained(monkeypatch):
    monkeypatch.setattr(team_module, "_TURN", 0)
    monkeypatch.setattr(team_module, "_CAPACITY", 2)
    given_back, dropped = [], []

    class Jobs:
        """Two sets that have changed again each time one looks, and a third that waits."""

        changes = 1

        def claim(self, count):
            return [ClaimedJob(number, 1, 1) for number in (1, 2, 3)[3 - count :]]

        def renew(self, numbers):
            self.changes += 1
            return dict.fromkeys(numbers, self.changes)

        give_back = staticmethod(given_back.append)

    trained = {1}
    keeper = JobKeeper(
        Jobs(),
        begin=lambda _number: None,
        drop=dropped.append,
        progress=lambda number: JobProgress(trained=number in trained),
        may_train=lambda: True,
    )
    keeper._synchronize()
    assert set(keeper._held) == {2, 3}
    trained.add(2)
    keeper._synchronize()
    assert given_back == dropped == [2]


def test_a_lease_is_kept_by_who_renews_it(stores):
    one, two = stores
    assert sorted(together(lambda: one.leads("sweep", 60), lambda: two.leads("sweep", 60))) == [False, True]
    leader, other = (one, two) if one.leads("sweep", 60) else (two, one)
    assert not other.leads("sweep", 60)
    assert other.leads("scrub", 60)
    assert leader.leads("sweep", -1)  # gives it up
    assert other.leads("sweep", 60)
    assert LEASE < 30  # training goes on elsewhere within 30 seconds


def test_all_processes_answer_with_the_provisional_head_until_a_version_is_stored(stores):
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    add(one, number, "a", b"x")
    one.jobs.claim(1)
    facts = {"revision": 1, "encoder": "e", "head": b"p", "metrics": ""}
    assert one.models.put_preview(number, **facts, holder=one.jobs.holder).version == 1
    with pytest.raises(RecordConflict):
        two.models.put_preview(number, **facts, holder=two.jobs.holder)
    row, head = two.models.preview(number)
    assert (row.version, head) == (1, b"p")
    one.models.put_version(number, **VERSION, holder=one.jobs.holder)
    assert two.models.preview(number) is None


def test_the_encoder_of_the_newest_program_is_the_one_of_all(stores):
    one, two = stores
    number = one.training_sets.create(ME, "Zebras").id
    assert one.models.pin_encoder("old", "1.2.0") == "old"
    assert two.models.pin_encoder("other", "1.2.0") == "old"
    assert one.jobs.claim(4) == []
    assert two.models.pin_encoder("new", "1.10.0") == "new"
    assert one.models.pin_encoder("old", "1.2.0") == "new"
    assert [job.training_set_id for job in one.jobs.claim(4)] == [number]  # to be encoded anew


def test_rows_of_a_process_that_fell_silent_are_given_free(stores, monkeypatch):
    one, _ = stores
    with one._database.writing() as connection:
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "1min"
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "10s"
        assert connection.execute(select(schema.training_sets.c.id)).all() == []
