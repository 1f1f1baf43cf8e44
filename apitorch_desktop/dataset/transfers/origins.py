"""Origins: where images that were uploaded from this machine came from; kept when their transfer is no longer listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from apitorch_desktop.utils.sqlite import SqliteFile

MOST = 200_000
"""Images whose origin is kept, some 200 bytes each; those noted first go first."""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS origin (
        n INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT, image TEXT, sha256 TEXT, place TEXT,
        UNIQUE (connection, image) ON CONFLICT REPLACE)""",
    "CREATE INDEX IF NOT EXISTS origin_sha256 ON origin (connection, sha256)",
)


class OriginIndex:
    """A file in `folder`, opened at the first call. Thread-safe; a damaged one forgets rather than fails."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._file = SqliteFile(folder / "origins.sqlite", _SCHEMA, cache=True)
        self._most = most

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def keep(self, connection: str, found: Iterable[tuple[str, str, str]]) -> None:
        """Note (image id, sha256 or "", place) of images."""
        with self._file.transaction() as rows:
            rows.executemany(
                "INSERT INTO origin (connection, image, sha256, place) VALUES (?, ?, ?, ?)",
                [(connection, _bare_id(image), sha256, place) for image, sha256, place in found],
            )
            rows.execute(
                "DELETE FROM origin WHERE n <= (SELECT n FROM origin ORDER BY n DESC LIMIT 1 OFFSET ?)", (self._most,)
            )

    def find(self, connection: str, image: str, sha256: str = "") -> str:
        """The place an image came from: that noted of its id, else of its bytes; "" where neither is known."""
        sql = "SELECT place FROM origin WHERE connection = ? AND image = ?"
        for (place,) in self._file.read(sql, connection, _bare_id(image)):
            return str(place)
        sql = "SELECT place FROM origin WHERE connection = ? AND sha256 = ? ORDER BY n DESC LIMIT 1"
        for (place,) in self._file.read(sql, connection, sha256) if sha256 else ():
            return str(place)
        return ""

    def update_ids(self, connection: str, ids: Mapping[str, str]) -> None:
        """A service gave images other ids: old → new."""
        with self._file.transaction() as rows:
            rows.executemany(
                "UPDATE origin SET image = ? WHERE connection = ? AND image = ?",
                [(_bare_id(new), connection, _bare_id(old)) for old, new in ids.items()],
            )


def _bare_id(image: str) -> str:
    return image.removeprefix("ti_")
