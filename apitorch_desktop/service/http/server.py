"""The uvicorn server, its listening socket, base URL and TLS files, and the signals that end it."""

import asyncio
import errno
import logging
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from apitorch_desktop.service.config import LOOPBACK_HOSTS
from apitorch_desktop.service.http.protocol import RareLog, TlsGate
from apitorch_desktop.utils.errors import UserError

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared only, not bound

_BACKLOG = 2048
_MAX_PEM = 2**20
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_VALIDITY = re.compile(
    rb"\x30.(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)", re.DOTALL
)
"""The two times of a certificate in DER: UTCTime or GeneralizedTime."""
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_log = logging.getLogger(__name__)


class CannotListen(UserError):  # noqa: N818 - named for what happened
    """The service cannot listen.

    `str()` is one sentence for the user; `kind` distinguishes a port in use from other causes; `status` is the exit
    status.
    """

    def __init__(self, sentence: str, kind: str = "cannot_listen", status: int = 1) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.status = status


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket. Raises CannotListen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListen(f"“{host}” is not an address of this machine: choose another with --host.") from error
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows this would let two programs share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _bind_error(error, host, port) from error
    return bound


def _bind_error(error: OSError, host: str, port: int) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(
            f"Port {port} is taken by another program: choose another with --port, or 0 to have one picked.",
            "port_in_use",
        )
    if error.errno == errno.EACCES:
        return CannotListen(f"Port {port} is reserved for the system: choose one from 1024 up with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotListen(f"“{host}” is not an address of this machine: choose another with --host.")
    if error.errno == errno.EINVAL and host.lower().startswith("fe80:"):
        return CannotListen(f"“{host}” is an address of one network alone: name its interface, as in {host}%eth0.")
    return CannotListen(f"The service cannot listen on {host}, port {port} ({error.strerror}).")


def is_loopback(bound: socket.socket) -> bool:
    """Return whether the socket is reachable from this machine only."""
    address: str = bound.getsockname()[0]
    return address.startswith("127.") or address == "::1"


def base_url(bound: socket.socket, host: str, *, tls: bool) -> str:
    """Return `http://127.0.0.1:8765/api/`; with the loopback address for a socket that listens on all addresses."""
    name = _WILDCARDS.get(host, host)
    name = f"[{name}]" if ":" in name else name
    return f"{'https' if tls else 'http'}://{name}:{bound.getsockname()[1]}/api/"


def host_names(host: str, hostnames: tuple[str, ...], *, loopback: bool) -> frozenset[str]:
    """Return the host names that requests may use (lower case, no port)."""
    own = set() if loopback else {socket.gethostname(), f"{socket.gethostname().partition('.')[0]}.local"}
    if host not in _WILDCARDS:
        own.add(f"[{host}]" if ":" in host else host)
    return LOOPBACK_HOSTS | {name.lower().rstrip(".") for name in {*own, *hostnames}}


def check_tls(cert: Path, key: Path) -> str:
    """Check that a certificate and its key can be used; return a sentence about one that clients will refuse, or "".

    Raises CannotListen, whose sentence names the file and never has a word of the key.
    """
    certificate, private = _pem(cert), _pem(key)
    if _KEY.search(certificate) and _CERTIFICATE.search(private) and not _CERTIFICATE.search(certificate):
        raise CannotListen(f"{cert} holds a private key, and {key} a certificate: exchange the two.", status=2)
    for path, data, block, what in (
        (cert, certificate, _CERTIFICATE, "certificate"),
        (key, private, _KEY, "private key"),
    ):
        if not block.search(data):
            binary = data[:2] in (b"\x30\x82", b"\x30\x81", b"\x30\x77")
            why = (
                ": it is empty"
                if not data
                else ": it is binary (DER or PKCS #12), which openssl converts"
                if binary
                else ""
            )
            raise CannotListen(f"{path} holds no {what} in PEM form{why}.", status=2)

    def no_password() -> str:
        raise CannotListen(f"{key} is protected by a password: give a key without one.", status=2)

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, no_password)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", "") in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
            sentence = (
                f"{key} is not the key of the first certificate in {cert}: give its key, or put its certificate first."
            )
        else:
            sentence = f"{cert} and {key} are not a certificate and its private key in PEM form."
        raise CannotListen(sentence, status=2) from error
    begin, end = _validity(certificate)
    now = datetime.now(UTC)
    if begin <= now <= end:
        return ""
    when = f"expired on {end:%Y-%m-%d}" if end < now else f"is not valid before {begin:%Y-%m-%d}"
    return f"Warning: the certificate in {cert} {when}: programs will refuse it. Start the service with another one."


