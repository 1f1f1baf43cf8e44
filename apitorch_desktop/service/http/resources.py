"""Memory: how many bytes of images may be held at once; Spool: a body as it comes, on disk where that is too many."""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from apitorch_desktop.service.storage.errors import DiskFull


class MemoryBudget:
    """A number of bytes to share out. For one event loop.

    `take` never waits; `hold` does, first come, first served. One that wants more than there is at all gets it when
    nobody else holds any.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._used

    @property
    def contended(self) -> bool:
        """Whether someone waits."""
        return bool(self._waiting)

    def take(self, size: int) -> bool:
        """Whether `size` bytes could be had at once; give them back with `give`."""
        if self._waiting or not self._fits(size):
            return False
        self._used += size
        return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._used -= size
        self._wake()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes, after waiting for them."""
        if not self.take(size):
            waiting = (size, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            try:
                await waiting[1]
            except asyncio.CancelledError:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                    self._wake()
                else:  # it had just been given
                    self.give(size)
                raise
        try:
            yield
        finally:
            self.give(size)

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted, ready = self._waiting.popleft()
            self._used += wanted
            ready.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._used + size <= self._size or self._used == 0


class Spool:
    """The bytes of one body: in memory while `memory` has room, in an unnamed file in `folder` beyond. Close it.

    Raises StorageFull where the disk has no room either.
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
        """Whether reading needs memory that is not accounted for yet."""
        return self._file is not None

    def write(self, chunk: bytes | memoryview) -> None:
        """Add bytes."""
        self._size += len(chunk)
        if self._file is None and self._memory.take(len(chunk)):
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
        """All bytes. Blocks where they are on disk."""
        if self._file is None:
            return bytes(self._bytes)
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        """Give back memory and disk."""
        self._release()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _release(self) -> None:
        self._memory.give(len(self._bytes))
        self._bytes = bytearray()
