"""Resource limits of the service: memory budgets, bodies spooled to disk, thread pools."""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from time import monotonic
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
        return self.pieces([self._size])[0]

    def pieces(self, sizes: Sequence[int]) -> list[bytes]:
        """Return the bytes in pieces of these sizes. Blocks where they are on disk."""
        if self._file is None:
            whole = memoryview(self._bytes)
            return [bytes(whole[end - size : end]) for size, end in zip(sizes, accumulate(sizes), strict=True)]
        self._file.seek(0)
        return [self._file.read(size) for size in sizes]

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

_STORAGE_THREADS, _IMAGE_THREADS, _LOOKUP_THREADS = 48, 48, 4
_WAITING = 400
"""Jobs that wait for a thread of one pool; a further one is a 429."""
_LONGEST_PAUSE = 20
"""Seconds that a refused client is asked to wait at most."""


class BoundedPool:
    """Threads with a bounded queue. A job that is cancelled before it starts does not run.

    More than `threads` + `waiting` jobs at a time raise HttpError 429. Those refused are asked to come again one after
    another, as fast as jobs of late ended: if all came at once, most of them would be refused again.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._threads = threads
        self._most = threads + waiting
        self._jobs = 0
        self._seconds = 0.0  # of a job of late
        self._next_place = 0.0  # monotonic time for which no refused client was asked to come yet

    def check(self, jobs: int | None = None) -> None:
        """Raise HttpError 429 if as many jobs run and wait as may; `jobs` counts otherwise than by the pool's own."""
        if (self._jobs if jobs is None else jobs) >= self._most:
            now = monotonic()
            self._next_place = max(self._next_place, now) + self._seconds / self._threads
            self._next_place = min(self._next_place, now + _LONGEST_PAUSE)
            pause = 1 + int(self._next_place - now)
            raise HttpError(
                429, "The service has too much to do. Try again in a moment.", [("retry-after", str(pause))]
            )

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job on one of the threads."""
        self.check()
        self._jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, self._timed, partial(job, *args, **kwargs)
            )
        finally:
            self._jobs -= 1

    def _timed(self, job: Callable[[], T]) -> T:
        start = monotonic()
        try:
            return job()
        finally:
            self._seconds += (monotonic() - start - self._seconds) / 8

    @property
    def jobs(self) -> int:
        """The number of jobs that run or wait."""
        return self._jobs

    def close(self) -> None:
        """Wait for running jobs and end the threads."""
        self._pool.shutdown(cancel_futures=True)


class WorkerPools:
    """Thread pools and memory budgets for blocking work. For one event loop.

    Many jobs that wait run at a time, so that they share a commit: `run_storage` is for rows, `run_images` for jobs that
    store or read images, which a bucket may hold up, and `run_lookup` for API keys, so that neither waits for the others.
    `run_decoding` and `run_inference` are for jobs that compute, at most `limits.workers` at a time each. `folder` takes
    the bodies that do not fit in memory.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._folder = folder
        self._receiving = MemoryBudget(limits.body_memory)
        self._working = MemoryBudget(limits.body_memory)
        self._sending = MemoryBudget(limits.answer_memory)
        self._classifications = 0
        self._inference_pool = BoundedPool("answer", limits.workers, limits.queue)
        self._decoding_pool = BoundedPool("decode", limits.workers, _WAITING)
        storage_pool = BoundedPool("store", _STORAGE_THREADS, _WAITING)
        image_pool = BoundedPool("images", _IMAGE_THREADS, _WAITING)
        lookup_pool = BoundedPool("keys", _LOOKUP_THREADS, _WAITING)
        self._pools = (self._decoding_pool, self._inference_pool, lookup_pool, image_pool, storage_pool)
        self.run_storage = storage_pool.run
        self.run_images = image_pool.run
        self.run_lookup = lookup_pool.run
        self.run_decoding = self._decoding_pool.run
        self.run_inference = self._inference_pool.run

    def close(self) -> None:
        """Wait for running jobs and end the threads."""
        for pool in self._pools:
            pool.close()

    @contextmanager
    def classification(self) -> Iterator[None]:
        """Count a classification from before its body is read, so that one too many costs next to nothing.

        Raises HttpError 429 when as many are under way as `run_inference` takes.
        """
        self._inference_pool.check(self._classifications)
        self._classifications += 1
        try:
            yield
        finally:
            self._classifications -= 1

    @property
    def jobs(self) -> int:
        """The number of jobs of all pools that run or wait."""
        return sum(pool.jobs for pool in self._pools)

    @property
    def classifications(self) -> int:
        """The number of classifications under way."""
        return self._classifications

    def spool(self) -> Spool:
        """Return a spool for a body that is being received."""
        return Spool(self._receiving, self._folder)

    @asynccontextmanager
    async def load_spool(self, spool: Spool) -> AsyncIterator[bytes]:
        """Yield the bytes of a received body; waits for memory where they are on disk."""
        async with self.load_pieces(spool, [len(spool)]) as (whole,):
            yield whole

    @asynccontextmanager
    async def load_pieces(self, spool: Spool, sizes: Sequence[int]) -> AsyncIterator[list[bytes]]:
        """Yield the bytes of a received body in pieces of these sizes; as `load_spool`."""
        if not spool.on_disk:
            yield spool.pieces(sizes)
            return
        async with self.reserve_memory(len(spool)):
            yield await self.run_images(spool.pieces, sizes)

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
