"""Fetches `image_url` from the internet without access to private networks.

A name is resolved once for each redirect, every address is checked, and the connection goes to a checked address, so
that a second DNS answer (DNS rebinding) has no effect. TLS still checks the certificate against the name. One deadline
covers the whole fetch.
"""

import asyncio
import os
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

from apitorch_desktop import __version__
from apitorch_desktop.api.errors import parse_retry_after
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import Spool
from apitorch_desktop.utils.text import duration
from apitorch_desktop.vision.file_kinds import begins_as_image

# The IANA special-purpose registries, kept here because `is_global` has changed between Python releases.
_SPECIAL_IPV4 = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
_GLOBAL_IPV6 = ip_network("2000::/3")
_SPECIAL_IPV6 = [
    ip_network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")  # Teredo and ORCHID, documentation, 6to4
]
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an address, as `getaddrinfo` gives it, belongs to the public internet.

    IPv4 within IPv6 (mapped, NAT64) is checked as IPv4; tunnels of IPv4 (6to4, Teredo) are not public.
    """
    ip = ip_address(address.partition("%")[0])
    if "%" in address:
        return False
    if isinstance(ip, IPv6Address):
        return _is_public_ipv6(ip)
    return _is_public_ipv4(ip)


def _is_public_ipv6(ip: IPv6Address) -> bool:
    if ip.ipv4_mapped is not None:
        return _is_public_ipv4(ip.ipv4_mapped)
    if ip in _NAT64:
        return _is_public_ipv4(IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip in _GLOBAL_IPV6 and not any(ip in network for network in _SPECIAL_IPV6)


def _is_public_ipv4(ip: IPv4Address) -> bool:
    return not any(ip in network for network in _SPECIAL_IPV4)


Resolve = Callable[[str, int], Awaitable[list[str]]]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_BUSY = {429, 503}
_ADVICE = dict.fromkeys(
    (401, 403),
    "It asks for a login, or lets no programs in, or the address has expired. Download the image, and send it itself.",
)
_OF_SERVER = "It failed itself. Try again later."
_MOST_ATTEMPTS = 4
"""Requests to a server that asks to wait."""
_LONGEST_URL = 8192
_LONGEST_SHOWN = 200
_HEAD = 32 * 2**10
_CHUNK = 2**16
_PIECE = 2**20
_IMAGE_START = 12
"""Bytes by which an image is known."""


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    request: str
    shown: str
    """The address without its query, which may contain secrets."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class _Busy(Exception):  # noqa: N818 - named for what happened
    """A server asks to wait, for `seconds` where it says how long."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(status)
        self.status = status
        self.seconds = seconds


class _Unpacker:
    """Unpacks an answer that a server compresses whatever it is asked for, as buckets do with objects stored so.

    An encoding other than gzip and deflate is passed over if the bytes are those of an image. Raises HttpError 400 if
    they are not, and for data that is damaged.
    """

    def __init__(self, target: _Target, encoding: str) -> None:
        self._target = target
        self._encoding = encoding.strip().lower()
        self._stream: zlib._Decompress | None = None
        self._begun = self._encoding in {"", "identity"}
        self._unknown = not self._begun and self._encoding not in {"gzip", "x-gzip", "deflate"}
        self._start = b""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what a chunk unpacks to, in pieces of at most 1 MiB."""
        if self._unknown:
            data = self._start = self._start + data
            if len(data) < _IMAGE_START:
                return
            self._check_start()
        if not self._begun:
            self._begun = True
            if self._encoding == "deflate":
                self._stream = zlib.decompressobj(zlib.MAX_WBITS if data[:1] == b"x" else -zlib.MAX_WBITS)
            elif data[:1] == b"\x1f":  # else only the header says so
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        if self._stream is None:
            yield data
            return
        try:
            while data and not self._stream.eof:
                yield self._stream.decompress(data, _PIECE)
                data = self._stream.unconsumed_tail
        except zlib.error:
            raise self._damaged() from None

    def finish(self) -> None:
        """Check that nothing is missing at the end."""
        if self._unknown:
            self._check_start()
        if self._stream is not None and not self._stream.eof:
            raise self._damaged()

    def _check_start(self) -> None:
        """Take an answer of an unknown encoding as it is if it begins as an image."""
        if not begins_as_image(self._start):
            raise HttpError(
                400,
                f"{self._target.shown} sends an answer compressed by “{self._encoding[:20]}”, which is not read here. "
                "Send the image itself.",
            )
        self._unknown, self._begun = False, True

    def _damaged(self) -> HttpError:
        return HttpError(400, f"{self._target.shown} sends a compressed answer that is damaged. Send the image itself.")


