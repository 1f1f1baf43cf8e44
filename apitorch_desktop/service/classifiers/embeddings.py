"""Embeddings of stored images: made where they are missing, in small batches, and searched for similar images."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.api import types
from apitorch_desktop.service.storage.errors import RecordNotFound, StorageFault, StorageUnreachable
from apitorch_desktop.service.storage.records import EmbeddingRow, ExampleRow
from apitorch_desktop.service.storage.store import Store
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
        images: list[Image.Image] = []
        for sha256 in sha256s:
            try:
                images.append(open_upright(self._store.read(sha256), encoder.shorter_side))
                names.append(sha256)
                self._unreadable.pop(sha256, None)
            except StorageUnreachable:
                raise
            except (RecordNotFound, StorageFault, UnreadableImage) as error:
                reasons[sha256] = str(error)
        self.mark(reasons)
        if not names:
            return reasons
        rows = [
            EmbeddingRow(sha256, embedding.astype("<f4", copy=False).tobytes(), None)
            for sha256, embedding in zip(names, encoder.encode(images), strict=True)
        ]
        self._store.models.put_embeddings(encoder.name, rows)
        return reasons


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
    """The embedded images of a training set as of `revision`, with their wire ids; `missing` have no embedding yet."""

    revision: int
    encoder: str
    axes: _Axes | None
    examples: list[ExampleRow]
    ids: list[str]
    sketches: Floats
    missing: int
    built_at: float


class SimilarityIndex:
    """Sketches of the training sets that were searched last, which follow changes. Thread-safe; methods block.

    A search scans the sketches, and compares the best by their stored embeddings. The first search in a set reads all
    of its embeddings, later ones those of new images.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._sets: OrderedDict[int, _SetIndex] = OrderedDict()
        self._building: dict[int, threading.Lock] = {}

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
            if index is None or index.axes is None or not index.ids:
                continue
            compared += len(index.ids)
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
            (set_id, index.ids[row], index.examples[row], value)
            for (set_id, index, _, _), row, value in zip(
                map(found.__getitem__, which), rows, near[order].tolist(), strict=True
            )
        ]
        if without:
            ranked = [each for each in ranked if each[1] != without]
        return self._exactly(ranked[: max(limit, EXACT)], encoder, query)[:limit], compared

    def _exactly(
        self, ranked: list[tuple[int, str, ExampleRow, float]], encoder: str, query: Floats
    ) -> list[types.SimilarImage]:
        """Order the first `EXACT` by their embeddings; the others stay after them."""
        stored = self._store.models.embeddings(encoder, {example.sha256 for _, _, example, _ in ranked[:EXACT]})
        first = [each for each in ranked[:EXACT] if each[2].sha256 in stored]  # else deleted meanwhile
        if not first:
            return []
        vectors = np.stack([np.frombuffer(stored[each[2].sha256].vector, "<f4") for each in first])
        cosines = np.clip(_unit(vectors) @ query, -1, 1)
        order = np.argsort(-cosines, kind="stable").tolist()
        values = cosines.tolist()
        first = [(*first[at][:3], values[at]) for at in order]
        least = first[-1][3]
        return [
            types.SimilarImage(
                training_set_id=types.Id(set_id),
                image_id=image_id,
                label=example.label,
                similarity=round(max(-1.0, min(value, least if at >= len(first) else 1.0)), 4),
            )
            for at, (set_id, image_id, example, value) in enumerate(first + ranked[EXACT:])
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
                return None
            if known is not None and known.encoder != encoder:
                known = None
            again = known is not None and known.missing and time.monotonic() > known.built_at + _RETRY_AFTER
            if known is None or known.revision != row.revision or again:
                try:
                    known = self._build(set_id, encoder, known)
                except RecordNotFound:
                    return None
            with self._lock:
                self._sets[set_id] = known
                self._sets.move_to_end(set_id)
                while len(self._sets) > 1 and sum(len(index.ids) for index in self._sets.values()) > _MOST:
                    self._sets.popitem(last=False)
            return known

    def _build(self, set_id: int, encoder: str, known: _SetIndex | None) -> _SetIndex:
        revision, examples = self._store.models.examples(set_id, inbox=True)
        axes = known.axes if known is not None else None
        if known is None or axes is None or (axes.fitted < _FITTED and len(examples) > _GROWTH * axes.fitted):
            known, axes = None, self._fit(encoder, examples)
        rows = {example.sha256: row for row, example in enumerate(known.examples)} if known is not None else {}
        parts = [known.sketches] if known is not None else []
        count = sum(map(len, parts))
        new = list(dict.fromkeys(example.sha256 for example in examples if example.sha256 not in rows))
        for sha256s, vectors in self._embeddings(encoder, new) if axes is not None else ():
            assert axes is not None  # noqa: S101 - for mypy
            parts.append(axes.sketch(_unit(vectors)))
            rows.update(zip(sha256s, range(count, count + len(sha256s)), strict=True))
            count += len(sha256s)
        embedded = [example for example in examples if example.sha256 in rows]
        sketches = np.concatenate(parts) if parts else np.empty((0, 1), np.float32)
        return _SetIndex(
            revision,
            encoder,
            axes,
            embedded,
            [f"ti_{example.image_id}" for example in embedded],
            sketches[[rows[example.sha256] for example in embedded]],
            len(examples) - len(embedded),
            time.monotonic(),
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


def _unit(vectors: Floats) -> Floats:
    """Return vectors (n, d) at length 1."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    scaled: Floats = vectors / np.maximum(lengths, 1e-12)[:, None]
    return scaled
