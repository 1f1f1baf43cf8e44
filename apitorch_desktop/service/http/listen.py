"""Where a service listens: the socket, the names it answers to, its base URL, and the TLS files."""

import errno
import os
import socket
import ssl
from pathlib import Path

from apitorch_desktop.service.config import LOOPBACK_NAMES
from apitorch_desktop.utils.errors import UserError

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised here, not bound to

_BACKLOG = 2048


class CannotListen(UserError):  # noqa: N818 - named for what happened
    """`str()` is one sentence for the person; `kind` tells a taken port from the rest; `status` the exit status."""

    def __init__(self, sentence: str, kind: str = "cannot_listen", status: int = 1) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.status = status


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket that listens; connections wait until they are served. Raises CannotListen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListen(f"“{host}” is not an address of this machine: choose another with --host.") from error
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows it would let two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _refused(error, host, port) from error
    return bound


def _refused(error: OSError, host: str, port: int) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(
            f"Port {port} is taken by another program: choose another with --port, or 0 to have one picked.",
            "port_in_use",
        )
    if error.errno == errno.EACCES:
        return CannotListen(f"Port {port} is reserved for the system: choose one from 1024 up with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotListen(f"“{host}” is not an address of this machine: choose another with --host.")
    return CannotListen(f"The service cannot listen on {host}, port {port} ({error.strerror}).")


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    address: str = bound.getsockname()[0]
    return address.startswith("127.") or address == "::1"


def base_url(bound: socket.socket, host: str, *, tls: bool) -> str:
    """`http://127.0.0.1:8765/api/`; where it listens on all addresses, by the loopback one."""
    name = _WILDCARDS.get(host, host)
    name = f"[{name}]" if ":" in name else name
    return f"{'https' if tls else 'http'}://{name}:{bound.getsockname()[1]}/api/"


def names(host: str, hostnames: tuple[str, ...], *, loopback: bool) -> frozenset[str]:
    """The names that requests may call it by (lower case, no port)."""
    own = set() if loopback else {socket.gethostname(), f"{socket.gethostname().partition('.')[0]}.local"}
    if host not in _WILDCARDS:
        own.add(f"[{host}]" if ":" in host else host)
    return LOOPBACK_NAMES | {name.lower().rstrip(".") for name in {*own, *hostnames}}


def check_tls(cert: Path, key: Path) -> None:
    """Whether a certificate and its key can be used. Raises CannotListen."""
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise CannotListen(f"{path} cannot be read ({error.strerror}).", status=2) from error

    def no_password() -> str:
        raise CannotListen(f"{key} is protected by a password: give a key without one.", status=2)

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, no_password)
    except (ssl.SSLError, ValueError) as error:
        raise CannotListen(
            f"{cert} and {key} are not a certificate and its private key in PEM form.", status=2
        ) from error