class UrlFetcher:
    """Fetches images by URL. For one event loop.

    `max_bytes` limits the size, `deadline` the seconds of a whole fetch, `concurrency` the fetches at a time; `resolve`
    and `tls` are for tests.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        concurrency: int = 8,
        deadline: float = 30,
        connect: float = 8,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._deadline = deadline
        self._connect_timeout = connect
        self._allow_private = allow_private
        self._slots = asyncio.Semaphore(concurrency)
        self._resolver_pool = ThreadPoolExecutor(concurrency, "names")  # separate: a dead DNS delays nothing else
        self._resolve = resolve or self._lookup
        self._tls_override = tls

    def close(self) -> None:
        """End the threads."""
        self._resolver_pool.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str, into: Spool) -> str:
        """Write the bytes at a URL to `into`; return the last segment of its path as a file name.

        Raises HttpError 400 (413 for the size) with the reason.
        """
        target = _target(url)
        try:
            async with asyncio.timeout(self._deadline) as limit:
                for _ in range(_MOST_REDIRECTS + 1):
                    redirect = await self._fetch_patiently(target, into, limit.when() or 0)
                    if redirect is None:
                        return urlsplit(target.request).path.rpartition("/")[2]
                    target = _target(urljoin(f"{target.scheme}://{target.authority}{target.request}", redirect))
        except TimeoutError:
            raise HttpError(
                400, f"{target.shown} took longer than {self._deadline:g} seconds. Try again later."
            ) from None
        raise HttpError(400, f"{_target(url).shown} redirects more than {_MOST_REDIRECTS} times. Check the address.")

    async def _fetch_patiently(self, target: _Target, into: Spool, end: float) -> str | None:
        """Send a request, and again while the server asks to wait and does not mean later than `end`, in loop time."""
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._slots:
                    return await self._fetch_once(target, into)
            except _Busy as busy:
                wait = max(1.0, 2.0 ** (attempt - 1) if busy.seconds is None else busy.seconds)
                if attempt == _MOST_ATTEMPTS or asyncio.get_running_loop().time() + wait >= end:
                    asked = "was asked once" if attempt == 1 else f"was asked {attempt} times"
                    again = "Try again later." if busy.seconds is None else f"Try again in {duration(wait)}."
                    raise HttpError(
                        400, f"{target.shown} answers {busy.status}, that it has too much to do, and {asked}. {again}"
                    ) from None
            await asyncio.sleep(wait)

    async def _fetch_once(self, target: _Target, into: Spool) -> str | None:
        """Send one request; return the URL it redirects to, if any."""
        reader, writer = await self._connect(target)
        try:
            return await self._exchange(target, reader, writer, into)
        except (OSError, ssl.SSLError, h11.RemoteProtocolError):
            raise HttpError(
                400, f"{target.shown} broke off, or does not speak HTTP. Check the address, or try again."
            ) from None
        finally:
            writer.transport.abort()

    async def _connect(self, target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self._tls if target.scheme == "https" else None
        reason = ""
        for address in (await self._allowed_addresses(target))[:3]:
            try:
                async with asyncio.timeout(self._connect_timeout):
                    return await asyncio.open_connection(
                        address, target.port, ssl=tls, server_hostname=target.host if tls else None, limit=_CHUNK
                    )
            except TimeoutError:
                reason = "it does not answer"
            except ssl.SSLCertVerificationError as error:
                reason = f"its certificate is not valid: {error.verify_message}"
            except ssl.SSLError:
                reason = "it does not speak TLS"
            except OSError as error:
                reason = os.strerror(error.errno).lower() if error.errno else "there is no way to it"
        raise HttpError(400, f"{target.shown} cannot be reached: {reason}. Check the address.")

    async def _allowed_addresses(self, target: _Target) -> list[str]:
        try:
            addresses = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise HttpError(
                400, f"{target.shown} cannot be reached: there is no host “{target.host}”. Check the address."
            )
        if self._allow_private:
            return addresses
        public = [address for address in addresses if is_public(address)]
        if not public:
            raise HttpError(
                400,
                f"{target.shown} is on this machine or a private network, where images are not fetched from. "
                "Send the image itself, or start the service with --allow-private-urls.",
            )
        return public

    async def _lookup(self, host: str, port: int) -> list[str]:
        def resolve_name() -> list[str]:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(address[0]) for *_, address in addresses))

        return await asyncio.get_running_loop().run_in_executor(self._resolver_pool, resolve_name)

    async def _exchange(
        self, target: _Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, into: Spool
    ) -> str | None:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
        headers = [
            ("Host", target.authority),
            ("User-Agent", f"apitorch-desktop/{__version__}"),
            ("Accept", "image/*,*/*;q=0.5"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=target.request, headers=headers)
        writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        unpacked: _Unpacker | None = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Response):
                redirect = self._check_response(target, event)
                if redirect is not None:
                    return redirect
                unpacked = _Unpacker(target, dict(event.headers).get(b"content-encoding", b"").decode("latin-1"))
            elif isinstance(event, h11.Data) and unpacked is not None:
                for piece in unpacked.pieces(bytes(event.data)):
                    if len(into) + len(piece) > self._max_bytes:
                        raise self._too_large(target)
                    into.write(piece)
                    await asyncio.sleep(0)  # a bomb unpacks for longer than other requests should wait
            elif isinstance(event, h11.EndOfMessage) and unpacked is not None:
                unpacked.finish()
                return None

    def _check_response(self, target: _Target, response: h11.Response) -> str | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if response.status_code in _REDIRECTS and headers.get("location"):
            return headers["location"]
        if response.status_code in _BUSY:
            raise _Busy(response.status_code, parse_retry_after(headers.get("retry-after", "")))
        if response.status_code != 200:
            advice = _ADVICE.get(
                response.status_code, _OF_SERVER if response.status_code >= 500 else "Check the address."
            )
            raise HttpError(400, f"{target.shown} answers {response.status_code}, not an image. {advice}")
        if headers.get("content-type", "").lower().startswith("multipart/x-mixed-replace"):
            raise HttpError(400, f"{target.shown} sends a live stream without end, not an image. Send one image of it.")
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_bytes:
            raise self._too_large(target)
        return None

    def _too_large(self, target: _Target) -> HttpError:
        return HttpError(413, f"{target.shown} is larger than {self._max_bytes // 2**20} MiB. Send a smaller image.")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        if self._tls_override is not None:
            return self._tls_override
        import certifi  # a dependency of requests, for machines without a certificate store

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context


def _target(url: str) -> _Target:
    """Return the parts of a URL. Raises HttpError 400 for one that is not an http or https address."""
    shown = url if len(url) <= _LONGEST_SHOWN else f"{url[:_LONGEST_SHOWN]}…"
    shown = shown if shown.isprintable() else ascii(shown)
    if len(url) > _LONGEST_URL and url.lower().startswith(("http://", "https://")):
        raise HttpError(400, f"The image_url is longer than {_LONGEST_URL} characters. Send the image itself.")
    url = url[:_LONGEST_URL]
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if not _is_literal(parts) else parts.hostname or ""
    except (ValueError, UnicodeError):
        raise HttpError(400, f"“{shown}” is no URL. Send the address of an image, http:// or https://.") from None
    if parts.scheme not in _PORTS or not host:
        file = "the image itself, as a file of a multipart body" if parts.scheme == "data" else "the image itself"
        raise HttpError(400, f"“{shown}” is no http:// or https:// address. Send one, or {file}.")
    if parts.username is not None or parts.password is not None:
        raise HttpError(
            400, "The image_url holds a name or a password. Send an address without them, or the image itself."
        )
    request = _ascii(parts.path or "/") + (f"?{_ascii(parts.query)}" if parts.query else "")
    return _Target(
        scheme=parts.scheme,
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        request=request,
        shown=f"{parts.scheme}://{parts.netloc}{parts.path}"[:200],
    )


def _is_literal(parts: SplitResult) -> bool:
    return "[" in parts.netloc


def _ascii(text: str) -> str:
    """Percent-encode only the characters that a request line cannot contain."""
    return "".join(char if "!" <= char <= "~" else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)
