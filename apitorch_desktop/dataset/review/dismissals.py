"""Dismissals: findings of Review that the user declared to be fine. They are durable and follow images to new ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from threading import Lock
from time import time

from apitorch_desktop.utils.sqlite import SqliteFile

Dismissal = tuple[str, str]
"""(image id, finding): `label:<its label>`, `flag:<name>`, or `twin:<id of the other, which sorts behind>`."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS dismissal (
        connection TEXT, image TEXT, finding TEXT, at REAL, PRIMARY KEY (connection, image, finding))""",
)
_TWIN = "twin:"


class DismissalStore:
    """SQLite file in `folder`. Thread-safe; blocking. Raises FileError."""

    def __init__(self, folder: Path) -> None:
        self._file = SqliteFile(folder / "dismissals.sqlite", _SCHEMA)
        self._lock = Lock()

    @property
    def note(self) -> str:
        """Sentence about a file that was damaged and begun anew, or empty."""
        return self._file.note

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def all(self, connection: str) -> frozenset[Dismissal]:
        """Return the dismissals of a connection."""
        rows = self._file.read("SELECT image, finding FROM dismissal WHERE connection = ?", connection)
        return frozenset((image, finding) for image, finding in rows)

    def add(self, connection: str, dismissals: Collection[Dismissal]) -> None:
        """Store dismissals; on disk when this returns."""
        now = time()
        with self._lock, self._file.transaction() as rows:
            rows.executemany(
                "INSERT OR IGNORE INTO dismissal VALUES (?, ?, ?, ?)", [(connection, *one, now) for one in dismissals]
            )

    def remove(self, connection: str, dismissals: Collection[Dismissal]) -> None:
        """Remove dismissals."""
        with self._lock, self._file.transaction() as rows:
            rows.executemany(
                "DELETE FROM dismissal WHERE connection = ? AND image = ? AND finding = ?",
                [(connection, *one) for one in dismissals],
            )

    def replace_ids(self, connection: str, ids: Mapping[str, str]) -> None:
        """Replace ids of images, old → new."""
        known = self.all(connection)
        moved = {dismissal: with_ids_replaced(dismissal, ids) for dismissal in known}
        changed = {old: new for old, new in moved.items() if old != new}
        if changed:
            self.add(connection, changed.values())
            self.remove(connection, changed)


def with_ids_replaced(dismissal: Dismissal, ids: Mapping[str, str]) -> Dismissal:
    """Return a dismissal with the ids that images have now."""
    image, finding = dismissal
    image = ids.get(image, image)
    if not finding.startswith(_TWIN):
        return image, finding
    other = finding.removeprefix(_TWIN)
    first, second = sorted((image, ids.get(other, other)))
    return first, _TWIN + second
