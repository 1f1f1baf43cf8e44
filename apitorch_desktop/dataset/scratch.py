"""Local files classified by a service that takes URLs only: uploaded for a moment, and deleted again whatever happens."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from threading import Lock
from time import sleep, time
from typing import TYPE_CHECKING, Final

from apitorch_desktop.api.errors import ApiError, NotFound
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.dataset.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from apitorch_desktop.api.client import ApiClient
    from apitorch_desktop.api.types import Classification, Id, TrainingImage, TrainingImages

SCRATCH_LABEL: Final = "desktop_scratch"
"""The label under which a local file lies for a moment while it is classified by its URL."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS upload (
        id INTEGER PRIMARY KEY, connection TEXT, training_set TEXT, sha256 TEXT, image TEXT, started_at REAL)""",
)
_LOOKS = 3
"""Times a listing is asked for an image that was just uploaded."""


class Scratch:
    """The journal of what lies under the scratch label, in `folder`. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._file = SqliteFile(folder / "scratch.sqlite", _SCHEMA)
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
        """What classifiers say about bytes: upload, classify by the signed URL, delete. Raises ApiError."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self._lock, self._file.transaction() as rows:  # before the upload: a crash must find it
            row = rows.execute(
                "INSERT INTO upload (connection, training_set, sha256, started_at) VALUES (?, ?, ?, ?)",
                (connection_id, str(training_set_id), sha256, time()),
            ).lastrowid
            assert row is not None  # noqa: S101 - for mypy: an INSERT has one
            self._in_use.add(row)
        try:
            answer = client.upload_image(
                training_set_id, SCRATCH_LABEL, data=data, filename=filename, cancelled=cancelled
            )
            with self._file.transaction() as rows:
                rows.execute("UPDATE upload SET image = ? WHERE id = ?", (answer.id, row))
            url = answer.url if isinstance(answer.url, str) else _url_of(client, training_set_id, answer.id)
            return client.classify(classifiers, image_url=url, cancelled=cancelled)
        finally:
            with self._lock:
                self._in_use.discard(row)
            self._clear(client, [row])

    def left(self, connection_id: str) -> int:
        """How many scratch images are still to be deleted."""
        return len(self._rows(connection_id))

    def clean(self, client: ApiClient, connection_id: str) -> int:
        """Delete what a failure or a crash left; how many are still to be deleted. Raises nothing: it is tried again."""
        self._clear(client, [row for row, *_ in self._rows(connection_id)])
        return self.left(connection_id)

    def _rows(self, connection_id: str) -> list[tuple[int, str, str, str | None]]:
        with self._lock:
            in_use = set(self._in_use)
        rows = self._file.read("SELECT id, training_set, sha256, image FROM upload WHERE connection = ?", connection_id)
        return [row for row in rows if row[0] not in in_use]

    def _clear(self, client: ApiClient, ids: list[int]) -> None:
        for row in ids:
            found = self._file.read("SELECT training_set, sha256, image FROM upload WHERE id = ?", row)
            if not found:
                continue
            training_set, sha256, image = found[0]
            if image and self._shared(row, training_set, sha256):
                self._forget(row)  # the same picture is being classified at this moment: the last one deletes it
                continue
            try:
                images = [image] if image else list(_same(client, training_set, sha256))
                for image_id in images:
                    _delete(client, image_id)
            except NotFound:
                pass  # the training set itself is gone
            except ApiError:
                continue  # `clean` tries again when the connection is opened
            self._forget(row)

    def _shared(self, row: int, training_set: str, sha256: str) -> bool:
        sql = "SELECT id FROM upload WHERE training_set = ? AND sha256 = ? AND id != ?"
        return bool(self._file.read(sql, training_set, sha256, row))

    def _forget(self, row: int) -> None:
        with self._file.transaction() as rows:
            rows.execute("DELETE FROM upload WHERE id = ?", (row,))


def without_scratch(answer: TrainingImages) -> TrainingImages:
    """A listing without what lies under the scratch label for a moment: that is nobody's training image."""
    answer.data = [group for group in answer.data if not is_scratch(group.label)]
    return answer


def is_scratch(label: str) -> bool:
    """Whether a label is the scratch label, in any spelling."""
    return snake_case(label) == SCRATCH_LABEL


def _scratch_images(client: ApiClient, training_set_id: Id) -> Iterator[TrainingImage]:
    for group in client.images(training_set_id).data:
        if is_scratch(group.label):
            yield from group.images


def _url_of(client: ApiClient, training_set_id: Id, image_id: str) -> str:
    for look in range(_LOOKS):
        if look:
            sleep(0.3 * look)
        for image in _scratch_images(client, training_set_id):
            if image.image_id.removeprefix("ti_") == image_id.removeprefix("ti_"):
                return image.url
    raise NotFound("The service does not list the image that was just uploaded.", advice="Try again in a minute.")


def _same(client: ApiClient, training_set_id: Id, sha256: str) -> Iterator[str]:
    """Ids of the scratch images with these bytes: the crash came before the service's answer."""
    for image in list(_scratch_images(client, training_set_id)):
        known = image.sha256 if isinstance(image.sha256, str) else ""
        if (known or hashlib.sha256(client.download(image.url)).hexdigest()) == sha256:
            yield image.image_id


def _delete(client: ApiClient, image_id: str) -> None:
    with suppress(NotFound):
        client.delete_image(image_id)
