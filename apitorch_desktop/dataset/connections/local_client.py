"""Client that keeps on this machine what a service with the documented calls alone cannot: images without a label, and splits.

`LocalClient` adds both to the answers of such a service, so that listings, edits, transfers and exports see no difference;
and it sends photos of formats that the service may not read as JPEGs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePath
from secrets import token_hex
from threading import Lock
from typing import Any, Final

from msgspec import UNSET

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import BadRequest, NotFound
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import (
    INBOX,
    Classification,
    Id,
    ImageAnswer,
    Ping,
    TrainingImage,
    TrainingImages,
    TrainingLabel,
    TrainingSet,
)
from apitorch_desktop.utils.files import atomic_write
from apitorch_desktop.utils.sqlite import SqliteFile

LOCAL_ID: Final = "ti_local_"
"""Beginning of the ids of images that are on this machine only."""
LOCAL_URL: Final = "local:"
"""Beginning of their URLs; the id follows."""
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS image (
        id TEXT PRIMARY KEY, connection TEXT NOT NULL, training_set TEXT NOT NULL, sha256 TEXT NOT NULL,
        extension TEXT NOT NULL, name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
        bytes INTEGER NOT NULL, created_at TEXT NOT NULL, split TEXT NOT NULL,
        UNIQUE (connection, training_set, sha256))""",
    """CREATE TABLE IF NOT EXISTS split (
        connection TEXT NOT NULL, image TEXT NOT NULL, split TEXT NOT NULL,
        PRIMARY KEY (connection, image)) WITHOUT ROWID""",
)
_COLUMNS = "id, sha256, extension, name, width, height, bytes, created_at, split"


class LocalImages:
    """Images without a label, and splits of a service's images, in `folder`. Thread-safe, also across processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "waiting"
        self._path = folder / "waiting.sqlite"
        self._lock = Lock()
        self._opened: SqliteFile | None = None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()

    @property
    def _file(self) -> SqliteFile:
        with self._lock:
            if self._opened is None:
                self._opened = SqliteFile(self._path, _SCHEMA)
            return self._opened

    def _read(self, sql: str, *values: str) -> list[Any]:
        """Return all rows of a query, without making the file."""
        return self._file.read(sql, *values) if self._opened is not None or self._path.exists() else []

    def add(self, connection_id: str, training_set_id: Id, data: bytes, name: str, split: str) -> TrainingImage:
        """Keep an image; the same bytes for the same training set are one image. Raises UnreadableImage, OSError."""
        from apitorch_desktop.vision import images

        info = images.verify(data)
        sha256 = hashlib.sha256(data).hexdigest()
        owner = (connection_id, training_set_id)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._file.transaction() as rows:  # before the row: whoever deletes the file holds the write lock
            with atomic_write(self._folder / sha256, mode=0o600) as part:
                part.write_bytes(data)
            rows.execute(
                "INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connection, training_set, sha256)"
                " DO UPDATE SET split = CASE split WHEN '' THEN excluded.split ELSE split END",
                (
                    LOCAL_ID + token_hex(16), *owner, sha256, info.extension, name, info.width, info.height, len(data),
                    datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), split,
                ),
            )  # fmt: skip
            where = "connection = ? AND training_set = ? AND sha256 = ?"
            found = rows.execute(f"SELECT {_COLUMNS} FROM image WHERE {where}", (*owner, sha256)).fetchone()  # noqa: S608
        return _record(found)

    def images(self, connection_id: str, training_set_id: Id) -> list[TrainingImage]:
        """Return the images of a training set, oldest first."""
        sql = f"SELECT {_COLUMNS} FROM image WHERE connection = ? AND training_set = ? ORDER BY rowid"  # noqa: S608
        return [_record(row) for row in self._read(sql, connection_id, training_set_id)]

    def count(self, connection_id: str) -> int:
        """Return the number of images of a connection."""
        return int(sum(row[0] for row in self._read("SELECT COUNT(*) FROM image WHERE connection = ?", connection_id)))

    def training_sets(self, connection_id: str) -> set[str]:
        """Return the ids, as text, of the training sets that have images here."""
        sql = "SELECT DISTINCT training_set FROM image WHERE connection = ?"
        return {row[0] for row in self._read(sql, connection_id)}

    def read(self, image_id: str) -> bytes:
        """Return the bytes of an image. Raises NotFound."""
        for (sha256,) in self._read("SELECT sha256 FROM image WHERE id = ?", image_id):
            with suppress(FileNotFoundError):
                return (self._folder / str(sha256)).read_bytes()
        raise NotFound("This photo is no longer on this computer.", advice="Refresh to see what is there.")

    def delete(self, image_id: str) -> None:
        """Delete an image, if it is there."""
        with self._file.transaction() as rows:
            found = rows.execute("DELETE FROM image WHERE id = ? RETURNING sha256", (image_id,)).fetchall()
            for (sha256,) in found:
                if not rows.execute("SELECT 1 FROM image WHERE sha256 = ?", (sha256,)).fetchone():
                    (self._folder / sha256).unlink(missing_ok=True)

    def splits(self, connection_id: str) -> dict[str, str]:
        """Return the splits of a connection's images by id."""
        return dict(self._read("SELECT image, split FROM split WHERE connection = ?", connection_id))

    def add_split(self, connection_id: str, image_id: str, split: str) -> None:
        """Set the split of an image of a service; an image that has one keeps it."""
        with self._file.transaction() as rows:
            rows.execute("INSERT OR IGNORE INTO split VALUES (?, ?, ?)", (connection_id, image_id, split))

    def set_splits(self, connection_id: str, image_ids: Iterable[str], split: str) -> None:
        """Set the split of images, those that are here and those of a service, "" for none."""
        with self._file.transaction() as rows:
            for image_id in image_ids:
                if image_id.startswith(LOCAL_ID):
                    rows.execute("UPDATE image SET split = ? WHERE id = ?", (split, image_id))
                    continue
                rows.execute("DELETE FROM split WHERE connection = ? AND image = ?", (connection_id, image_id))
                if split:
                    rows.execute("INSERT INTO split VALUES (?, ?, ?)", (connection_id, image_id, split))

    def drop_split(self, connection_id: str, image_id: str) -> None:
        """Forget the split of an image that is gone."""
        with self._file.transaction() as rows:
            rows.execute("DELETE FROM split WHERE connection = ? AND image = ?", (connection_id, image_id))


