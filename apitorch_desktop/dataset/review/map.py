"""Map of a training set: its images on a plane, laid out in a process of its own, from the features that Review cached.

The embeddings are those of the training set's own encoder where it has one and Review has got enough of them (`is_encoded`).
The layout is t-SNE by openTSNE on the leading principal coordinates; new images get positions between those that are there.

openTSNE (BSD-3) starts in 1.4 s of processor time, with scikit-learn, where umap-learn brings numba and LLVM; it scales
linearly by interpolation. On one core: 1,000 images 2 s, 10,000 20 s; the first positions come after a third.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from apitorch_desktop.dataset.review import child_process
from apitorch_desktop.dataset.review.cache import ReviewCache, is_encoded
from apitorch_desktop.dataset.review.messages import MapRequest, MapUpdate
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import atomic_write

Array = NDArray[Any]

DIMENSIONS: Final = 50
"""Principal coordinates that t-SNE is computed on."""
_PERPLEXITY: Final = 30
_EARLY, _LATE = 250, 500
"""Iterations with exaggeration, and after it (half as many above _MANY images)."""
_MANY: Final = 20_000
_EXAGGERATION: Final = (4, 12)
"""In the early iterations, for fewer than _FEW images and for others; few collapse into one point at the usual 12."""
_FEW: Final = 600
_SPREAD: Final = 1.0
"""Standard deviation from which positions are worth showing."""
_STEP: Final = 50
_FAST_FROM: Final = 3_000
"""Images from which repulsion is interpolated."""
_NEIGHBORS: Final = 5
_MOST_NEW: Final = 0.5
"""Share of images without a position up to which they are placed without a new layout."""
_BLOCK: Final = 4096
_NICENESS: Final = 10
_POLL: Final = 0.1


class MapFailed(UserError):  # noqa: N818 - named for what happened
    """The map could not be made."""


def make_map(
    request: MapRequest, found: Callable[[MapUpdate], None], cancelled: Callable[[], bool] = lambda: False
) -> MapUpdate:
    """Return the positions of a training set's images; blocks. `found` is called with what there is before.

    Positions are kept in the cache folder: only many new images cause a new layout, few are placed among those that are
    there. Raises MapFailed, Cancelled.
    """
    receiver, sender = child_process.pipe()
    process = child_process.start("map", _work, sender, msgspec.msgpack.encode(request))
    sender.close()
    try:
        while True:
            while not receiver.poll(_POLL):
                if cancelled():
                    raise Cancelled
            update = msgspec.msgpack.decode(receiver.recv_bytes(), type=prepared(MapUpdate))
            if update.problem:
                raise MapFailed(f"The map could not be made: {update.problem}")
            if update.final:
                return update
            found(update)
    except (EOFError, OSError) as error:
        raise MapFailed("The process that makes the map ended.") from error
    finally:
        process.kill()
        process.join()
        receiver.close()


def _work(sender: Connection, request: bytes) -> None:
    """Body of the process."""

    def send(update: MapUpdate) -> None:
        sender.send_bytes(msgspec.msgpack.encode(update))

    try:
        _run(msgspec.msgpack.decode(request, type=prepared(MapRequest)), send)
    except ConnectionError:
        return
    except Exception as error:  # noqa: BLE001 - reported to the user, whatever it is
        send(MapUpdate([], None, 0, final=True, problem=f"{type(error).__name__}: {str(error)[:200]}"))


def _run(request: MapRequest, send: Callable[[MapUpdate], None]) -> None:
    """Make or complete the map of a training set, and send its positions."""
    from apitorch_desktop.vision.encoder import Encoder

    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    cache = Path(request.cache)
    encoder = Encoder(threads=1).name
    memory = ReviewCache(cache)
    seen = memory.seen(request.connection, encoder, request.keys)
    keys = [key for key in dict.fromkeys(request.keys) if key in seen and not seen[key].problem]
    own = memory.seen(request.connection, request.encoder, keys) if request.encoder else {}
    if is_encoded(len(own), len(keys)):
        encoder, seen, keys = request.encoder, own, [key for key in keys if key in own]
    missing = len(set(request.keys)) - len(keys)
    named = request.encoder if encoder == request.encoder else ""
    rows = memory.embeddings(encoder, [seen[key] for key in keys])
    memory.close()
    file = _file(cache, request, encoder)
    known = {} if request.anew else _load(file)
    places = {key: known[key] for key in keys if key in known}
    if keys and len(places) >= max(4, (1 - _MOST_NEW) * len(keys)):
        positions = complete(rows, keys, places)
    else:

        def progress(share: float, positions: Array | None) -> None:
            send(MapUpdate(keys, _bytes(positions), share, missing, encoder=named))

        positions = lay_out(rows, progress, child_process.THREADS)
    _save(file, keys, positions)
    send(MapUpdate(keys, _bytes(positions), 1.0, missing, final=True, encoder=named))


def lay_out(
    rows: Array, progress: Callable[[float, Array | None], None] = lambda _share, _positions: None, threads: int = 1
) -> NDArray[np.float32]:
    """Return positions (n, 2) for embeddings (n, d); the same ones for the same embeddings on one machine.

    `progress` is called with the share that is done and, as soon as they have spread, the positions so far.
    """
    if len(rows) < 4:
        return np.array([[index, 0] for index in range(len(rows))], np.float32).reshape(-1, 2)
    progress(0.0, None)
    coordinates = principal_coordinates(rows)
    from openTSNE import TSNEEmbedding, affinity, initialization

    affinities = affinity.PerplexityBasedNN(
        coordinates,
        perplexity=min(_PERPLEXITY, (len(rows) - 1) / 3),
        method="exact" if len(rows) < 1_000 else "annoy",
        n_jobs=threads,
        random_state=0,
    )
    method = "bh" if len(rows) < _FAST_FROM else "fft"
    embedding = TSNEEmbedding(
        initialization.pca(coordinates, random_state=0),
        affinities,
        negative_gradient_method=method,
        n_jobs=threads,
        random_state=0,
    )
    late = _LATE if len(rows) <= _MANY else _LATE // 2
    done = 0
    early = _EXAGGERATION[len(rows) >= _FEW]
    for iterations, exaggeration, momentum in ((_EARLY, early, 0.5), (late, 1, 0.8)):
        for _ in range(0, iterations, _STEP):
            embedding.optimize(_STEP, exaggeration=exaggeration, momentum=momentum, inplace=True)
            done += _STEP
            share = 0.2 + 0.8 * done / (_EARLY + late)
            positions = np.asarray(embedding, np.float32)
            progress(share, positions if positions.std() > _SPREAD else None)
    return np.asarray(embedding, np.float32)


def complete(rows: Array, keys: Sequence[str], places: dict[str, tuple[float, float]]) -> NDArray[np.float32]:
    """Return positions (n, 2): those that are known, and for others the middle of their nearest known images."""
    positions = np.full((len(keys), 2), np.nan, np.float32)
    for index, key in enumerate(keys):
        if key in places:
            positions[index] = places[key]
    there = np.flatnonzero(~np.isnan(positions[:, 0]))
    new = np.flatnonzero(np.isnan(positions[:, 0]))
    if not len(new):
        return positions
    mean = np.asarray(rows[there[: _BLOCK * 4]], np.float32).mean(axis=0)
    close = np.full((len(new), _NEIGHBORS), -2.0, np.float32)
    nearest = np.zeros((len(new), _NEIGHBORS), np.intp)
    fresh = _unit(rows[new], mean)
    for start in range(0, len(there), _BLOCK):
        part = there[start : start + _BLOCK]
        like = np.concatenate([close, fresh @ _unit(rows[part], mean).T], axis=1)
        places_of = np.concatenate([nearest, np.broadcast_to(part, (len(new), len(part)))], axis=1)
        best = np.argpartition(-like, _NEIGHBORS - 1, axis=1)[:, :_NEIGHBORS]
        close, nearest = np.take_along_axis(like, best, 1), np.take_along_axis(places_of, best, 1)
    weights = np.maximum(close, 0) ** 4 + 1e-6 * (close > -2)
    found = (weights[:, :, None] * positions[nearest]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    spread = float(positions[there].std()) or 1.0
    positions[new] = found + np.random.default_rng(0).normal(0, 0.005 * spread, found.shape)  # copies side by side
    return positions


def principal_coordinates(rows: Array) -> NDArray[np.float64]:
    """Return (n, DIMENSIONS) leading principal coordinates, by a randomized range finder (Halko et al. 2011), in blocks."""
    n, width = rows.shape
    rank = min(DIMENSIONS, n - 1, width)
    mean = sum(rows[start : start + _BLOCK].sum(axis=0, dtype=np.float64) for start in range(0, n, _BLOCK)) / n
    basis = np.random.default_rng(0).normal(size=(width, min(rank + 20, width)))
    for _ in range(2):
        product = np.zeros_like(basis)
        for start in range(0, n, _BLOCK):
            apart = np.asarray(rows[start : start + _BLOCK], np.float32) - mean.astype(np.float32)
            product += apart.T @ (apart @ basis.astype(np.float32))
        basis = np.linalg.qr(product)[0]
    basis = basis.astype(np.float32)
    blocks = [
        (np.asarray(rows[start : start + _BLOCK], np.float32) - mean.astype(np.float32)) @ basis
        for start in range(0, n, _BLOCK)
    ]
    coordinates = np.concatenate(blocks).astype(np.float64)
    axes = np.linalg.eigh(coordinates.T @ coordinates)[1][:, ::-1][:, :rank]
    return np.asarray(coordinates @ axes)


def _unit(rows: Array, mean: Array) -> NDArray[np.float32]:
    apart = np.asarray(rows, np.float32) - mean
    return np.asarray(apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9), np.float32)


def _bytes(positions: Array | None) -> bytes | None:
    return None if positions is None else np.ascontiguousarray(positions, "<f4").tobytes()


def _file(cache: Path, request: MapRequest, encoder: str) -> Path:
    name = hashlib.sha256(f"{request.connection}\n{request.training_set}\n{encoder}".encode()).hexdigest()[:32]
    return cache / "maps" / f"{name}.npz"


def _load(file: Path) -> dict[str, tuple[float, float]]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            keys, positions = stored["keys"].tolist(), stored["positions"].tolist()
        return {key: (x, y) for key, (x, y) in zip(keys, positions, strict=True)}
    except Exception:  # noqa: BLE001 - a cache that is damaged is made anew
        return {}


def _save(file: Path, keys: list[str], positions: Array) -> None:
    if not keys:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as part, part.open("wb") as out:
            np.savez(out, keys=np.array(keys), positions=positions)
    except OSError:  # it is made again next time
        return
