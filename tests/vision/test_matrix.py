"""Matrices in files give what those in memory give, and leave nothing behind."""

import subprocess
import sys

import numpy as np
import pytest

from apitorch_desktop.vision.matrix import FileMatrix, Matrix, as_matrix

ROWS = np.random.default_rng(0).normal(0, 1, (103, 7)).astype(np.float32)


@pytest.fixture(params=["memory", "file"])
def matrix(request, tmp_path):
    if request.param == "memory":
        return Matrix(ROWS)
    found = FileMatrix(tmp_path, 103, 7, np.float32, numbers=70)
    for start in (60, 0):  # in any order
        part = slice(start, start + 60)
        found.put(part, ROWS[part])
    return found


def test_rows_are_read_in_batches_and_by_index(matrix):
    assert (len(matrix), matrix.shape) == (103, (103, 7))
    for batches in (matrix.batches(), matrix.blocks(), matrix.batches(35)):
        found = list(batches)
        assert [part.start for part, _ in found[1:]] == [part.stop for part, _ in found[:-1]]
        assert np.array_equal(np.concatenate([batch for _, batch in found]), ROWS)
    index = np.array([0, 1, 2, 50, 52, 53, 102])
    assert np.array_equal(matrix.take(index), ROWS[index])
    assert matrix.take(index[:0]).shape == (0, 7)
    assert np.array_equal(matrix.whole(), ROWS)
    assert as_matrix(matrix) is matrix


def test_what_is_made_of_batches_is_there_more_than_once(matrix):
    sums = matrix.map(lambda part, batch: (part.start, float(batch.sum())))
    assert list(sums) == list(sums)
    assert sum(value for _, value in sums) == pytest.approx(float(ROWS.sum()), abs=1e-3)


def test_another_matrix_of_the_same_kind_has_its_own_columns(matrix):
    other = matrix.like(2, np.float64)
    for part, batch in matrix.batches():
        other.put(part, batch[:, :2].astype(np.float64) / 3)
    assert type(other) is type(matrix) and other.shape == (103, 2)
    assert np.array_equal(other.whole(), ROWS[:, :2].astype(np.float64) / 3)
    matrix.cut(40)
    assert np.array_equal(matrix.whole(), ROWS[:40]) and len(matrix.like(1, np.float32)) == 40


def test_a_file_is_read_in_batches_of_so_many_numbers(tmp_path):
    matrix = FileMatrix(tmp_path, 100, 7, np.float32, numbers=70)
    assert [len(batch) for _, batch in matrix.batches()] == [10] * 10
    assert [len(batch) for _, batch in matrix.batches(35)] == [2] * 50
    assert [len(batch) for _, batch in matrix.batches(1000)] == [1] * 100, "one row has more"
    assert [len(batch) for _, batch in matrix.like(1, np.float64).batches()] == [70, 30]


def test_half_precision_keeps_embeddings_of_any_length(tmp_path):
    rows = np.stack([ROWS[0] * 1e6, ROWS[1] * 1e-9, ROWS[2], np.zeros(7), np.full(7, np.nan), np.full(7, np.inf)])
    matrix = FileMatrix(tmp_path, 6, 7, np.float16)
    matrix.put(slice(0, 6), rows.astype(np.float32))
    found = matrix.whole()
    assert found.dtype == np.float32
    assert np.allclose(found[:4], rows[:4], rtol=2**-11, atol=1e-7 * np.abs(rows[:4]).max(axis=1, keepdims=True))
    assert np.isnan(found[4]).all() and np.isinf(found[5]).all()


def test_no_file_is_left_also_by_a_process_that_was_killed(tmp_path):
    matrix = FileMatrix(tmp_path, 1000, 100, np.float32)
    matrix.put(slice(0, 1000), np.ones((1000, 100), np.float32))
    del matrix
    assert not list(tmp_path.iterdir())
    script = (
        "import sys, numpy as np; from pathlib import Path; from apitorch_desktop.vision.matrix import FileMatrix;"
        "matrix = FileMatrix(Path(sys.argv[1]), 1000, 100, np.float32);"
        "matrix.put(slice(0, 1000), np.ones((1000, 100), np.float32)); print('filled', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], **pipes) as process:
        assert process.stdout.readline() == "filled\n"
        process.kill()
    assert not list(tmp_path.iterdir())
