"""Index of the origins of uploaded images, which outlives the records of their transfers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from apitorch_desktop.dataset.transfers.upload import bare_id
from apitorch_desktop.utils.sqlite import SqliteFile

MAX_ORIGINS = 200_000
"""Number of origins that are kept, some 200 bytes each; the oldest are dropped first."""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS origin (
        n INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, image TEXT, sha256 TEXT, place TEXT,
        UNIQUE (connection, image) ON CONFLICT REPLACE)""",
    "CREATE INDEX IF NOT EXISTS origin_sha256 ON origin (connection, sha256)",
)


class OriginIndex:
    """SQLite file in `folder`, opened at the first call. Thread-safe; a damaged file is replaced."""

    def __init__(self, folder: Path, most: int = MAX_ORIGINS) -> None:
        self._file = SqliteFile(folder / "origins.sqlite", _SCHEMA, cache=True)
        self._most = most

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def keep(self, connection: str, found: Iterable[tuple[str, str, str]]) -> None:
        """Record (image id, sha256 or "", place) of images."""
        with self._file.transaction() as rows:
            rows.executemany(
                "INSERT INTO origin (connection, image, sha256, place) VALUES (?, ?, ?, ?)",
                [(connection, bare_id(image), sha256, place) for image, sha256, place in found],
            )
            rows.execute(
                "DELETE FROM origin WHERE n <= (SELECT n FROM origin ORDER BY n DESC LIMIT 1 OFFSET ?)", (self._most,)
            )

    def find(self, connection: str, image: str, sha256: str = "") -> str:
        """Return the place an image came from, by its id, else by its hash; "" where neither is known."""
        sql = "SELECT place FROM origin WHERE connection = ? AND image = ?"
        for (place,) in self._file.read(sql, connection, bare_id(image)):
            return str(place)
        sql = "SELECT place FROM origin WHERE connection = ? AND sha256 = ? ORDER BY n DESC LIMIT 1"
        for (place,) in self._file.read(sql, connection, sha256) if sha256 else ():
            return str(place)
        return ""

    def update_ids(self, connection: str, ids: Mapping[str, str]) -> None:
        """Replace ids that changed at the service: old → new."""
        with self._file.transaction() as rows:
            rows.executemany(
                "UPDATE origin SET image = ? WHERE connection = ? AND image = ?",
                [(bare_id(new), connection, bare_id(old)) for old, new in ids.items()],
            )
