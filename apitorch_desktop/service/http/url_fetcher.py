"""Fetcher: gets `image_url` from the internet without being led anywhere else.

A name is resolved once for each hop, every address is checked, and the connection goes to a checked address, so that no
second answer of the DNS counts. TLS still checks the certificate against the name. One deadline covers a whole fetch.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

from apitorch_desktop import __version__
from apitorch_desktop.service.http.addresses import is_public
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import Spool

Resolve = Callable[[str, int], Awaitable[list[str]]]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_LONGEST_URL = 8192
_HEAD = 32 * 2**10
_CHUNK = 2**16


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    request: str
    shown: str
    """The address without its query: it may hold secrets, and the person knows it anyway."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class UrlFetcher:
    """Fetches images. For one event loop.

    `most` bounds the bytes, `deadline` the seconds of a whole fetch, `at_once` the fetches under way; `resolve` and
    `tls` are for tests.
    """

    def __init__(
        self,
        *,
        most: int,
        at_once: int = 8,
        deadline: float = 30,
        connect: float = 8,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._most = most
        self._deadline = deadline
        self._connect_time = connect
        self._allow_private = allow_private
        self._slots = asyncio.Semaphore(at_once)
        self._names = ThreadPoolExecutor(at_once, "names")  # apart, so that a dead DNS holds up nothing else
        self._resolve = resolve or self._lookup
        self._given_tls = tls

    def close(self) -> None:
        """End the threads."""
        self._names.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str, into: Spool) -> str:
        """Write the bytes at a URL to `into`; answers the last part of its path as a file name.

        Raises Refusal 400 (413 for the size) that says what is wrong with the URL or the answer.
        """
        target = _target(url)
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                for _ in range(_MOST_REDIRECTS + 1):
                    onward = await self._hop(target, into)
                    if onward is None:
                        return urlsplit(target.request).path.rpartition("/")[2]
                    target = _target(urljoin(f"{target.scheme}://{target.authority}{target.request}", onward))
        except TimeoutError:
            raise HttpError(
                400, f"{target.shown} took longer than {self._deadline:g} seconds. Try again later."
            ) from None
        raise HttpError(400, f"{_target(url).shown} redirects more than {_MOST_REDIRECTS} times.")

    async def _hop(self, target: _Target, into: Spool) -> str | None:
        """One request; answers where it redirects to."""
        reader, writer = await self._connect(target)
        try:
            return await self._exchange(target, reader, writer, into)
        except (OSError, ssl.SSLError, h11.RemoteProtocolError):
            raise HttpError(400, f"{target.shown} broke off, or does not speak HTTP.") from None
        finally:
            writer.transport.abort()

    async def _connect(self, target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self._tls if target.scheme == "https" else None
        reason = ""
        for address in (await self._addresses(target))[:3]:
            try:
                async with asyncio.timeout(self._connect_time):
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
                reason = error.strerror or "there is no way to it"
        raise HttpError(400, f"{target.shown} cannot be reached: {reason}. Check the address.")

    async def _addresses(self, target: _Target) -> list[str]:
        try:
            found = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise HttpError(
                400, f"{target.shown} cannot be reached: there is no host “{target.host}”. Check the address."
            )
        if self._allow_private:
            return found
        public = [address for address in found if is_public(address)]
        if not public:
            raise HttpError(
                400,
                f"{target.shown} is on this machine or a private network, where images are not fetched from. "
                "Send the image itself, or start the service with --allow-private-urls.",
            )
        return public

    async def _lookup(self, host: str, port: int) -> list[str]:
        def look() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(address[0]) for *_, address in found))

        return await asyncio.get_running_loop().run_in_executor(self._names, look)

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
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Response):
                onward = self._judge(target, event)
                if onward is not None:
                    return onward
            elif isinstance(event, h11.Data):
                if len(into) + len(event.data) > self._most:
                    raise self._too_large(target)
                into.write(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return None

    def _judge(self, target: _Target, response: h11.Response) -> str | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if response.status_code in _REDIRECTS and headers.get("location"):
            return headers["location"]
        if response.status_code != 200:
            raise HttpError(400, f"{target.shown} answers {response.status_code}, not an image. Check the address.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpError(400, f"{target.shown} sends a compressed answer, which nobody asked for.")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large(target)
        return None

    def _too_large(self, target: _Target) -> HttpError:
        return HttpError(413, f"{target.shown} is larger than {self._most // 2**20} MiB. Send a smaller image.")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        if self._given_tls is not None:
            return self._given_tls
        import certifi  # comes with requests; a machine without a store of its own needs it

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context


def _target(url: str) -> _Target:
    """A URL taken apart. Raises Refusal 400 for one that is not an http or https address."""
    shown = url[:200] if url.isprintable() else ascii(url[:200])
    if len(url) > _LONGEST_URL:
        raise HttpError(400, f"The image_url is longer than {_LONGEST_URL} characters.")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if not _is_literal(parts) else parts.hostname or ""
    except (ValueError, UnicodeError):
        raise HttpError(400, f"“{shown}” is no URL. Send the address of an image, http:// or https://.") from None
    if parts.scheme not in _PORTS or not host:
        raise HttpError(400, f"“{shown}” is no http:// or https:// address. Send one, or the image itself.")
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
    """Percent-encode what may not stand in a request line, and nothing else."""
    return "".join(char if "!" <= char <= "~" else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)
