"""The parts of a team's service as processes that can be killed and started again: bucket, scheduler, workers, services."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.helpers.service_process import KEY, Service, free_port
from tests.helpers.waiting import PATIENCE, until

_BUCKET = "photos"
_RCLONE = Path(sys.executable).with_name("rclone")


class Part:
    """One process; `log` is what it wrote so far."""

    def __init__(self, name: str, command: list[str], port: int, folder: Path, environment: dict[str, str]) -> None:
        self.name, self.port = name, port
        self._command = command
        self._path = folder / f"{name}.log"
        self._environment = {
            name: value for name, value in os.environ.items() if name != "APITORCH_API_KEY"
        } | environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it listens if it has a port."""
        with self._path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        if self.port:
            until(self.listens, self.name, PATIENCE)

    def listens(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, and wait for that."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class TeamService(Part):
    """A `serve` process on the shared data, with a folder of its own."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    @property
    def client(self) -> Service:
        """A client of the service; it does not own the process."""
        return Service(self.url, KEY, Path(), None, None)  # type: ignore[arg-type]


class Team:
    """Makes parts that share a database and a bucket."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self._numbers = iter(range(1000))
        self.parts: list[Part] = []
        self.environment = {
            "APITORCH_DATABASE_URL": database,
            "APITORCH_BLOB_URL": f"s3://{_BUCKET}/team",
            "AWS_ACCESS_KEY_ID": "team",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-team",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        self.bucket = self._bucket()

    def _part(self, part: Part) -> Part:
        self.parts.append(part)
        part.start()
        return part

    def _bucket(self) -> Part:
        """Start an S3 server that keeps what it is given in a folder."""
        if not _RCLONE.exists() and not shutil.which("rclone"):
            pytest.skip("rclone is not installed")
        (self.folder / "bucket" / _BUCKET).mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        keys = f"{self.environment['AWS_ACCESS_KEY_ID']},{self.environment['AWS_SECRET_ACCESS_KEY']}"
        program = str(_RCLONE) if _RCLONE.exists() else "rclone"
        command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", keys]
        command.append(str(self.folder / "bucket"))
        return self._part(Part("bucket", command, port, self.folder, {"RCLONE_CONFIG": ""}))

    def service(self, *options: str) -> TeamService:
        name, port = f"service{next(self._numbers)}", free_port()
        folder = str(self.folder / f"{name}-data")
        command = [sys.executable, "-m", "apitorch_desktop", "serve", "--port", str(port), "--data", folder, *options]
        part = TeamService(name, command, port, self.folder, {**self.environment, "APITORCH_API_KEY": KEY})
        self._part(part)
        return part

    def scheduler(self) -> Part:
        port = free_port()
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
        return self._part(Part("scheduler", [*command, "--no-dashboard", "--no-show"], port, self.folder, {}))

    def worker(self, scheduler: Part) -> Part:
        name = f"worker{next(self._numbers)}"
        command = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{scheduler.port}"]
        command += ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        command += ["--local-directory", str(self.folder / name)]
        return self._part(Part(name, command, 0, self.folder, self.environment))


@contextmanager
def team(folder: Path, database: str) -> Iterator[Team]:
    """Yield a team with its bucket; all parts end at the end."""
    with ExitStack() as stack:
        made = Team(folder, database)
        stack.callback(lambda: [part.kill(signal.SIGTERM) for part in reversed(made.parts)])
        yield made
