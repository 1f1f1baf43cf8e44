"""The command `serve` as a real process, for tests: started, called, ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

KEY = "k" * 42
COMMAND = [sys.executable, "-m", "apitorch_desktop"]


class Served:
    """A running `serve`; `url` from the line it printed."""

    def __init__(self, folder: Path, *arguments: str, key: str | None = KEY) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "APITORCH_API_KEY"}
        if key is not None:
            environment["APITORCH_API_KEY"] = key
        self.key = key
        self.folder = folder
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--data", str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.url = json.loads(line)["url"]

    def call(self, method: str, path: str, **options) -> requests.Response:
        """One request with the key; a connection of its own."""
        options.setdefault("auth", (self.key, ""))
        return requests.request(method, self.url + path, timeout=60, **options)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; the exit status, and what it printed after its first line."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def serve(folder: Path, *arguments: str, key: str | None = KEY) -> Iterator[Served]:
    """A `serve` that is ended with the block, however it goes."""
    served = Served(folder, *arguments, key=key)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate()


def run(*arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    environment = {name: value for name, value in os.environ.items() if name != "APITORCH_API_KEY"}
    if key is not None:
        environment["APITORCH_API_KEY"] = key
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=60)


def until(holds: Callable[[], object], seconds: float = 20, every: float = 0.02) -> object:
    """Wait until something holds, and answer it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(every)
    return found
