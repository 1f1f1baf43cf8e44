"""Embeddings of stored images: made where they are missing, in small batches, and searched for similar images."""

import logging
import math
import mmap
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api import types
from apitorch_desktop.service.storage.errors import (
    Closed,
    RecordNotFound,
    StorageFault,
    StorageUnreachable,
    StoreError,
)
from apitorch_desktop.service.storage.records import EmbeddingRow, ExampleRow, TrainingSetRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.files import atomic_write
from apitorch_desktop.utils.parallel import lower_priority
from apitorch_desktop.vision.images import UnreadableImage, open_upright

if TYPE_CHECKING:
    from PIL import Image

    from apitorch_desktop.vision.encoder import Encoder

BATCH = 8
_RETRY_UNREADABLE = 60.0
"""Seconds after which an image that could not be read is tried again."""
_log = logging.getLogger(__name__)
EXACT = 300
"""Images of a ranking, the first ones, that are compared by their whole embeddings; those after them by sketches."""
_SKETCH = 128
"""Most principal coordinates in a sketch: a training set of up to as many images is compared exactly by them."""
_FITTED = 2048
"""Most images whose principal axes are computed."""
_GROWTH = 4
"""A training set that has grown by this factor since its axes were computed gets others, up to `_FITTED` images."""
_MOST = 200_000
"""Sketches kept in memory, 100 MB; the sets that were searched last."""
_BLOCK = 4096
_RETRY_AFTER = 1.0
"""Seconds after which embeddings that were missing are looked for again."""
_STORED_FROM = 2_000
"""Images from which the sketches of a training set are kept in a file; those of fewer are made anew in .1 s."""
_REST, _REST_IMAGES = 5.0, 2_000
"""Seconds without a change after which a file is brought up to date, and how many images make them one more."""
_RETRAINED_AFTER = 60.0
"""Seconds after which a set is looked at again whose embeddings are being made."""
_KIND = "apitorch-desktop similar 1"
_MOST_HEAD = 10_000_000

Floats = NDArray[np.float32]


