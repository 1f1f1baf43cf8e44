"""Server: uvicorn's, told when to end by us; and what tells it: signals, and for a child the end of its parent."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """Serves until `end` is called; requests under way then have `timeout_graceful_shutdown` seconds to finish."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone: `ShutdownSignals` has them, and an end by SIGTERM is exit status 0."""
        yield

    def end(self) -> None:
        """Take no more connections and finish; at the second call, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


class ShutdownSignals:
    """What ends the service: SIGTERM, SIGINT, and for a child the end of its standard input.

    Made on the main thread. Before `watch` the process unwinds with exit status 0; after it the servers are ended.
    """

    def __init__(self, *, child: bool) -> None:
        signal.signal(signal.SIGTERM, self._unwind)
        if child:
            threading.Thread(target=self._until_parent_ends, name="parent", daemon=True).start()

    def watch(self, servers: list[Server]) -> None:
        """From now on, end these; called on the event loop they run on."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            for server in servers:
                server.end()

        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, end)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(end))

    def _unwind(self, *_: object) -> None:
        raise SystemExit(0)

    def _until_parent_ends(self) -> None:
        while os.read(0, 4096):
            pass
        if sys.platform == "win32":
            signal.raise_signal(signal.SIGTERM)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        os._exit(1)  # nobody is left who could end it by force
