"""Find similar against brute force with NumPy over all embeddings in memory, and the same over HTTP.

    python tests/benchmarks/bench_similar.py [IMAGES] [RUNS]

Made embeddings of the built-in encoder's length, with a decaying spectrum around a common mean, as those of photos have.
Prints medians, the median of the ratios pair by pair, and the share of the true first hundred among those found.
Aim: 100 ms at 100,000 images.
"""

import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.service.classifiers.embeddings import SimilarityIndex
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import Encoder
from tests.helpers.service_process import serving
from tests.helpers.stores import ME

DIMENSIONS, RANK, LIMIT, BATCH = 2888, 256, 100, 4096


def _seconds(work):
    """Seconds, those of the processor, and the result."""
    start, busy = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - start, time.process_time() - busy, result


def _made(count):
    random = np.random.default_rng(1)
    spectrum = (np.arange(1, RANK + 1) ** -0.5).astype(np.float32)
    basis = random.standard_normal((RANK, DIMENSIONS), np.float32) * spectrum[:, None]
    center = random.standard_normal(DIMENSIONS, np.float32) * 3
    for start in range(0, count, BATCH):
        rows = min(BATCH, count - start)
        made = random.standard_normal((rows, RANK), np.float32) @ basis + center
        yield made + random.standard_normal((rows, DIMENSIONS), np.float32) / 4


def _fill(folder, count, encoder):
    with Store.open(folder) as store:
        set_id = store.training_sets.create(ME, "Many").id
        store.labels.create(ME, set_id, "one")
    ids = [secrets.token_hex(20) for _ in range(count)]
    contents = [secrets.token_hex(32) for _ in range(count)]
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.executemany("INSERT INTO blobs VALUES (?, 100000, 400, 500, '.jpg')", [(each,) for each in contents])
        connection.executemany(
            "INSERT INTO images (id, training_set_id, label_seq, sha256, extension, width, height, bytes, "
            "original_filename, created_at, split) VALUES (?, 1, 1, ?, '.jpg', 400, 500, 100000, '', '2026-05-01', '')",
            zip(ids, contents, strict=True),
        )
        at = 0
        for vectors in _made(count):
            rows = [(contents[at + n], encoder, vector.tobytes()) for n, vector in enumerate(vectors)]
            connection.executemany("INSERT INTO embeddings (sha256, encoder, vector) VALUES (?, ?, ?)", rows)
            at += len(vectors)
        connection.commit()
    return set_id, ids


def _report(what, pairs):
    one, other = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{what}: brute force {one:.0f} ms, ours {other:.0f} ms, ratio {ratio:.2f} (median of {len(pairs)} pairs)")


def main(count, runs):
    """Fill a store, and search in it."""
    encoder = Encoder().name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder):
            pass  # its keys and its settings
        set_id, ids = _fill(folder, count, encoder)
        units = np.concatenate(list(_made(count)))
        units /= np.linalg.norm(units, axis=1)[:, None]
        row_of = {f"ti_{image_id}": row for row, image_id in enumerate(ids)}
        queries = np.random.default_rng(2).integers(count, size=runs + 1).tolist()

        def plainly(row):
            cosines = units @ units[row]
            best = np.argpartition(-cosines, LIMIT)[:LIMIT]
            return best[np.argsort(-cosines[best])]

        with Store.open(folder) as store:
            index = SimilarityIndex(store)

            def ours(row, limit=LIMIT):
                return index.search([set_id], encoder, units[row], limit)[0]

            seconds, busy, _ = _seconds(lambda: ours(queries[-1]))
            print(f"first search, {count:,} images: {seconds:.1f} s, {busy:.1f} s of the processor")
            for limit in (LIMIT, count):
                pairs, shares, work = [], [], []
                for row in queries[:runs]:
                    bare, _, right = _seconds(lambda row=row: plainly(row))
                    taken, busy, found = _seconds(lambda row=row, limit=limit: ours(row, limit))
                    pairs.append((bare, taken))
                    work.append(busy)
                    first = [row_of[each.image_id] for each in found[:LIMIT]]
                    shares.append(len(set(first) & set(right.tolist())) / LIMIT)
                _report(f"the first {limit:,}", pairs)
                print(f"    of the processor: {statistics.median(work) * 1000:.0f} ms")
                print(f"    of the true first {LIMIT}: {statistics.mean(shares):.1%}, at least {min(shares):.0%}")
        with serving(folder) as served:
            client = ApiClient(served.url, served.key)
            client.similar(set_id, image_id=f"ti_{ids[0]}", limit=LIMIT)
            for limit in (LIMIT, count):
                pairs = [
                    (
                        _seconds(lambda row=row: plainly(row))[0],
                        _seconds(
                            lambda row=row, limit=limit: client.similar(set_id, image_id=f"ti_{ids[row]}", limit=limit)
                        )[0],
                    )
                    for row in queries[:runs]
                ]
                _report(f"over HTTP, the first {limit:,}", pairs)


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["100000"])[0]), int((sys.argv[2:] or ["11"])[0]))