class Embedder:
    """Turns stored images into stored embeddings. Thread-safe; an image that two threads embed is embedded twice."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unreadable: dict[str, float] = {}  # sha256 to the time of the last attempt

    def unreadable(self, sha256: str) -> bool:
        """Return whether an image with this content could not be read; it is tried again after a minute."""
        return sha256 in self._unreadable

    def missing(self, set_id: int, encoder: "Encoder") -> list[str]:
        """Return the images of a training set that have no embedding of an encoder, oldest first."""
        candidates = self._store.models.missing(set_id, encoder.name)
        retry_before = time.monotonic() - _RETRY_UNREADABLE
        return [sha256 for sha256 in candidates if self._unreadable.get(sha256, retry_before) <= retry_before]

    def mark(self, reasons: Mapping[str, str]) -> None:
        """Register images that could not be read, here or by a worker, with the reason."""
        for sha256, reason in reasons.items():
            self._unreadable[sha256] = time.monotonic()
            _log.warning("image %s is left out of training: %s", sha256, reason)

    def embed(self, sha256s: list[str], encoder: "Encoder") -> dict[str, str]:
        """Make and store the embeddings of a batch; return why some images, deleted or unreadable, have none.

        Raises DiskFull, UnusableEncoder, and StorageUnreachable where the images are out of reach for now.
        """
        reasons: dict[str, str] = {}
        names: list[str] = []
        embeddings = encoder.encode(self._opened(sha256s, encoder.shorter_side, names, reasons))
        self.mark(reasons)
        if not names:
            return reasons
        rows = [
            EmbeddingRow(sha256, embedding.astype("<f4", copy=False).tobytes(), None)
            for sha256, embedding in zip(names, embeddings, strict=True)
        ]
        self._store.models.put_embeddings(encoder.name, rows)
        return reasons

    def _opened(
        self, sha256s: list[str], at_least: int, names: list[str], reasons: dict[str, str]
    ) -> "Iterator[Image.Image]":
        """Open the images one at a time, and add each to `names`, or why it has none to `reasons`."""
        for sha256 in sha256s:
            try:
                image = open_upright(self._store.read(sha256), at_least)
            except StorageUnreachable:
                raise
            except (RecordNotFound, StorageFault, UnreadableImage) as error:
                reasons[sha256] = str(error)
                continue
            names.append(sha256)
            self._unreadable.pop(sha256, None)
            yield image
            del image  # before the next one is opened: each may have 65 megapixels


class _Axes(NamedTuple):
    """Principal axes of unit embeddings: `center` (d,), orthonormal `axes` (d, k), the number of images they are of."""

    center: Floats
    axes: Floats
    fitted: int

    def sketch(self, units: Floats) -> Floats:
        """Return for (n, d) unit embeddings (n, k + 1): coordinates, and the product with the center."""
        return np.hstack([(units - self.center) @ self.axes, (units @ self.center)[:, None]])

    def query(self, unit: Floats) -> tuple[Floats, float]:
        """Return (k + 1,) and a number: their product with a sketch, plus the number, is about the cosine."""
        apart = unit - self.center
        return np.append(apart @ self.axes, np.float32(1)), float(self.center @ apart)


class _SetIndex(NamedTuple):
    """The embedded images of a training set as of `revision`; `missing` have no embedding yet.

    `images` (n, 20) and `contents` (n, 32) are the bytes of ids and sha256s, `labels` and `label_at` (n,) the label of each.
    """

    revision: int
    encoder: str
    axes: _Axes | None
    images: NDArray[np.uint8]
    contents: NDArray[np.uint8]
    labels: list[str]
    label_at: NDArray[Any]
    sketches: Floats
    missing: int
    built_at: float

    def __len__(self) -> int:
        return len(self.images)


class _FileHead(msgspec.Struct, array_like=True):
    """Description of a stored index, as MessagePack; `made_at` is that of the training set, `checksum` of what follows."""

    kind: str
    made_at: str
    revision: int
    encoder: str
    labels: list[str]
    images: int
    dimensions: int
    axes: int
    fitted: int
    missing: int
    checksum: int


class _Ranked(NamedTuple):
    """An image by its row in the index of a training set, with its similarity."""

    set_id: int
    of: _SetIndex
    row: int
    value: float


class SimilarityIndex:
    """Sketches of the training sets that were searched last, which follow changes. Thread-safe; methods block.

    A search scans the sketches, and compares the best by their stored embeddings. The first search in a set reads all
    of its embeddings, later ones those of new images. The sketches of a large set are kept in a file beside the database,
    which a thread brings up to date once the set is at rest, so that the first search after a start reads that.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.folder / "similar"
        self._lock = threading.Lock()
        self._sets: OrderedDict[int, _SetIndex] = OrderedDict()
        self._building: dict[int, threading.Lock] = {}
        self._wake = threading.Condition()
        self._due: dict[int, float] = {}  # sets to bring up to date, and when
        self._thread: threading.Thread | None = None
        self._stopping = False

    def notify_changed(self, set_id: int) -> None:
        """Note a change of a training set, for the store's `on_change`: its file is brought up to date once it is at rest."""
        index = self._sets.get(set_id)
        self._schedule(set_id, _REST + len(index or ()) / _REST_IMAGES)

    def close(self) -> None:
        """End the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def search(
        self, set_ids: Sequence[int], encoder: str, embedding: Floats, limit: int, *, without: str = ""
    ) -> tuple[list[types.SimilarImage], int]:
        """Return the images of these training sets most similar to an embedding (d,), best first, and how many were compared.

        At most `limit`, and not the image with the wire id `without`. Training sets that are gone are passed over.
        """
        with self._controller.limit(limits=1, user_api="blas"):  # several threads wait for each other on a busy machine
            return self._search(set_ids, encoder, _unit(embedding[None])[0], limit, without)

    @cached_property
    def _controller(self) -> Any:
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    def _search(
        self, set_ids: Sequence[int], encoder: str, query: Floats, limit: int, without: str
    ) -> tuple[list[types.SimilarImage], int]:
        wanted = max(limit, EXACT) + 1
        found: list[tuple[int, _SetIndex, Floats, NDArray[np.intp]]] = []
        compared = 0
        for set_id in set_ids:
            index = self._index(set_id, encoder)
            if index is None or index.axes is None or not len(index):
                continue
            compared += len(index)
            sketch, constant = index.axes.query(query)
            near = index.sketches @ sketch + np.float32(constant)
            best = np.argpartition(-near, wanted)[:wanted] if wanted < len(near) else np.arange(len(near))
            found.append((set_id, index, near[best], best))
        if not found:
            return [], compared
        near = np.concatenate([part[2] for part in found])
        order = np.argsort(-near, kind="stable")
        which = np.repeat(np.arange(len(found)), [len(part[3]) for part in found])[order].tolist()
        rows = np.concatenate([part[3] for part in found])[order].tolist()
        ranked = [
            _Ranked(set_id, index, row, value)
            for (set_id, index, _, _), row, value in zip(
                map(found.__getitem__, which), rows, near[order].tolist(), strict=True
            )
        ]
        if without:
            image = bytes.fromhex(without.removeprefix("ti_"))
            ranked = [each for each in ranked if each.of.images[each.row].tobytes() != image]
        return self._exactly(ranked[: max(limit, EXACT)], encoder, query)[:limit], compared

    def _exactly(self, ranked: list[_Ranked], encoder: str, query: Floats) -> list[types.SimilarImage]:
        """Order the first `EXACT` by their embeddings; the others stay after them."""
        contents = [each.of.contents[each.row].tobytes().hex() for each in ranked[:EXACT]]
        stored = self._store.models.embeddings(encoder, set(contents))
        first = [(each, sha256) for each, sha256 in zip(ranked, contents, strict=False) if sha256 in stored]
        if not first:  # deleted meanwhile
            return []
        vectors = np.stack([np.frombuffer(stored[sha256].vector, "<f4") for _, sha256 in first])
        cosines = np.clip(_unit(vectors) @ query, -1, 1)
        order = np.argsort(-cosines, kind="stable").tolist()
        values = cosines.tolist()
        least = values[order[-1]]
        exact = [first[at][0]._replace(value=values[at]) for at in order]
        rest = [each._replace(value=max(-1.0, min(each.value, least))) for each in ranked[EXACT:]]
        return [
            types.SimilarImage(
                training_set_id=types.Id(set_id),
                image_id=f"ti_{index.images[row].tobytes().hex()}",
                label=index.labels[index.label_at[row]],
                similarity=round(value, 4),
            )
            for set_id, index, row, value in exact + rest
        ]

    def _index(self, set_id: int, encoder: str) -> _SetIndex | None:
        """Return the index of a training set as it is now; None if the set is gone."""
        with self._lock:
            building = self._building.setdefault(set_id, threading.Lock())
        with building:
            known = self._sets.get(set_id)
            row = self._store.training_sets.find(set_id)
            if row is None:
                with self._lock:
                    self._sets.pop(set_id, None)
                    self._building.pop(set_id, None)
                self._path(set_id).unlink(missing_ok=True)
                return None
            if known is not None and known.encoder != encoder:
                known = None
            if known is None:
                known = self._load(row, encoder)
            again = known is not None and known.missing and time.monotonic() > known.built_at + _RETRY_AFTER
            if known is None or known.revision != row.revision or again:
                try:
                    known = self._build(set_id, encoder, known)
                except RecordNotFound:
                    return None
                if len(known) >= _STORED_FROM and threading.current_thread() is not self._thread:
                    self._schedule(set_id, _REST)
            with self._lock:
                self._sets[set_id] = known
                self._sets.move_to_end(set_id)
                while len(self._sets) > 1 and sum(map(len, self._sets.values())) > _MOST:
                    self._sets.popitem(last=False)
            return known

    def _build(self, set_id: int, encoder: str, known: _SetIndex | None) -> _SetIndex:
        revision, examples = self._store.models.examples(set_id, inbox=True)
        axes = known.axes if known is not None else None
        if known is None or axes is None or (axes.fitted < _FITTED and len(examples) > _GROWTH * axes.fitted):
            known, axes = None, self._fit(encoder, examples)
        contents = [bytes.fromhex(example.sha256) for example in examples]
        rows = dict(zip(_rows(known.contents), range(len(known)), strict=True)) if known is not None else {}
        parts = [known.sketches] if known is not None else []
        count = sum(map(len, parts))
        new = [content.hex() for content in dict.fromkeys(contents) if content not in rows]
        for sha256s, vectors in self._embeddings(encoder, new) if axes is not None else ():
            assert axes is not None  # noqa: S101 - for mypy
            parts.append(axes.sketch(_unit(vectors)))
            rows.update(zip(map(bytes.fromhex, sha256s), range(count, count + len(sha256s)), strict=True))
            count += len(sha256s)
        embedded = [at for at, content in enumerate(contents) if content in rows]
        labels = sorted({examples[at].label for at in embedded})
        place = {label: at for at, label in enumerate(labels)}
        sketches = np.concatenate(parts) if parts else np.empty((0, 1), np.float32)
        return _SetIndex(
            revision,
            encoder,
            axes,
            _matrix(b"".join(bytes.fromhex(examples[at].image_id) for at in embedded), 20),
            _matrix(b"".join(contents[at] for at in embedded), 32),
            labels,
            np.array([place[examples[at].label] for at in embedded], "<u4"),
            sketches[[rows[contents[at]] for at in embedded]],
            len(examples) - len(embedded),
            time.monotonic(),
        )

    # --- the files

    def _path(self, set_id: int) -> Path:
        return self._folder / f"{set_id}.index"

    def _schedule(self, set_id: int, seconds: float) -> None:
        with self._wake:
            if self._stopping:
                return
            self._due[set_id] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_files, name="similar", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def _keep_files(self) -> None:
        lower_priority()
        while (set_id := self._next_due()) is not None:
            try:
                self.store_index(set_id)
            except Closed:
                return
            except (StoreError, OSError) as error:
                _log.warning("the search index of training set %d cannot be kept: %s", set_id, error)

    def _next_due(self) -> int | None:
        """Wait for the next training set to bring up to date; None to end."""
        with self._wake:
            while not self._stopping:
                set_id = min(self._due, key=self._due.__getitem__, default=None)
                left = None if set_id is None else self._due[set_id] - time.monotonic()
                if set_id is not None and left is not None and left <= 0:
                    del self._due[set_id]
                    return set_id
                self._wake.wait(left)
        return None

    def store_index(self, set_id: int) -> None:
        """Bring the index of a training set and its file up to date. Raises OSError."""
        row, index, stored = self._store.training_sets.find(set_id), self._sets.get(set_id), self._head(set_id)
        if row is None or sum(row.counts) < _STORED_FROM:
            self._path(set_id).unlink(missing_ok=True)
            return
        encoder = index.encoder if index is not None else stored.encoder if stored is not None else ""
        if not encoder:
            versions = self._store.models.versions(set_id)
            if not versions:
                self._schedule(set_id, _RETRAINED_AFTER)
                return
            encoder = versions[0].encoder
        with self._controller.limit(limits=1, user_api="blas"):
            index = self._index(set_id, encoder)
        if index is None or index.axes is None:
            return
        if stored is not None and stored.encoder == encoder and stored.missing == index.missing:
            if stored.revision == index.revision:
                return
        elif index.missing:  # embeddings are being made
            self._schedule(set_id, _RETRAINED_AFTER)
        axes = index.axes
        body = [
            np.ascontiguousarray(array, kind).tobytes()
            for array, kind in zip((axes.center, axes.axes, index.sketches), ("<f4", "<f4", "<f2"), strict=True)
        ]
        body += [index.images.tobytes(), index.contents.tobytes(), index.label_at.tobytes()]
        checksum = 0
        for part in body:
            checksum = zlib.crc32(part, checksum)
        about = _FileHead(
            _KIND, row.created_at, index.revision, index.encoder, index.labels, len(index), len(axes.center),
            axes.axes.shape[1], axes.fitted, index.missing, checksum,
        )  # fmt: skip
        packed = msgspec.msgpack.encode(about)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with atomic_write(self._path(set_id), mode=0o600, durable=False) as file, file.open("wb") as out:
            out.write(len(packed).to_bytes(4, "little") + packed)
            out.writelines(body)

    def _head(self, set_id: int) -> _FileHead | None:
        """Return what the file of a training set describes; None where there is none, or another program's."""
        try:
            with self._path(set_id).open("rb") as file:
                size = int.from_bytes(file.read(4), "little")
                head = msgspec.msgpack.decode(file.read(min(size, _MOST_HEAD)), type=prepared(_FileHead))
        except (OSError, msgspec.MsgspecError):
            return None
        return head if head.kind == _KIND else None

    def _load(self, row: TrainingSetRow, encoder: str) -> _SetIndex | None:
        """Read the index of a training set from its file; None where it is not there, of another encoder, or damaged."""
        head = self._head(row.id)
        if head is None or (head.made_at, head.encoder) != (row.created_at, encoder) or head.revision > row.revision:
            return None
        count, width = head.images, head.axes + 1
        shapes = [
            ("<f4", (head.dimensions,)), ("<f4", (head.dimensions, head.axes)), ("<f2", (count, width)),
            ("u1", (count, 20)), ("u1", (count, 32)), ("<u4", (count,)),
        ]  # fmt: skip
        try:
            with self._path(row.id).open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            at = 4 + int.from_bytes(mapped[:4], "little")
            if zlib.crc32(memoryview(mapped)[at:]) != head.checksum:
                return None
            arrays: list[NDArray[Any]] = []
            for kind, shape in shapes:
                arrays.append(np.frombuffer(mapped, kind, math.prod(shape), at).reshape(shape))
                at += arrays[-1].nbytes
        except (OSError, ValueError):
            return None
        center, axes, sketches, images, contents, labels = arrays
        if count and int(labels.max()) >= len(head.labels):
            return None
        return _SetIndex(
            head.revision,
            encoder,
            _Axes(center.copy(), axes.copy(), head.fitted),
            images,
            contents,
            head.labels,
            labels,
            sketches.astype(np.float32),
            head.missing,
            time.monotonic() - _RETRY_AFTER,
        )

    def _fit(self, encoder: str, examples: list[ExampleRow]) -> _Axes | None:
        """Compute principal axes from images spread over all; None while none has an embedding."""
        contents = list(dict.fromkeys(example.sha256 for example in examples))
        step = -(-len(contents) // _FITTED) or 1
        parts = [vectors for _, vectors in self._embeddings(encoder, contents[::step])]
        if not parts:
            return None
        units = _unit(np.concatenate(parts))
        center = units.mean(axis=0)
        apart = units - center
        # Halko, Martinsson, Tropp 2011, algorithm 4.4: the range of some random rows, sharpened by two power iterations
        start = np.random.default_rng(0).standard_normal((len(apart), min(_SKETCH, len(apart)))).astype(np.float32)
        axes = np.linalg.qr(apart.T @ start)[0]
        for _ in range(2):
            axes = np.linalg.qr(apart.T @ (apart @ axes))[0]
        return _Axes(center, axes, len(units))

    def _embeddings(self, encoder: str, sha256s: list[str]) -> Iterator[tuple[list[str], Floats]]:
        """Yield the stored embeddings among these in batches: sha256s, and vectors (n, d)."""
        for start in range(0, len(sha256s), _BLOCK):
            rows = self._store.models.embeddings(encoder, sha256s[start : start + _BLOCK])
            if rows:
                yield list(rows), np.stack([np.frombuffer(row.vector, "<f4") for row in rows.values()])


def _matrix(data: bytes, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, width)


def _rows(matrix: NDArray[np.uint8]) -> list[bytes]:
    data, width = matrix.tobytes(), matrix.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]


def _unit(vectors: Floats) -> Floats:
    """Return vectors (n, d) at length 1."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    scaled: Floats = vectors / np.maximum(lengths, 1e-12)[:, None]
    return scaled
