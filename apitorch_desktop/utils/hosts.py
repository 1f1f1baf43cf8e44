"""Names and addresses of this machine."""

import ipaddress
import socket
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
_HOSTS = Path("/etc/hosts")


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL that others wrote; all of them are empty where it is none, or its port is no number."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # as of `http://[::1`
        return SplitResult("", "", "", "", "")
    return parts


@lru_cache(1000)
def is_this_machine(host: str) -> bool:
    """Return whether a host, without a port, is this machine: by an address in any spelling, or by a name that needs no DNS.

    `127.1` and `2130706433` are loopback addresses to the system, and 0.0.0.0 is connected to as 127.0.0.1.
    """
    host = host.lower().rstrip(".").strip("[]").partition("%")[0]
    address = numeric_address(host)
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None) or address
        return bool(mapped.is_loopback or mapped.is_unspecified)
    return host in LOOPBACK_NAMES or host.endswith(".localhost") or host in _local_names()


def numeric_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is in numbers, also in the short forms of `inet_aton`; None for a name."""
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    if host[:1].isdigit() and host.isascii() and not host.isspace():
        with suppress(OSError, ValueError):
            return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


@cache
def _local_names() -> frozenset[str]:
    """Return the names that the hosts file gives a loopback address."""
    found: set[str] = set()
    with suppress(OSError, UnicodeDecodeError):
        for line in _HOSTS.read_text(encoding="utf-8").splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            with suppress(ValueError):
                if ipaddress.ip_address(address).is_loopback:
                    found.update(name.lower() for name in names)
    return frozenset(found)
