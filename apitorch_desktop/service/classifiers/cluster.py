"""A Dask cluster that embeds, trains and exports for this service, and for all others that name the same scheduler."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from apitorch_desktop.service.classifiers import tasks
from apitorch_desktop.vision.encoder import UnusableEncoder
from apitorch_desktop.vision.head import TrainingCancelled

Client = Any  # of Dask, whose annotations are few
Future = Any
_CONNECT = 5.0  # seconds
_RETRY = 5.0  # seconds after a failure in which all is done here
_WITHOUT_WORKERS = 10.0  # seconds without any worker until a task is done here
_POLL = 0.02
_QUEUED = 16  # images a thread of the cluster, so that none waits for the next batch
_LEAST, _MOST = 16, 1024
_RETRIES = 3
_log = logging.getLogger(__name__)


class ClusterAway(Exception):  # noqa: N818 - named for what happened
    """The cluster cannot do it now: the work is done in this process."""


class Cluster:
    """Gives embedding, training and exports to the workers of a Dask scheduler. Thread-safe.

    A task is named by content and encoder, so that services that want the same share it. A worker that dies costs its
    tasks, which the scheduler gives to another.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._client: Client = None
        self._retry_at = 0.0
        self._threads = 0
        self._worked_at = 0.0  # when there was a worker last
        self.stopping = False

    def close(self) -> None:
        """End the connection; tasks that are waited for are given up."""
        self.stopping = True
        with self._lock:
            self._disconnect()

    @property
    def batch(self) -> int:
        """The number of images to embed at a time."""
        return min(max(_LEAST, _QUEUED * self._threads), _MOST)

    def embed(self, sha256s: Iterable[str], encoder: str) -> dict[str, str]:
        """Embed images; return why some cannot be read. Raises ClusterAway, StoreError."""
        client = self._connected()
        contents = list(sha256s)
        futures = [
            client.submit(tasks.embed, sha256, encoder, key=f"embed-{encoder}-{sha256}", retries=_RETRIES, priority=1)
            for sha256 in contents
        ]
        found = self._results(client, futures, lambda: self.stopping)
        return {sha256: reason for sha256, reason in zip(contents, found, strict=True) if reason}

    def train(
        self,
        set_id: int,
        revision: int,
        encoder: str,
        unreadable: Iterable[str],
        *,
        holder: str,
        cancelled: Callable[[], bool],
    ) -> None:
        """Train a set for the process `holder`. Raises ClusterAway, TrainingCancelled, StoreError, TooFewImages."""
        client = self._connected()
        key = f"train-{set_id}-{revision}-{encoder}-{holder}"
        future = client.submit(
            tasks.train, set_id, encoder, sorted(unreadable), holder, key=key, retries=_RETRIES, priority=2
        )
        if self._results(client, [future], cancelled) != [True]:
            raise TrainingCancelled

    def export(self, set_id: int, version: int, encoder: str) -> bytes:
        """Return a version of a trained classifier as an ONNX file. Raises ClusterAway, StoreError."""
        client = self._connected()
        key = f"export-{set_id}-{version}-{encoder}"
        future = client.submit(tasks.export, set_id, version, encoder, key=key, retries=_RETRIES, priority=3)
        try:
            exported: list[bytes] = self._results(client, [future], lambda: self.stopping)
        except TrainingCancelled as error:
            raise ClusterAway from error
        return exported[0]

    def _connected(self) -> Client:
        import distributed

        with self._lock:
            if self.stopping or time.monotonic() < self._retry_at:
                raise ClusterAway
            if self._client is None:
                for name in ("distributed", "distributed.client"):  # both get a level of their own when imported
                    logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is said here, once
                try:
                    self._client = distributed.Client(
                        self._url, timeout=_CONNECT, set_as_default=False, name="apitorch-desktop"
                    )
                except Exception as error:
                    raise self._away(f"the scheduler does not answer ({error})") from error
                self._worked_at = time.monotonic()
            self._check_workers(self._client)
            return self._client

    def _check_workers(self, client: Client) -> None:
        """Count the threads of the workers. Raises ClusterAway where there has been none for a while."""
        self._threads = self._count_threads(client)
        if self._threads:
            self._worked_at = time.monotonic()
        elif time.monotonic() > self._worked_at + _WITHOUT_WORKERS:
            raise ClusterAway("no worker is there")

    def _count_threads(self, client: Client) -> int:
        try:
            found: dict[str, int] = client.sync(client.scheduler.ncores, callback_timeout=_CONNECT)
        except Exception as error:
            raise self._away(f"the scheduler does not answer ({error})") from error
        return sum(found.values())

    def _results(self, client: Client, futures: list[Future], cancelled: Callable[[], bool]) -> list[Any]:
        """Wait for all futures; return what their tasks returned. Raises as `_wait` and `_result` do.

        They are released whatever comes: while anybody holds a future, the scheduler answers the same task with its
        earlier outcome, and an error that is raised would hold them.
        """
        try:
            self._wait(client, futures, cancelled)
            return [self._result(future) for future in futures]
        finally:
            with suppress(Exception):  # the connection may be lost
                for future in futures:
                    future.release()

    def _wait(self, client: Client, futures: list[Future], cancelled: Callable[[], bool]) -> None:
        """Wait for all futures. Raises TrainingCancelled, and ClusterAway where nobody works on them."""
        asked_at = time.monotonic()
        while not all(future.done() for future in futures):  # done too where the scheduler has gone
            time.sleep(_POLL)
            if cancelled():
                with suppress(Exception):
                    client.cancel(futures)
                raise TrainingCancelled
            if (now := time.monotonic()) > asked_at + 1:
                asked_at = now
                try:
                    with self._lock:
                        self._check_workers(client)
                except ClusterAway:
                    with suppress(Exception):
                        client.cancel(futures)
                    raise

    def _result(self, future: Future) -> Any:
        """Return what a task returned. Raises its error where the caller knows that, else ClusterAway."""
        from distributed import CancelledError, KilledWorker

        try:
            result = future.result(timeout=_CONNECT)
        except KilledWorker as error:
            if str(future.key).startswith("embed-"):
                return "it ended the process that read it"
            raise ClusterAway(str(error)) from error
        except CancelledError as error:
            raise self._away("the connection to the scheduler was lost") from error
        except Exception as error:
            raise self._away(f"{type(error).__name__}: {error}") from error
        if not isinstance(result, tasks.Failed):
            return result
        if isinstance(result.error, UnusableEncoder):
            raise ClusterAway(f"the workers have another encoder: {result.error}") from result.error
        raise result.error

    def _away(self, reason: str) -> ClusterAway:
        """Disconnect for a while. The lock may be held."""
        if time.monotonic() >= self._retry_at and not self.stopping:
            _log.warning("the cluster at %s is away, and this service does the work itself: %s", self._url, reason)
        self._retry_at = time.monotonic() + _RETRY
        self._disconnect()
        return ClusterAway(reason)

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            threading.Thread(target=_close, args=(client,), name="cluster-close", daemon=True).start()


def _close(client: Client) -> None:
    with suppress(Exception):  # it may have lost its scheduler
        client.close(timeout=2)
