"""Stores for tests: properties for arbitrary bytes, a check of the files, a PostgreSQL server for the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from apitorch_desktop.service.storage.owners import LOCAL_OWNER
from apitorch_desktop.service.storage.records import ImageRow
from apitorch_desktop.service.storage.store import Store

ME = LOCAL_OWNER


@dataclass(frozen=True)
class Facts:
    """Image properties for bytes that are no image."""

    width: int = 400
    height: int = 300
    extension: str = ".jpg"


def add(store: Store, training_set: int | str, label: str, data: bytes, owner: int = ME, name: str = "") -> ImageRow:
    """Add an image; return its row."""
    return store.images.add(owner, training_set, label, data, Facts(), name)[0]


def add_many(store: Store, training_set: int, label: str, contents: Sequence[bytes], owner: int = ME) -> list[ImageRow]:
    """Add many images from many threads, which share their commits; return the rows in the order of the contents."""
    with ThreadPoolExecutor(32) as threads:
        return list(threads.map(lambda data: add(store, training_set, label, data, owner), contents))


def files(folder: Path) -> set[str]:
    """Return the sha256 of every image file, and the name of any other file in the images folder."""
    images = folder / "images"
    return {path.name for path in images.rglob("*") if path.is_file() and path != images / "database"}


def replace_by(what: str, path: Path) -> None:
    """Put something else in the place of an image's file."""
    data = path.read_bytes()
    path.unlink()
    if what == "a flipped byte":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif what == "an empty file":
        path.touch()
    elif what == "a longer file":
        path.write_bytes(data + b"\0")
    elif what == "a link":
        other = path.parents[2] / "secret"
        other.write_bytes(data)
        path.symlink_to(other)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a socket":
        with socket.socket(socket.AF_UNIX) as server, chdir(path.parent):
            server.bind(path.name)


def sweep_released(store: Store) -> None:
    """Remove what nothing refers to as if a day had passed."""
    from sqlalchemy import update

    from apitorch_desktop.service.storage.schema import deleted_images, released

    store._writer.run(
        lambda transaction: transaction.execute(update(deleted_images).values(deleted_at="2026")).rowcount
    )
    store.deleted_images.forget()
    if store.jobs is None:
        return
    store._writer.run(lambda transaction: transaction.execute(update(released).values(since="2026")).rowcount)
    store.sweeper.remove_expired()


def stored(store: Store) -> set[str]:
    """Return what `files` does of an open store's folder, once what nothing refers to is removed."""
    sweep_released(store)
    return files(store.folder)


def consistent(store: Store) -> None:
    """Assert that every row has its file, every file its row or a place in quarantine, and every blob a reference."""
    from sqlalchemy import select

    from apitorch_desktop.service.storage.schema import blobs, classifications, images

    sweep_released(store)
    with store._database.reading() as connection:
        kept = set(connection.execute(select(blobs.c.sha256)).scalars())
        used = set(connection.execute(select(images.c.sha256)).scalars())
        used |= set(connection.execute(select(classifications.c.sha256)).scalars())
    there = set(store._blobs.names())
    assert kept == used, f"{kept - used} are kept for nobody, {used - kept} are used and have no blob"
    strays = there - kept - set(store.sweeper.quarantined())
    assert kept <= there, f"{kept - there} have no file"
    assert not strays, f"{strays} have no row"


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database; skips without a server program or driver."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if not shutil.which("initdb") or not shutil.which("pg_ctl"):
        pytest.skip("PostgreSQL's initdb and pg_ctl are not on the path")
    as_user: list[str] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses
        as_user = ["runuser", "-u", "postgres", "--"]
        if not shutil.which("runuser") or subprocess.run([*as_user, "true"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a socket's path is short
        if as_user:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"

        def run(*command: str) -> None:
            with Path(os.devnull).open("wb") as nowhere:  # the server would hold a pipe open
                subprocess.run([*as_user, *command], check=True, stdout=nowhere, cwd=folder)

        run("initdb", "-D", data, "-A", "trust", "-U", "tester", "--no-sync", "-E", "UTF8", "--locale=C")
        run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-o", options, "-w", "start")
        try:
            yield f"postgresql+psycopg://tester@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def empty(url: str) -> None:
    """Drop everything in a PostgreSQL database."""
    from sqlalchemy import create_engine

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
