"""Work: the threads that block in place of the event loop, and the memory they share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http.resources import MemoryBudget, Spool

P = ParamSpec("P")
T = TypeVar("T")

_STORE_THREADS = 48


class WorkerPools:
    """Where things are done that take time. For one event loop.

    `store` waits for the disk, many at a time, so that they share a commit; `decode` and `answer` compute, no more
    than `limits.workers` at a time each. `folder` takes the bodies that memory has no room for.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._folder = folder
        self._receiving = MemoryBudget(limits.body_memory)
        self._working = MemoryBudget(limits.body_memory)
        self._sending = MemoryBudget(limits.answer_memory)
        self._store = ThreadPoolExecutor(_STORE_THREADS, "store")
        self._decode = ThreadPoolExecutor(limits.workers, "decode")
        self._answer = ThreadPoolExecutor(limits.workers, "answer")

    def close(self) -> None:
        """Let what is under way finish, and end the threads."""
        for pool in (self._decode, self._answer, self._store):
            pool.shutdown(cancel_futures=True)

    async def store(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what waits for the store."""
        return await asyncio.get_running_loop().run_in_executor(self._store, partial(job, *args, **kwargs))

    async def decode(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what decodes an image."""
        return await asyncio.get_running_loop().run_in_executor(self._decode, partial(job, *args, **kwargs))

    async def answer(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what classifies."""
        return await asyncio.get_running_loop().run_in_executor(self._answer, partial(job, *args, **kwargs))

    def spool(self) -> Spool:
        """A place for a body that is being received."""
        return Spool(self._receiving, self._folder)

    @asynccontextmanager
    async def bytes_of(self, spool: Spool) -> AsyncIterator[bytes]:
        """The bytes of a body that has been received, after waiting for memory where they are on disk."""
        if not spool.on_disk:
            yield spool.read()
            return
        async with self.holding(len(spool)):
            yield await self.store(spool.read)

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Hold the memory of an image that is being worked on."""
        async with self._working.hold(size):
            yield

    @asynccontextmanager
    async def sending(self, size: int) -> AsyncIterator[None]:
        """Hold the memory of an answer while its client takes it in."""
        async with self._sending.hold(size):
            yield

    @property
    def contended(self) -> bool:
        """Whether someone waits for the memory that answers hold."""
        return self._sending.contended
