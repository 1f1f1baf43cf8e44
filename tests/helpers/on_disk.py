"""Checks of a data folder from outside, while a service uses it or afterwards: rows and files match."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

_DATABASES = ("store.db", "thumbnails.db")
_FILES = {"images", "lock", "running.json", "reserve", "backup.json"} | {
    f"{name}{end}" for name in _DATABASES for end in ("", "-wal", "-shm", "-journal")
}


def quarantined(folder: Path) -> set[str]:
    """Return the sha256 of the images in quarantine."""
    with closing(sqlite3.connect(f"file:{folder}/store.db?mode=ro", uri=True)) as rows:
        return {row[0] for row in rows.execute("SELECT sha256 FROM quarantine")}


def orphans(folder: Path) -> set[str]:
    """Return the files without a row that are in no quarantine, into which a service puts them soon after its start."""
    with closing(sqlite3.connect(f"file:{folder}/store.db?mode=ro", uri=True)) as rows:
        known = {row[0] for row in rows.execute("SELECT sha256 FROM blobs UNION SELECT sha256 FROM quarantine")}
    return {path.name for path in _files(folder)} - known


def _files(folder: Path) -> set[Path]:
    return {path for path in (folder / "images").rglob("*") if path.is_file() and path.name != "database"}


def on_disk(folder: Path) -> dict[str, str]:
    """Assert that rows and files match and are whole; return the sha256 of each image by id."""
    with closing(sqlite3.connect(f"file:{folder}/store.db?mode=ro", uri=True)) as rows:

        def column(query: str) -> set[str]:
            return {row[0] for row in rows.execute(query)}

        rows.execute("BEGIN")
        kept = column("SELECT sha256 FROM blobs")
        tables = ("images", "classifications", "deleted_images")
        used = column(" UNION ".join(f"SELECT sha256 FROM {table}" for table in tables))
        images = {f"ti_{image}": sha256 for image, sha256 in rows.execute("SELECT id, sha256 FROM images")}
        assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
        assert rows.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert column("SELECT sha256 FROM embeddings") <= kept
    files = _files(folder)
    there = {path.name for path in files}
    assert kept == used, f"{kept - used} are kept for nobody, {used - kept} are used and have no blob"
    assert kept <= there, f"{kept - there} have no file"
    assert not (lost := orphans(folder)), f"{lost} have no row"
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in files)
    strange = {path.name for path in folder.iterdir()} - _FILES
    assert not strange, strange
    return images