class LocalClient(ApiClient):
    """API client of one connection that keeps on this machine what its service cannot keep."""

    def __init__(self, local: LocalImages, connection_id: str, base_url: str, key: str, **options: Any) -> None:
        super().__init__(base_url, key, **options)
        self._local = local
        self._connection_id = connection_id
        self._extensions: frozenset[str] | None = None

    def without_retries(self) -> LocalClient:
        """Return a client that makes every call once."""
        other = LocalClient.__new__(LocalClient)
        other.__dict__ |= self.__dict__
        other._transport = self._transport.without_retries()
        return other

    def ping(self) -> Ping:
        """Ping, and remember the extensions."""
        answer = super().ping()
        self._extensions = frozenset(answer.extensions or ())
        return answer

    def training_sets(self) -> list[TrainingSet]:
        """Return the training sets, with the inboxes that are here among their labels."""
        found = super().training_sets()
        waiting = self._local.training_sets(self._connection_id)
        for training_set in found:
            labels = training_set.labels
            if training_set.id in waiting and isinstance(labels, list) and INBOX not in labels:
                labels.append(INBOX)
                if isinstance(training_set.counts, list):
                    training_set.counts.append(len(self._local.images(self._connection_id, training_set.id)))
        return found

    def upload_image(
        self,
        training_set_id: Id,
        label: str,
        *,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "",
        split: str = "",
        on_sent: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        repeat: bool = True,
    ) -> ImageAnswer:
        """Add an image; one without a label stays here."""
        if snake_case(label) == INBOX and self._lacks("unlabelled"):
            if data is None:
                assert path is not None  # noqa: S101 - for mypy: one of the two is given
                data, filename = path.read_bytes(), filename or path.name
            image = self._keep(training_set_id, data, filename or "image", split)
            if on_sent is not None:
                on_sent(len(data))
            return image
        kept = split if split and self._lacks("splits") else ""
        path, data, filename = self._readable(path, data, filename)
        answer = super().upload_image(
            training_set_id, label, path=path, data=data, filename=filename, split="" if kept else split,
            on_sent=on_sent, cancelled=cancelled, repeat=repeat,
        )  # fmt: skip
        return self._with_split(answer, kept)

    def upload_image_url(self, training_set_id: Id, label: str, image_url: str, *, split: str = "") -> ImageAnswer:
        """Let the service fetch an image."""
        if snake_case(label) == INBOX and self._lacks("unlabelled"):
            raise BadRequest(
                "This service fetches an address only under a label.",
                advice="Give it one, or download the photo and add the file.",
            )
        kept = split if split and self._lacks("splits") else ""
        answer = super().upload_image_url(training_set_id, label, image_url, split="" if kept else split)
        return self._with_split(answer, kept)

    def classify(
        self,
        classifiers: Sequence[str],
        *,
        image_url: str | None = None,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "",
        show_confidence_value: bool = True,
        keep: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Classification]:
        """Classify one image."""
        if image_url is None:
            path, data, filename = self._readable(path, data, filename)
        return super().classify(
            classifiers, image_url=image_url, path=path, data=data, filename=filename,
            show_confidence_value=show_confidence_value, keep=keep, cancelled=cancelled,
        )  # fmt: skip

    def as_sent(self, data: bytes) -> bytes:
        """Return the bytes that are sent for an image: a JPEG where the service may not read its format."""
        from apitorch_desktop.vision import images

        if data.startswith(images.UNIVERSAL_STARTS) or not self._lacks("formats"):
            return data
        return images.universal(data)

    def _readable(self, path: Path | None, data: bytes | None, filename: str) -> tuple[Path | None, bytes | None, str]:
        """Return what to send of an image, given by its path or its bytes and a name."""
        own = data
        if path is not None:
            from apitorch_desktop.vision.images import MAX_BYTES, UNIVERSAL_STARTS

            try:
                with path.open("rb") as file:
                    start = file.read(16)
                    if start.startswith(UNIVERSAL_STARTS) or path.stat().st_size > MAX_BYTES:
                        return path, data, filename
                    own, filename = start + file.read(), filename or path.name
            except (OSError, ValueError):
                return path, data, filename  # the upload gives the reason
        sent = self.as_sent(own or b"")
        return (path, data, filename) if sent == own else (None, sent, f"{PurePath(filename or 'image').stem}.jpg")

    def delete_image(self, image_id: str) -> ImageAnswer:
        """Delete an image, here or there."""
        if image_id.startswith(LOCAL_ID):
            self._local.delete(image_id)
            return ImageAnswer(id=image_id, message="Image deleted.")
        answer = super().delete_image(image_id)
        if self._local.splits(self._connection_id):
            self._local.drop_split(self._connection_id, _prefixed(image_id))
        return answer

    def set_split(self, training_set_id: Id, image_ids: Sequence[str], split: str) -> None:
        """Set the split of images, here where the service cannot keep it."""
        here = [image_id for image_id in image_ids if image_id.startswith(LOCAL_ID)]
        there = [image_id for image_id in image_ids if not image_id.startswith(LOCAL_ID)]
        if there and not self._lacks("splits"):
            super().set_split(training_set_id, there, split)
        else:
            here += map(_prefixed, there)
        if here:
            self._local.set_splits(self._connection_id, here, split)

    def images(self, training_set_id: Id, *, cancelled: Callable[[], bool] | None = None) -> TrainingImages:
        """Return all labels and images, those that are here last."""
        answer = super().images(training_set_id, cancelled=cancelled)
        self._fill_splits(answer.data)
        waiting = self._local.images(self._connection_id, training_set_id)
        if waiting:
            answer.data.append(TrainingLabel(label=INBOX, images=waiting))
        return answer

    def image_page(
        self,
        training_set_id: Id,
        *,
        label: str | None = None,
        after: str | None = None,
        limit: int = 1000,
        cancelled: Callable[[], bool] | None = None,
    ) -> TrainingImages:
        """Return a page of images, with their splits."""
        answer = super().image_page(training_set_id, label=label, after=after, limit=limit, cancelled=cancelled)
        self._fill_splits(answer.data)
        return answer

    def download(self, url: str, *, cancelled: Callable[[], bool] | None = None, limit: int = 256 * 2**20) -> bytes:
        """Return the bytes at a URL, or of an image that is here."""
        if url.startswith(LOCAL_URL):
            return self._local.read(url.removeprefix(LOCAL_URL))
        return super().download(url, cancelled=cancelled, limit=limit)

    def _lacks(self, extension: str) -> bool:
        """Return whether the service lacks an extension.

        Raises BadRequest for the inbox of a service with other extensions, whose classifiers would learn it.
        """
        extensions = self._extensions
        if extensions is None:
            extensions = frozenset(self.ping().extensions or ())
        if extension == "unlabelled" and extensions and extension not in extensions:
            raise BadRequest("This service is too old to keep photos without a label.", advice="Give them a label.")
        return extension not in extensions

    def _keep(self, training_set_id: Id, data: bytes, filename: str, split: str) -> ImageAnswer:
        from apitorch_desktop.vision.images import UnreadableImage

        try:
            image = self._local.add(self._connection_id, training_set_id, data, filename, split)
        except UnreadableImage as error:
            raise BadRequest(str(error), advice="") from None
        return ImageAnswer(
            id=image.image_id, message="The image waits on this computer.", label=INBOX, filename=image.filename,
            url=image.url, width=image.width, height=image.height, bytes=image.bytes, created_at=image.created_at,
            sha256=image.sha256, original_filename=image.original_filename, split=image.split,
        )  # fmt: skip

    def _with_split(self, answer: ImageAnswer, split: str) -> ImageAnswer:
        if split:
            self._local.add_split(self._connection_id, _prefixed(answer.id), split)
            answer.split = split
        return answer

    def _fill_splits(self, groups: Iterable[TrainingLabel]) -> None:
        splits = self._local.splits(self._connection_id)
        if splits:
            for group in groups:
                for image in group.images:
                    if not image.known_split and (split := splits.get(_prefixed(image.image_id))):
                        image.split = split


def _record(row: tuple[Any, ...]) -> TrainingImage:
    image_id, sha256, extension, name, width, height, size, created_at, split = row
    return TrainingImage(
        filename=f"{image_id.removeprefix('ti_')}{extension}", url=LOCAL_URL + image_id, object="training_image",
        id=image_id, label=INBOX, width=width, height=height, bytes=size, created_at=created_at, sha256=sha256,
        original_filename=name or UNSET, split=split or UNSET,
    )  # fmt: skip


def _prefixed(image_id: str) -> str:
    return image_id if image_id.startswith("ti_") else f"ti_{image_id}"