def _pem(path: Path) -> bytes:
    """Return the bytes of a file of certificates or a key. Raises CannotListen."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM)
    except OSError as error:
        raise CannotListen(f"{path} cannot be read ({error.strerror}).", status=2) from error


def _validity(certificate: bytes) -> tuple[datetime, datetime]:
    """Return from when to when the first certificate in PEM is valid (RFC 5280, 4.1.2.5); any time where it does not say."""
    block = _CERTIFICATE.search(certificate)
    found = _VALIDITY.search(ssl.PEM_cert_to_DER_cert(block[0].decode("ascii", "replace"))) if block else None
    if found is None:
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    times = [text.decode() for text in found.groups() if text]
    years = [text if len(text) == 14 else f"{'20' if text < '50' else '19'}{text}" for text in times]
    begin, end = (datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC) for text in years)
    return begin, end


class Server(uvicorn.Server):
    """Serves until `stop_serving` is called; running requests then have `timeout_graceful_shutdown` seconds to finish."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(AcceptErrorFilter())
        create_server = loop.create_server

        async def behind_gate(
            factory: Callable[[], asyncio.Protocol], *args: Any, ssl: ssl.SSLContext | None = None, **options: Any
        ) -> asyncio.Server:
            if ssl is None:
                return await create_server(factory, *args, **options)
            limiter = self.config.http.keywords["limiter"]  # type: ignore[union-attr]
            return await create_server(lambda: TlsGate(factory, ssl, limiter), *args, **options)

        loop.create_server = behind_gate  # type: ignore[assignment]  # uvicorn has no setting for it
        try:
            await super().startup(sockets)
        finally:
            vars(loop).pop("create_server", None)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Install no signal handlers: `ShutdownSignals` has them, and an end by SIGTERM is exit status 0."""
        yield

    def stop_serving(self) -> None:
        """Accept no more connections and finish; a second call ends the server at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


class AcceptErrorFilter:
    """An exception handler for the event loop that logs failed accepts once a minute, and not for each connection."""

    def __init__(self) -> None:
        self._log = RareLog(_log, logging.ERROR)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the event loop."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES):
            loop.default_exception_handler(context)
        else:
            self._log("connections cannot be accepted for now: %s", error.strerror)


class ShutdownSignals:
    """Ends the service on SIGTERM, SIGINT and SIGHUP and, in a child process, at the end of its standard input.

    Has to be made on the main thread. After `stop_on_signal` the servers are stopped. Before it the process unwinds: with
    exit status 0 on SIGTERM, and on SIGINT by KeyboardInterrupt.
    """

    def __init__(self, *, child: bool) -> None:
        signal.signal(signal.SIGTERM, self._unwind)
        if child:
            threading.Thread(target=self._wait_for_parent, name="parent", daemon=True).start()

    def stop_on_signal(self, servers: list[Server]) -> None:
        """Stop these servers on a signal; call it on the event loop they run on."""
        loop = asyncio.get_running_loop()

        def stop_all() -> None:
            for server in servers:
                server.stop_serving()

        ends = [signal.SIGTERM, signal.SIGINT]
        if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as below `nohup`
            ends.append(signal.SIGHUP)
        for number in ends:
            try:
                loop.add_signal_handler(number, stop_all)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop_all))

    @staticmethod
    def ignore_sigterm() -> None:
        """Ignore SIGTERM from now on, so that a second one does not kill the process while it closes its files."""
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)  # or the loop would restore the default
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _unwind(self, *_: object) -> None:
        raise SystemExit(0)

    def _wait_for_parent(self) -> None:
        while os.read(0, 4096):
            pass
        if sys.platform == "win32":
            signal.raise_signal(signal.SIGTERM)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        os._exit(1)  # the parent that could kill it is gone
