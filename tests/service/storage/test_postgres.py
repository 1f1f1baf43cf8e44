"""PostgreSQL under attack: an earlier service, a restart, a silent server; and how many statements a call costs."""

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import create_engine

from apitorch_desktop.service.storage import database as database_module
from apitorch_desktop.service.storage import schema
from apitorch_desktop.service.storage.errors import CannotOpen, InUse, StorageUnreachable
from apitorch_desktop.service.storage.store import Store
from tests.helpers.service_process import serving
from tests.helpers.stores import ME, add, add_many, empty
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture
def database(server: str) -> str:
    """The URL of an empty database."""
    empty(server)
    return server


def folder_of(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def ask(url: str, *statements: str) -> list[object]:
    """What each statement returns first, on a connection of its own."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(statement) for statement in statements]
        values = [result.scalar() if result.returns_rows else None for result in found]
    engine.dispose()
    return values


def end_sessions(url: str) -> None:
    """End every other session, as a restart of the server does."""
    numbers = ask(url, "SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'client backend'")[
        0
    ]
    ask(
        url,
        f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid IN ({numbers}) AND pid <> pg_backend_pid()",
    )
    until(lambda: ask(url, f"SELECT count(*) FROM pg_stat_activity WHERE pid IN ({numbers})") == [0])


def test_a_service_of_an_earlier_version_and_this_one_do_not_share_a_database(database, tmp_path):
    engine = create_engine(database)
    with engine.connect() as earlier:
        earlier.exec_driver_sql(f"SELECT pg_advisory_lock({database_module._EARLIER_LOCK})")
        with pytest.raises(InUse, match="earlier version"):
            Store.open(tmp_path / "data", database_url=database)
    engine.dispose()
    with Store.open(tmp_path / "data", database_url=database) as store:
        assert store.training_sets.all(ME) == []


def test_a_service_goes_on_after_a_restart_of_the_database(database, tmp_path):
    with Store.open(tmp_path / "one", database_url=database) as store:
        number = store.training_sets.create(ME, "Zebras").id
        end_sessions(database)
        add(store, number, "a", b"after the restart")
        assert store.training_sets.get(ME, number).counts == (1,)
        until(lambda: store.is_current)


def test_images_in_a_folder_are_of_one_service(database, tmp_path):
    with Store.open(tmp_path / "one", database_url=database) as store:
        add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
        with pytest.raises(CannotOpen, match="images in one"):
            Store.open(tmp_path / "two", database_url=database)


@contextmanager
def silent(url: str) -> Iterator[None]:
    """Stop all processes of the server: connections to it stay, and nothing is answered."""
    first = (folder_of(url) / "data" / "postmaster.pid").read_text().split()[0]
    children = subprocess.run(["pgrep", "-P", first], capture_output=True, text=True, check=True).stdout.split()
    numbers = [int(number) for number in (first, *children)]
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in numbers:
            os.kill(number, signal.SIGCONT)


def test_calls_to_a_silent_database_are_given_up(database, tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "_SILENCE", 0.3)
    monkeypatch.setattr(database_module, "_WATCH_INTERVAL", 0.1)
    monkeypatch.setitem(database_module._POSTGRES_TIMEOUTS, "connect_timeout", 2)
    with Store.open(tmp_path / "data", database_url=database) as store, ThreadPoolExecutor(8) as threads:
        number = store.training_sets.create(ME, "Zebras").id
        with silent(database):
            calls = [threads.submit(store.training_sets.all, ME) for _ in range(6)]
            calls += [threads.submit(add, store, number, "a", bytes([at])) for at in range(2)]
            for call in calls:
                assert isinstance(call.exception(PATIENCE), StorageUnreachable)
        assert until(lambda: threads.submit(add, store, number, "a", b"x").exception() is None)


def test_ping_answers_for_a_known_key_while_the_database_is_silent(database, tmp_path, monkeypatch):
    monkeypatch.setenv("APITORCH_DATABASE_URL", database)
    with serving(tmp_path / "data", key=None) as service:
        key = next(line.split()[-1] for line in service.log.splitlines() if "shown only this once" in line)
        assert service.call("GET", "training-sets", key).status_code == 200
        with silent(database):
            for _ in range(3):  # the key is remembered for five seconds
                assert service.call("GET", "ping", key).status_code == 200


def test_what_a_call_costs_in_statements(database, tmp_path, monkeypatch, picture):
    """Counted in the server's own log, with BEGIN and COMMIT: ping 0, list 1, upload at most 4."""
    log = folder_of(database) / "log"
    monkeypatch.setenv("APITORCH_DATABASE_URL", database)
    with serving(tmp_path / "data", key=None) as service:
        key = next(line.split()[-1] for line in service.log.splitlines() if "shown only this once" in line)
        number = service.new_set("Zebras", key)
        ask(database, "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")

        def statements_of(call) -> list[str]:
            service.call("GET", "ping", key)  # the key is remembered from now on
            until(lambda: ask(database, "SHOW log_statement") == ["all"])
            before = len(log.read_text())
            assert call().status_code == 200
            lines = log.read_text()[before:].splitlines()
            calls = [line for line in lines if "LOG:  statement:" in line or "LOG:  execute " in line]
            return [
                line for line in calls if not re.search(r"UPDATE jobs|: SELECT 1$", line)
            ]  # leases, once in a second

        def upload(seed: int, label: str = "a"):
            return service.call("POST", f"training-set/{number}/{label}/image", key, files={"image": picture(seed)})

        def count(call, most: int) -> None:
            for _ in range(15):  # training goes on in the background
                if len(found := statements_of(call)) <= most:
                    return
            pytest.fail("\n".join(found))

        seeds = itertools.count()
        try:
            count(lambda: service.call("GET", "ping", key), 0)
            count(lambda: service.call("GET", "training-sets", key), 1)
            count(lambda: service.call("GET", f"training-set/{number}/labels", key), 2)
            count(lambda: upload(next(seeds)), 4)
            count(lambda: upload((seed := next(seeds)), f"label {seed}"), 4)
            count(lambda: upload(0), 2)
            count(lambda: service.call("GET", f"training-set/{number}/images", key), 2)
        finally:
            ask(database, "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")


def test_uploads_that_come_together_share_a_transaction(database, tmp_path):
    with Store.open(tmp_path / "data", database_url=database) as store:
        number = store.training_sets.create(ME, "Zebras").id
        rows = add_many(store, number, "a", [bytes([at]) for at in range(60)])
        assert store.training_sets.get(ME, number).counts == (60,)
        assert [row.id for row in store.images.page(ME, number).images] == [
            row.id for row in sorted(rows, key=lambda row: row.seq)
        ]


def test_a_database_of_an_earlier_version_gets_its_columns(tmp_path, database):
    with Store.open(tmp_path / "data", database_url=database) as store:
        number = store.training_sets.create(ME, "Earlier").id
    engine = create_engine(database)
    with engine.begin() as connection:
        later = {"images": ("split",), "versions": ("difference", "waiting", "answers"), "training_sets": ("encoder",)}
        connection.exec_driver_sql("DROP INDEX images_with_split")
        for trigger in ("image_changed", "image_deleted"):
            connection.exec_driver_sql(f"DROP TRIGGER {trigger} ON images")
        for table, columns in later.items():
            for column in columns:
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in (
            "deleted_images",
            "image_changes",
            "quarantine",
            "damaged",
            "released",
            "leases",
            "jobs",
            "previews",
        ):
            connection.exec_driver_sql(f"DROP TABLE {table} CASCADE")
        connection.execute(schema.meta.update().where(schema.meta.c.name == "version").values(value=b"1"))
    engine.dispose()
    with Store.open(tmp_path / "data", database_url=database) as store:
        facts = {"revision": 1, "encoder": "e", "head": b"h", "metrics": "{}", "images": 4, "labels": 2}
        assert store.models.put_version(number, **facts, answers=b"\x00\xff").current
        assert store.models.put_version(number, **facts, difference="{}", waits=True).waiting
        assert store.models.answers(number, 1) == b"\x00\xff"
        assert [(row.version, row.current) for row in store.models.versions(number)] == [(2, False), (1, True)]
        until(lambda: store.jobs.claim(1))  # scheduled, since nobody knows if it was trained
        store.training_sets.delete(ME, number)
