"""Access checks: the Host and Origin headers and the API key of a request."""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from apitorch_desktop.service.config import Config, Network
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.utils.hosts import is_this_machine, numeric_address, split_url

_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_CHALLENGE = [("www-authenticate", 'Basic realm="API Torch", charset="UTF-8"')]
_ADVICE = "Send the API key as the user name of HTTP Basic authentication, with a blank password."


def check_host(host: str, config: Config) -> None:
    """Raise HttpError 403 for a host (and port) that is not this service's.

    A page whose DNS name was pointed to this machine (DNS rebinding) still sends that name.
    """
    if not is_known_host(host, config):
        raise HttpError(
            403, f"This service is not at “{host[:100]}”. Call it as localhost, or add the name to the hosts it serves."
        )


def named_host(headers: Mapping[str, str], scope: Scope) -> str:
    """Return the host and port that a request names; in HTTP/1.0 it need not, and is for the address that it came to.

    No browser sends such a request, and simple probes of load balancers do.
    """
    if "host" in headers or scope["http_version"] != "1.0":
        return headers.get("host", "")
    name, port = scope["server"] or ("localhost", 0)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def origin_form(target: bytes) -> tuple[bytes, str]:
    """Return the path of a request target in absolute form and its host, which counts in place of the header (RFC 9112,
    3.2.2).
    """
    parts = split_url(target.decode("latin-1"))
    return (parts.path or "/").encode("latin-1"), parts.netloc if parts.scheme in {"http", "https"} else ""


def check_origin(headers: dict[str, str], host: str, *, by_link: bool) -> None:
    """Reject (403) requests that a browser sends on behalf of another site's page.

    `by_link` is for paths that a signed link opens, whose images a notebook page may embed.
    """
    origin = headers.get("origin")
    foreign = origin is not None and split_url(origin).netloc.lower() != host.lower()
    if not by_link and headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        foreign = foreign or headers.get("sec-fetch-mode") != "navigate"
    if foreign:
        raise HttpError(403, "Web pages of other sites may not call this service. Call it from a program.")


_NO_GZIP = re.compile(r"gzip;q=0(\.0*)?(,|$)")
_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"})


def is_local_call(client: str, headers: dict[str, str], config: Config) -> bool:
    """Return whether a program on this machine calls for itself, and no proxy for somebody else."""
    if config.behind_proxy or not _FORWARDED.isdisjoint(headers):
        return False
    return client.startswith("127.") or client in {"::1", "::ffff:127.0.0.1"}


def takes_gzip(headers: dict[str, str]) -> bool:
    """Return whether a client names gzip as an encoding that it takes."""
    accepted = headers.get("accept-encoding", "").lower().replace(" ", "")
    return "gzip" in accepted and _NO_GZIP.search(accepted) is None


async def authenticate(authorization: str | None, find_owner: Callable[[str], Awaitable[int | None]]) -> int:
    """Return the owner of the key in an Authorization header. Raises HttpError 401."""
    if authorization is None:
        raise HttpError(401, f"There is no API key. {_ADVICE}", _CHALLENGE)
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise HttpError(401, f"“{scheme[:20]}” authentication is not known here. {_ADVICE}", _CHALLENGE)
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # neither ASCII, base64 nor UTF-8
        raise HttpError(401, f"The Authorization header cannot be read. {_ADVICE}", _CHALLENGE) from None
    owner = await find_owner(user) if colon and not password else None
    if owner is None:
        what = "The password is not blank." if password else "This API key is not known here."
        raise HttpError(401, f"{what} {_ADVICE}", _CHALLENGE)
    return owner


def is_known_host(host: str, config: Config) -> bool:
    """Return whether `host`, with or without a port, is one of the names of this service."""
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found[1].removesuffix(".")
    if name in config.hosts:
        return True
    address = numeric_address(name.strip("[]")) if "." in name or ":" in name else None  # no bare number
    return address is not None and (config.any_address or is_this_machine(name))


class ForwardedHeaders:
    """ASGI middleware for a proxy in front: takes scheme and host from `X-Forwarded-Proto` and `X-Forwarded-Host`.

    Only from `proxies`, since any client can send them. Links in answers then begin as the proxy was called.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[Network]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, with the scheme and the host it came to the proxy with."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and self._is_proxy(client[0]):
            headers = dict(scope["headers"])
            scheme = _last(headers.get(b"x-forwarded-proto", b"")).lower()
            host = _last(headers.get(b"x-forwarded-host", b""))
            if scheme in (b"http", b"https"):
                scope = {**scope, "scheme": scheme.decode()}
            if host:
                scope = {**scope, "headers": [*((n, v) for n, v in scope["headers"] if n != b"host"), (b"host", host)]}
        await self._app(scope, receive, send)

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._proxies)


def _last(value: bytes) -> bytes:
    """Return the last of the values that proxies in a row have appended: that of the nearest one."""
    return value.rpartition(b",")[2].strip()
