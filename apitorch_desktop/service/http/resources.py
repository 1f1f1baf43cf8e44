"""Resource limits of the service: memory budgets, bodies spooled to disk, thread pools."""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.storage.errors import DiskFull


class MemoryBudget:
    """A number of bytes shared by the requests of one event loop.

    `try_acquire` never waits; `acquire` does, first come, first served. A request for more than the whole budget is
    granted while nothing else is held.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """The number of bytes that are held."""
        return self._used

    @property
    def contended(self) -> bool:
        """True while a request is waiting."""
        return bool(self._waiting)

    def try_acquire(self, size: int) -> bool:
        """Acquire `size` bytes and return True, or return False without waiting. Pair it with `release`."""
        if self._waiting or not self._fits(size):
            return False
        self._used += size
        return True

    def release(self, size: int) -> None:
        """Give `size` bytes back."""
        self._used -= size
        self._wake()

    @asynccontextmanager
    async def acquire(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes within the context; waits until they are available."""
        if not self.try_acquire(size):
            waiting = (size, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            try:
                await waiting[1]
            except asyncio.CancelledError:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                    self._wake()
                else:  # just granted
                    self.release(size)
                raise
        try:
            yield
        finally:
            self.release(size)

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted, ready = self._waiting.popleft()
            self._used += wanted
            ready.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._used + size <= self._size or self._used == 0


class Spool:
    """The bytes of one body: in memory while the budget has room, then in an unnamed file in `folder`. Has to be
    closed.

    Raises DiskFull where the disk has no room either.
    """

    def __init__(self, memory: MemoryBudget, folder: Path) -> None:
        self._memory = memory
        self._folder = folder
        self._bytes = bytearray()
        self._file: IO[bytes] | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def on_disk(self) -> bool:
        """True if `read` needs memory that is not accounted for yet."""
        return self._file is not None

    def write(self, chunk: bytes | memoryview) -> None:
        """Append bytes."""
        self._size += len(chunk)
        if self._file is None and self._memory.try_acquire(len(chunk)):
            self._bytes += chunk
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close()
                self._file.write(self._bytes)
                self._release()
            self._file.write(chunk)
        except OSError as error:
            raise DiskFull(
                "There is no room left for an upload. Free some disk space where the service runs."
            ) from error

    def read(self) -> bytes:
        """Return all bytes. Blocks where they are on disk."""
        if self._file is None:
            return bytes(self._bytes)
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        """Free the memory and the file."""
        self._release()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _release(self) -> None:
        self._memory.release(len(self._bytes))
        self._bytes = bytearray()


P = ParamSpec("P")
T = TypeVar("T")

_STORAGE_THREADS = 48


class WorkerPools:
    """Thread pools and memory budgets for blocking work. For one event loop.

    `run_storage` is for jobs that wait for the disk; many run at a time, so that they share a commit. `run_decoding`
    and `run_inference` are for jobs that compute, at most `limits.workers` at a time each. `folder` takes the bodies
    that do not fit in memory.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._folder = folder
        self._receiving = MemoryBudget(limits.body_memory)
        self._working = MemoryBudget(limits.body_memory)
        self._sending = MemoryBudget(limits.answer_memory)
        self._storage_pool = ThreadPoolExecutor(_STORAGE_THREADS, "store")
        self._decoding_pool = ThreadPoolExecutor(limits.workers, "decode")
        self._inferences = 0
        self._max_inferences = limits.workers + limits.queue
        self._inference_pool = ThreadPoolExecutor(limits.workers, "answer")

    def close(self) -> None:
        """Wait for running jobs and end the threads."""
        for pool in (self._decoding_pool, self._inference_pool, self._storage_pool):
            pool.shutdown(cancel_futures=True)

    async def run_storage(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that waits for the store."""
        return await asyncio.get_running_loop().run_in_executor(self._storage_pool, partial(job, *args, **kwargs))

    async def run_decoding(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that decodes an image."""
        return await asyncio.get_running_loop().run_in_executor(self._decoding_pool, partial(job, *args, **kwargs))

    async def run_inference(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that classifies an image. Raises HttpError 503 when too many are waiting."""
        if self._inferences >= self._max_inferences:
            raise HttpError(503, "The service has too much to do. Try again in a moment.", [("retry-after", "1")])
        self._inferences += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._inference_pool, partial(job, *args, **kwargs))
        finally:
            self._inferences -= 1

    def spool(self) -> Spool:
        """Return a spool for a body that is being received."""
        return Spool(self._receiving, self._folder)

    @asynccontextmanager
    async def load_spool(self, spool: Spool) -> AsyncIterator[bytes]:
        """Yield the bytes of a received body; waits for memory where they are on disk."""
        if not spool.on_disk:
            yield spool.read()
            return
        async with self.reserve_memory(len(spool)):
            yield await self.run_storage(spool.read)

    @asynccontextmanager
    async def reserve_memory(self, size: int) -> AsyncIterator[None]:
        """Hold the memory of an image that is being processed."""
        async with self._working.acquire(size):
            yield

    @asynccontextmanager
    async def reserve_response(self, size: int) -> AsyncIterator[None]:
        """Hold the memory of a response while it is sent."""
        async with self._sending.acquire(size):
            yield

    @property
    def contended(self) -> bool:
        """True while a response waits for the memory that others hold."""
        return self._sending.contended
