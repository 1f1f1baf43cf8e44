"""Tasks for the workers of a Dask cluster: plain functions of what they are about, which use the database themselves.

A worker is an ordinary `dask worker` with this package installed, and the same APITORCH_DATABASE_URL, APITORCH_BLOB_URL and
credentials of the bucket in its environment as the services. It opens them at its first task, and keeps them and the
encoders until it ends. Every task may run twice, and does nothing the second time.

Errors that the service expects, as that the bucket is out of reach, are returned as Failed: the worker would log a
traceback for each that is raised, of thousands of images while the bucket is away.
"""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.embeddings import Embedder
from apitorch_desktop.service.classifiers.encoders import FOLDER, EncoderPool, OwnEncoders
from apitorch_desktop.service.classifiers.exporting import export_onnx
from apitorch_desktop.service.classifiers.head_cache import HeadCache
from apitorch_desktop.service.classifiers.training import train_and_store
from apitorch_desktop.service.config import InvalidConfig, storage_urls
from apitorch_desktop.service.storage.errors import CannotOpen, RecordNotFound, StorageUnreachable, StoreError
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder
from apitorch_desktop.vision.head import TooFewImages, TrainingCancelled

_LEASE_CHECK = 2.0  # seconds between two looks whether the training is still wanted


class _Resources:
    """Store and encoders of this worker process."""

    def __init__(self, store: Store, folder: Path) -> None:
        threads = max(1, (os.cpu_count() or 1) // _threads_of_worker())
        self.store = store
        self.embedder = Embedder(store)
        self._encoders = EncoderPool(lambda: Encoder(threads=threads), OwnEncoders(folder))

    def encoder(self, name: str) -> Encoder:
        """Return the encoder of this name. Raises UnusableEncoder."""
        return self._encoders.wanted(name)


@dataclass(frozen=True)
class Failed:
    """Result of a task in place of an error that the service expects."""

    error: Exception


P = ParamSpec("P")
T = TypeVar("T")


def _failures_returned(task: Callable[P, T]) -> Callable[P, T | Failed]:
    """Return the task with Failed in place of StoreError, UnusableEncoder and TooFewImages."""

    @wraps(task)
    def run(*values: P.args, **named: P.kwargs) -> T | Failed:
        try:
            return task(*values, **named)
        except (StoreError, UnusableEncoder, TooFewImages) as error:
            return Failed(error)

    return run


@_failures_returned
def embed(sha256: str, encoder: str) -> str:
    """Store the embedding of an image; return "", or why the image cannot be read."""
    resources = _resources()
    if resources.store.models.embeddings(encoder, [sha256]):
        return ""
    return resources.embedder.embed([sha256], resources.encoder(encoder)).get(sha256, "")


@_failures_returned
def train(set_id: int, encoder: str, unreadable: list[str], holder: str) -> bool:
    """Train a set for the service that holds its job; return False where that is not wanted any more."""
    store = _resources().store
    left_out = set(unreadable)
    checked = time.monotonic()

    def cancelled(_previewed: bool = False) -> bool:
        nonlocal checked
        if time.monotonic() < checked + _LEASE_CHECK:
            return False
        checked = time.monotonic()
        return store.jobs is not None and not store.jobs.is_held(set_id, holder)

    try:
        go_on = training_data.raise_once(cancelled)
        data = training_data.load(store, set_id, encoder, left_out.__contains__, go_on=go_on)
        newest = next(iter(store.models.versions(set_id)), None)
        if data.complete and newest and (newest.revision, newest.encoder) == (data.revision, encoder):
            return True  # by an earlier run of this task
        train_and_store(store, data, holder=holder, cancelled=cancelled, use=lambda _head: None)
    except TrainingCancelled:
        return False
    return True


@_failures_returned
def export(set_id: int, version: int, encoder: str) -> bytes:
    """Return a version of a trained classifier as an ONNX file."""
    resources = _resources()
    row = resources.store.training_sets.find(set_id)
    found = HeadCache(resources.store).load(set_id, version)
    if row is None or found is None:
        raise RecordNotFound("This version of the classifier is gone.")
    return export_onnx(resources.store, row, found, resources.encoder(encoder))


_opening = threading.Lock()


def _resources() -> _Resources:
    with _opening:  # `cache` alone would open it once a thread
        try:
            return _opened()
        except CannotOpen as error:  # as while the database starts: the service asks again
            raise StorageUnreachable(str(error)) from error


@cache
def _opened() -> _Resources:
    named = storage_urls()
    if not all(named.values()):
        raise InvalidConfig(
            "A worker needs APITORCH_DATABASE_URL and APITORCH_BLOB_URL in its environment, as the services have them."
        )
    folder = Path(tempfile.mkdtemp(prefix="apitorch-worker-"))
    store = Store.open(folder, **named)

    def close() -> None:
        with suppress(StoreError):
            store.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(close)
    return _Resources(store, Path(os.environ.get("APITORCH_ENCODERS") or folder / FOLDER))


def _threads_of_worker() -> int:
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:  # outside of a task
        return 1
