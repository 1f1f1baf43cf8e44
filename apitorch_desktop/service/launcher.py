"""The service as a child process: start it, watch it, stop it, or attach to a running one. Blocking, without Qt."""

import base64
import http.client
import json
import os
import queue
import secrets
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from apitorch_desktop.utils.errors import UserError

CHILD_VARIABLE: Final = "APITORCH_DESKTOP_CHILD"
"""Set to 1 in the child: it then ends at the end of its standard input, and reports a failed start as JSON too."""
KEY_VARIABLE: Final = "APITORCH_API_KEY"
RUNNING_FILE: Final = "running.json"
"""A file in the data folder while a service runs on it: its url, pid and a key for the user's own programs (mode 0600).
"""
LOG_FILE: Final = "service.log"
START_TIMEOUT: Final = 120.0
"""Seconds a service may take to accept connections; one that another process is starting has half of it."""

_KEY_BYTES = 21  # 42 hex digits
_LOG_BYTES = 2**20
_FIRST_PAUSE, _LONGEST_PAUSE, _STEADY = 0.2, 10.0, 30.0  # seconds; a run of _STEADY forgets earlier crashes
_IN_USE, _PORT_TAKEN = "folder_in_use", "port_in_use"


class ServiceFailed(UserError):  # noqa: N818 - named for what happened
    """The service did not start; `str()` is one sentence for the user, `kind` the type of the child's error."""

    def __init__(self, sentence: str, kind: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind


class ServiceProcess:
    """The service on one data folder: a child process, or one that runs already (`attached`).

    The service is watched once started: when it ends it is started again, with the same key and, if still free, port,
    at once and then after pauses that double up to 10 s. `on_change` is called on the watching thread with "down"
    (`message` has the reason) and "up" (`url` may have changed). The child ends when this process does, in whatever
    way.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        key: str = "",
        threads: int = 0,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        """`port` 0, or one that is taken, becomes a free one; `key` "" a new one; `threads` 0 is one per core."""
        self._folder = folder
        self._port = port
        self._threads = threads
        self._on_change = on_change or (lambda _state: None)
        self._key = key
        self._url = ""
        self._message = ""
        self._child: _ServiceChild | None = None
        self._pid = 0  # of the attached service
        self._log = _ServiceLog(folder / LOG_FILE)
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start a child and wait until it accepts connections. Raises ServiceFailed with the child's own sentence."""
        self._stopping.clear()
        self._start_child(timeout)
        self._watch()

    def attach_or_start(self, timeout: float = START_TIMEOUT) -> None:
        """Attach to the service that runs on the folder, else start one. Raises ServiceFailed."""
        self._stopping.clear()
        self._connect(timeout)
        self._watch()

    @property
    def url(self) -> str:
        """The base URL, ending in `/api/`; empty before the start."""
        return self._url

    @property
    def key(self) -> str:
        """The API key; empty before the start."""
        return self._key

    @property
    def attached(self) -> bool:
        """True if another process started the service: `stop` then leaves it running."""
        return self._pid != 0

    @property
    def pid(self) -> int:
        """The process id of the service, 0 where none runs."""
        if self._pid:
            return self._pid
        return self._child.process.pid if self._child and self.alive else 0

    @property
    def alive(self) -> bool:
        """True while the process is running."""
        if self._pid:
            return _is_running(self._folder, self._pid)
        return self._child is not None and self._child.process.poll() is None

    @property
    def message(self) -> str:
        """The last failure as a sentence, or empty."""
        return self._message

    def stop(self, timeout: float = 15) -> None:
        """End the child cleanly (running requests finish), by force after the timeout; it is not started again."""
        self._stopping.set()
        child = self._child
        if child:
            child.stop(timeout)
        if self._watcher and self._watcher is not threading.current_thread():
            self._watcher.join(timeout)
            child = self._child  # a child that the watcher was just starting
            if child:
                child.stop(timeout)

    def _connect(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            if running := _find_running(self._folder):
                self._url, self._key, self._pid = running
                return
            try:
                self._start_child(max(1.0, deadline - time.monotonic()))
                return
            except ServiceFailed as failure:
                # another process was faster and is about to accept connections
                if failure.kind != _IN_USE or time.monotonic() > deadline - timeout * 0.5 or self._stopping.wait(0.2):
                    raise

    def _start_child(self, timeout: float) -> None:
        self._pid = 0
        self._key = self._key or random_key()
        try:
            self._child = _ServiceChild(self._folder, self._port, self._key, self._threads, self._log)
            self._url = self._child.ready(timeout)
        except ServiceFailed as failure:
            if failure.kind != _PORT_TAKEN or not self._port:
                raise
            self._child = _ServiceChild(self._folder, 0, self._key, self._threads, self._log)
            self._url = self._child.ready(timeout)
        self._port = urlsplit(self._url).port or 0

    def _watch(self) -> None:
        if self._stopping.is_set() and self._child:  # stopped during the start
            self._child.stop(15)
        self._watcher = threading.Thread(target=self._run_watch, name="service-watch", daemon=True)
        self._watcher.start()

    def _run_watch(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            since = time.monotonic()
            if self._pid:
                self._wait_for_exit(self._pid)
                self._port = urlsplit(self._url).port or 0  # so that our own child replaces it at the same URL
            elif self._child:
                self._child.ended.wait()
                self._message = self._child.failure()
            if self._stopping.is_set():
                return
            self._notify("down")
            pause = _FIRST_PAUSE if time.monotonic() - since > _STEADY else pause
            while not self._stopping.wait(pause):
                pause = min(pause * 2, _LONGEST_PAUSE)
                try:
                    self._connect(30)
                except ServiceFailed as failure:
                    self._message = str(failure)
                else:
                    self._message = ""
                    break
            if self._stopping.is_set():
                return
            self._notify("up")

    def _wait_for_exit(self, pid: int) -> None:
        while not self._stopping.wait(0.5):
            if not _is_running(self._folder, pid):
                return

    def _notify(self, state: str) -> None:
        with suppress(Exception):  # a failing listener must not end the watch
            self._on_change(state)


def random_key() -> str:
    """Return a new API key of 42 characters."""
    return secrets.token_hex(_KEY_BYTES)


def attach(folder: Path) -> tuple[str, str] | None:
    """Return base URL and key of the service that runs on a data folder and responds, else None."""
    running = _find_running(folder)
    return running[:2] if running else None


def attach_or_start(folder: Path, *, on_change: Callable[[str], None] | None = None) -> ServiceProcess:
    """Return a started or attached ServiceProcess on the folder. Raises ServiceFailed."""
    service = ServiceProcess(folder, on_change=on_change)
    service.attach_or_start()
    return service


class _ServiceChild:
    """One run of the service: its process, the line it prints, and its standard error."""

    def __init__(self, folder: Path, port: int, key: str, threads: int, log: "_ServiceLog") -> None:
        self._log = log
        self._log.start_run()
        self._stopped = False
        self.ended = threading.Event()
        self._first_line: queue.Queue[str] = queue.Queue()
        environment = os.environ | _environment() | {KEY_VARIABLE: key, CHILD_VARIABLE: "1"}
        try:
            self.process = subprocess.Popen(
                [*_command(), "serve", "--port", str(port), "--data", str(folder), "--threads", str(threads)],
                stdin=subprocess.PIPE,  # closed when this process ends, on which the child ends
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                process_group=0 if os.name == "posix" else None,  # Ctrl+C is passed on by this process; a session
                # of its own would be a scheduling group, outside which its niceness has no effect
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise ServiceFailed(f"The service could not be started: {error.strerror or error}.") from error
        assert self.process.stdout and self.process.stderr  # noqa: S101 - for mypy: they are pipes
        errors = threading.Thread(target=log.pump, args=(self.process.stderr,), name="service-log", daemon=True)
        errors.start()
        threading.Thread(
            target=self._read, args=(self.process.stdout, errors), name="service-output", daemon=True
        ).start()

    def _read(self, output: IO[bytes], errors: threading.Thread) -> None:
        with output:
            self._first_line.put(output.readline(65536).decode("utf-8", "replace"))
            while output.read(65536):  # a full pipe would block the child
                pass
        self.process.wait()
        errors.join(2)
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
        self.ended.set()

    def ready(self, timeout: float) -> str:
        """Wait for the line that reports readiness; return the base URL. Raises ServiceFailed."""
        try:
            line = self._first_line.get(timeout=timeout)
        except queue.Empty:
            self.stop(0)
            raise ServiceFailed(f"The service did not start within {timeout:.0f} seconds.") from None
        answer: dict[str, Any] = {}
        with suppress(ValueError):
            answer = json.loads(line)
        if answer.get("object") == "service":
            return str(answer["url"])
        self.process.wait()
        self.ended.wait(5)
        if answer.get("object") == "error":
            raise ServiceFailed(str(answer["message"]), str(answer["type"]))
        raise ServiceFailed(self.failure())

    def failure(self) -> str:
        """Return the reason of its end as a sentence; empty when it was stopped."""
        if self._stopped:
            return ""
        status = self.process.poll()
        status_text = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        return f"The service ended unexpectedly ({status_text}). What it said is in {self._log.path}."

    def stop(self, timeout: float) -> None:
        """End the process cleanly, by force after `timeout` seconds."""
        self._stopped = True
        if self.process.poll() is None and timeout > 0:
            if os.name == "posix":
                self.process.terminate()
            elif self.process.stdin:
                with suppress(OSError):
                    self.process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.ended.wait(5)


class _ServiceLog:
    """The log of the child's standard error: a file of at most 1 MiB and the one before it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._early: deque[bytes] = deque(maxlen=200)

    def start_run(self) -> None:
        """Begin a new run."""
        self._early.clear()

    def pump(self, stream: IO[bytes]) -> None:
        """Write a stream to the log until its end; runs in a thread of its own."""
        with stream:
            while line := stream.readline(4096):
                self._early.append(line)
                with suppress(OSError):  # a full or read-only disk is reported by the service itself
                    self._write()

    def _write(self) -> None:
        if not self.path.parent.is_dir():
            return  # the child creates its folder
        with suppress(FileNotFoundError):
            if self.path.stat().st_size > _LOG_BYTES:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
        with self.path.open("ab") as file:
            file.writelines(self._early)
        self._early.clear()


def _command() -> list[str]:
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "apitorch_desktop"]  # -P: do not import from the current folder


def _environment() -> dict[str, str]:
    """Return the variables with which a child finds this package: none if it is installed, else the path of the
    checkout.
    """
    package = str(Path(__file__).parents[2])
    if getattr(sys, "frozen", False) or package in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        return {}
    return {"PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _find_running(folder: Path) -> tuple[str, str, int] | None:
    """Return URL, key and pid of the service on the folder, if it responds."""
    found = _read_running_file(folder)
    return found if found and _responds(found[0], found[1]) else None


def _read_running_file(folder: Path) -> tuple[str, str, int] | None:
    try:
        record = json.loads((folder / RUNNING_FILE).read_bytes())
        return str(record["url"]), str(record["key"]), int(record["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_running(folder: Path, pid: int) -> bool:
    """Return whether the service with that pid has neither ended cleanly (its file is gone) nor been killed."""
    found = _read_running_file(folder)
    if not found or found[2] != pid:
        return False
    if os.name != "posix":
        return _responds(found[0], found[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _responds(url: str, key: str) -> bool:
    address = urlsplit(url)
    if address.scheme != "http" or not address.hostname:
        return False
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    try:
        authorization = base64.b64encode(f"{key}:".encode()).decode()
        connection.request("GET", address.path + "ping", headers={"Authorization": f"Basic {authorization}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
