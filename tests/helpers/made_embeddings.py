"""Training sets of made embeddings, written straight to the database of a data folder: no photo is behind them."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME

_CHUNK = 1000


def made_set(
    folder: Path, encoder: str, images: int, labels: int, dimensions: int, held_out: int = 0, apart: float = 0.6
) -> int:
    """Make a training set in a new data folder; return its number. The last `held_out` images are in the split test.

    `apart`: how far the labels' centers are from each other, against the images around each.
    """
    with Store.open(folder) as store:
        number = store.training_sets.create(ME, "Made").id
        for label in range(labels):
            store.labels.create(ME, number, f"label {label:03}")
    with closing(sqlite3.connect(folder / "store.db")) as rows:
        numbers = [seq for (seq,) in rows.execute("SELECT seq FROM labels ORDER BY name") if seq]
        at = 0
        for answers, vectors in _embeddings(images, labels, dimensions, apart):
            names = [secrets.token_hex(32) for _ in answers]
            rows.executemany("INSERT INTO blobs VALUES (?, 100000, 400, 500, '.jpg')", [(name,) for name in names])
            rows.executemany(
                "INSERT INTO embeddings (sha256, encoder, vector) VALUES (?, ?, ?)",
                [(name, encoder, vector.tobytes()) for name, vector in zip(names, vectors, strict=True)],
            )
            rows.executemany(
                "INSERT INTO images (id, training_set_id, label_seq, sha256, extension, width, height, bytes, "
                "original_filename, created_at, split) "
                "VALUES (?, ?, ?, ?, '.jpg', 400, 500, 100000, 'made.jpg', '2026-05-01T12:00:00.000Z', ?)",
                [
                    (
                        secrets.token_hex(20),
                        number,
                        numbers[answer],
                        name,
                        "test" if at + of >= images - held_out else "",
                    )
                    for of, (answer, name) in enumerate(zip(answers.tolist(), names, strict=True))
                ],
            )
            at += len(names)
            rows.commit()
    return number


def _embeddings(images: int, labels: int, dimensions: int, apart: float) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Answers and float32 embeddings of length 1 around a center a label, in chunks."""
    random = np.random.default_rng(0)
    spectrum = (1 / np.sqrt(1 + np.arange(dimensions))).astype(np.float32)
    centers = random.normal(0, apart, (labels, dimensions)).astype(np.float32) * spectrum
    for start in range(0, images, _CHUNK):
        answers = random.permutation(np.arange(start, min(start + _CHUNK, images)) % labels)
        rows = centers[answers] + random.standard_normal((len(answers), dimensions), np.float32) * spectrum
        yield answers, rows / np.linalg.norm(rows, axis=1, keepdims=True)
