"""A real service in a process of its own, started as `serve` or with other limits."""

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from apitorch_desktop.api.types import Id
from apitorch_desktop.service.storage.owners import make_key
from tests.helpers.waiting import PATIENCE

HERE = Path(__file__).parent
KEY = "k" * 42
COMMAND = [sys.executable, "-m", "apitorch_desktop"]


@dataclass
class Service:
    """A running service; `url` ends in `/api/`, `key` is None if it was started without one."""

    url: str
    key: str | None
    folder: Path
    process: subprocess.Popen[str]
    errors: IO[str]

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/api/")

    @property
    def port(self) -> int:
        return urlsplit(self.url).port

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()

    @property
    def log(self) -> str:
        """Its standard error so far."""
        return os.pread(self.errors.fileno(), 2**26, 0).decode()

    def call(self, method: str, path: str, key: str | None = None, **more) -> requests.Response:
        """Send a request on a new connection; `path` is relative to `/api/`, or a whole URL."""
        more.setdefault("timeout", PATIENCE)
        more.setdefault("auth", (self.key if key is None else key, ""))
        return requests.request(method, path if path.startswith("http") else self.url + path, **more)

    def new_set(self, name: str = "A set", key: str | None = None) -> Id:
        answer = self.call("POST", "training-sets", key, json={"name": name})
        assert answer.status_code == 200, answer.text
        return Id(answer.json()["id"])

    def upload(self, set_id: int | str, label: str, data: bytes, name: str = "a.jpg", **more) -> requests.Response:
        return self.call("POST", f"training-set/{set_id}/{label}/image", files={"image": (name, data)}, **more)

    def memory(self) -> int:
        """Return the resident bytes of the process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used: other than the time of a clock, it is its own alone."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit status, and the remaining output on both streams."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, self.log


@contextmanager
def serving(
    folder: Path, *options: str, limits: dict | None = None, key: str | None = "", **environment: str
) -> Iterator[Service]:
    """Run `apitorch-desktop serve` on a free port; with `limits` the same parts with other `Limits`.

    `key` is the key it is started with: a new one by default, none with None.
    """
    key = make_key() if key == "" else key
    command = [*COMMAND, "serve", "--port", "0", "--data", str(folder), *options]
    if limits is not None:
        command = [sys.executable, str(HERE / "limited.py"), str(folder), json.dumps(limits), *options]
    with tempfile.TemporaryFile("w+") as errors:  # elsewhere than the folder, whose disk may be full
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment(key, **environment)
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            service = Service("", key, folder, process, errors)
            assert line, service.log
            service.url = json.loads(line)["url"]
            yield service
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system gives to outgoing connections.

    One of those may be given away before it is listened on, even to the client that asks whether somebody does.
    """
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(10_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def run(*arguments: str, key: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=_environment(key, **environment), timeout=PATIENCE
    )


def alive(pid: int) -> bool:
    """Return True while there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _environment(key: str | None, **more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "APITORCH_API_KEY"}
    return own | ({} if key is None else {"APITORCH_API_KEY": key}) | more
