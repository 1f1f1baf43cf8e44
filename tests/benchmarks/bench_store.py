"""The store against the bare means it is made of, in turn: a listing against its SELECT, uploads against synced files.

    python tests/benchmarks/bench_store.py [IMAGES] [RUNS]

Prints medians and the median of the ratios pair by pair. Aim: a listing at most 1.3; the rest is to know.
"""

import gc
import os
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, Facts

_SELECT = """
    SELECT i.seq, i.id, i.training_set_id, l.name, i.sha256, i.extension, i.width, i.height, i.bytes,
           i.original_filename, i.created_at
    FROM images i JOIN labels l ON l.seq = i.label_seq WHERE i.training_set_id = 1 ORDER BY i.seq
"""
_UPLOADS, _BYTES, _THREADS = 500, 100_000, 32


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _compare(what: str, bare: Callable[[], object], ours: Callable[[], object], runs: int) -> None:
    bare(), ours()
    pairs = [(_seconds(bare), _seconds(ours)) for _ in range(runs)]
    one, other = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{what}: bare {one:.1f} ms, store {other:.1f} ms, ratio {ratio:.2f} (median of {runs} pairs)")


def _fill(folder: Path, images: int) -> None:
    with Store.open(folder) as store:
        number = store.training_sets.create(ME, "Many").id
        for label in range(20):
            store.labels.create(ME, number, f"label {label}")
    contents = [secrets.token_hex(32) for _ in range(images)]
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.executemany("INSERT INTO blobs VALUES (?, 100000, 400, 500, '.jpg')", [(each,) for each in contents])
        connection.executemany(
            "INSERT INTO images (id, training_set_id, label_seq, sha256, extension, width, height, bytes, "
            "original_filename, created_at, split) "
            "VALUES (?, 1, ?, ?, '.jpg', 400, 500, 100000, ?, '2026-05-01T12:00:00.000Z', '')",
            [(secrets.token_hex(20), n % 20 + 1, each, f"IMG_{n}.jpg") for n, each in enumerate(contents)],
        )
        connection.commit()


def _listing(folder: Path, images: int, runs: int) -> None:
    _fill(folder, images)
    with closing(sqlite3.connect(folder / "store.db")) as connection:

        def bare() -> None:
            assert len(connection.execute(_SELECT).fetchall()) == images

        with Store.open(folder) as store:

            def ours() -> None:
                assert len(store.images.page(ME, 1).images) == images

            _compare(f"listing of {images:,} images", bare, ours, runs)


def _uploads(folder: Path, runs: int) -> None:
    (folder / "bare").mkdir()

    def contents() -> list[bytes]:
        return [os.urandom(_BYTES) for _ in range(_UPLOADS)]

    def write(data: bytes) -> None:
        descriptor = os.open(folder / "bare" / secrets.token_hex(16), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)

    with Store.open(folder / "data") as store, ThreadPoolExecutor(_THREADS) as threads:
        number = store.training_sets.create(ME, "Many").id

        def add(data: bytes) -> None:
            store.images.add(ME, number, "label", data, Facts(), "image.jpg")

        what = f"{_UPLOADS} uploads of {_BYTES // 1000} kB from {_THREADS} threads against files synced one by one"
        _compare(what, lambda: list(threads.map(write, contents())), lambda: list(threads.map(add, contents())), runs)


def main(images: int = 100_000, runs: int = 7) -> None:
    """Both comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        _listing(Path(folder) / "listing", images, runs)
        (Path(folder) / "uploads").mkdir()
        _uploads(Path(folder) / "uploads", runs)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
