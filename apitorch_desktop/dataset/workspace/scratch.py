"""Classification of local files by a service that accepts URLs only: each is uploaded, classified and deleted again.

A journal records what is to be deleted before it is uploaded, so that a crash leaves nothing behind for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from time import sleep, time
from typing import Final

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, NotFound
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Classification, Id, TrainingImage
from apitorch_desktop.dataset.workspace.listing import is_scratch, iter_images
from apitorch_desktop.utils.sqlite import SqliteFile

SCRATCH_LABEL: Final = "desktop_scratch"
"""Label under which a local file lies while it is classified by its URL.

Where the user has images under this label, the next free name is taken: the journal knows which.
"""

_FILE = "scratch.sqlite"
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS upload (
        id INTEGER PRIMARY KEY, connection TEXT, training_set TEXT, sha256 TEXT, image TEXT, started_at REAL)""",
    """CREATE TABLE IF NOT EXISTS label (
        connection TEXT, training_set TEXT, label TEXT, PRIMARY KEY (connection, training_set)) WITHOUT ROWID""",
)
_ATTEMPTS = 3
"""Attempts to find an image in the listing that was just uploaded."""


class ScratchUploads:
    """Journal, in `folder`, of the images under the scratch labels. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._file = SqliteFile(folder / _FILE, _SCHEMA)
        self._lock = Lock()
        self._in_use: set[int] = set()

    def close(self) -> None:
        """Close the journal."""
        self._file.close()

    def classify(
        self,
        client: ApiClient,
        connection_id: str,
        training_set_id: Id,
        classifiers: Sequence[str],
        data: bytes,
        filename: str,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Classification]:
        """Classify bytes: upload them, classify the signed URL, delete the image. Raises ApiError."""
        data = client.as_sent(data)  # by whose hash it is found after a crash
        sha256 = hashlib.sha256(data).hexdigest()
        label = self.label(connection_id, training_set_id) or self._claim(client, connection_id, training_set_id)
        with self._lock, self._file.transaction() as rows:  # before the upload: a crash must find it
            row = rows.execute(
                "INSERT INTO upload (connection, training_set, sha256, started_at) VALUES (?, ?, ?, ?)",
                (connection_id, training_set_id, sha256, time()),
            ).lastrowid
            assert row is not None  # noqa: S101 - for mypy: an INSERT has one
            self._in_use.add(row)
        try:
            answer = client.upload_image(training_set_id, label, data=data, filename=filename, cancelled=cancelled)
            with self._file.transaction() as rows:
                rows.execute("UPDATE upload SET image = ? WHERE id = ?", (answer.id, row))
            url = answer.url if isinstance(answer.url, str) else _url_of(client, training_set_id, label, answer.id)
            return client.classify(classifiers, image_url=url, cancelled=cancelled)
        finally:
            with self._lock:
                self._in_use.discard(row)
            self._clear(client, [row])

    def label(self, connection_id: str, training_set_id: Id) -> str:
        """Return the scratch label of a training set, "" where there is none; its images are no training images."""
        sql = "SELECT label FROM label WHERE connection = ? AND training_set = ?"
        found = self._file.read(sql, connection_id, training_set_id)
        return str(found[0][0]) if found else ""

    def _claim(self, client: ApiClient, connection_id: str, training_set_id: Id) -> str:
        """Choose the first scratch label under which the user has no image, and record it."""
        taken = {snake_case(str(image.label)) for image in iter_images(client, training_set_id, paged=False)}
        names = (f"{SCRATCH_LABEL}_{number}" if number > 1 else SCRATCH_LABEL for number in count(1))
        label = next(name for name in names if name not in taken)
        with self._file.transaction() as rows:
            rows.execute("INSERT OR REPLACE INTO label VALUES (?, ?, ?)", (connection_id, training_set_id, label))
        return label

    def left(self, connection_id: str) -> int:
        """Return how many scratch images are still to be deleted."""
        return len(self._rows(connection_id))

    def clean(self, client: ApiClient, connection_id: str) -> int:
        """Delete what a failure or a crash left; return how many are still to be deleted. Does not raise ApiError."""
        self._clear(client, [row for row, *_ in self._rows(connection_id)])
        return self.left(connection_id)

    def _rows(self, connection_id: str) -> list[tuple[int, str, str, str | None]]:
        with self._lock:
            in_use = set(self._in_use)
        rows = self._file.read("SELECT id, training_set, sha256, image FROM upload WHERE connection = ?", connection_id)
        return [row for row in rows if row[0] not in in_use]

    def _clear(self, client: ApiClient, ids: list[int]) -> None:
        for row in ids:
            found = self._file.read("SELECT connection, training_set, sha256, image FROM upload WHERE id = ?", row)
            if not found:
                continue
            connection, training_set, sha256, image = found[0]
            label = self.label(connection, training_set) or SCRATCH_LABEL
            if image and self._shared(row, training_set, sha256):
                self._forget(row)  # the same image is being classified at this moment: the last call deletes it
                continue
            try:
                images = [image] if image else list(_same(client, training_set, label, sha256))
                for image_id in images:
                    _delete(client, image_id)
            except NotFound:
                pass  # the training set was deleted
            except ApiError:
                continue  # `clean` tries again when the connection is opened
            self._forget(row)

    def _shared(self, row: int, training_set: str, sha256: str) -> bool:
        sql = "SELECT id FROM upload WHERE training_set = ? AND sha256 = ? AND id != ?"
        return bool(self._file.read(sql, training_set, sha256, row))

    def _forget(self, row: int) -> None:
        with self._file.transaction() as rows:
            rows.execute("DELETE FROM upload WHERE id = ?", (row,))


def scratch_label(folder: Path, connection_id: str, training_set_id: Id) -> str:
    """Return `ScratchUploads.label` of the journal in `folder`, for callers that have not opened it."""
    if not (folder / _FILE).exists():
        return ""
    scratch = ScratchUploads(folder)
    try:
        return scratch.label(connection_id, training_set_id)
    finally:
        scratch.close()


def _scratch_images(client: ApiClient, training_set_id: Id, label: str) -> list[TrainingImage]:
    images = iter_images(client, training_set_id, paged=False)
    return [image for image in images if is_scratch(str(image.label), label)]


def _url_of(client: ApiClient, training_set_id: Id, label: str, image_id: str) -> str:
    for attempt in range(_ATTEMPTS):
        if attempt:
            sleep(0.3 * attempt)
        for image in _scratch_images(client, training_set_id, label):
            if image.image_id.removeprefix("ti_") == image_id.removeprefix("ti_"):
                return image.url
    raise NotFound("The service does not list the image that was just uploaded.", advice="Try again in a minute.")


def _same(client: ApiClient, training_set_id: Id, label: str, sha256: str) -> Iterator[str]:
    """Yield ids of the scratch images with these bytes, after a crash before the service's answer."""
    for image in _scratch_images(client, training_set_id, label):
        known = image.sha256 if isinstance(image.sha256, str) else ""
        if (known or hashlib.sha256(client.download(image.url)).hexdigest()) == sha256:
            yield image.image_id


def _delete(client: ApiClient, image_id: str) -> None:
    with suppress(NotFound):
        client.delete_image(image_id)
