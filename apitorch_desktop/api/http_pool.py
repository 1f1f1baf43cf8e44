"""Sender: one thread's connections. `requests` decides on proxies and certificates, `urllib3` sends and receives.

For each origin that is asked once; a call then costs half of what it costs through `requests.Session.request`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests import PreparedRequest
from requests.utils import select_proxy

from apitorch_desktop import __version__
from apitorch_desktop.api.bounded import Deadline, DeadlineAdapter


class HttpPool:
    """Sends requests as they are given: no redirects, no cookies, no .netrc. For one thread, but for `close`.

    `timeout` is (connect, silence) in seconds. Raises what requests, urllib3 and the system raise.
    """

    def __init__(self, timeout: tuple[float, float]) -> None:
        self.watch = Deadline()
        self._timeout = urllib3.Timeout(connect=timeout[0], read=timeout[1])
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, DeadlineAdapter(self.watch))
        self._pools: dict[str, tuple[Any, dict[str, str], bool]] = {}

    def close(self) -> None:
        """Close the connections that are kept alive; the next call opens new ones."""
        self._session.close()
        self._pools = {}

    def send(
        self, method: str, origin: str, url: str, headers: Mapping[str, str], body: Any, *, direct: bool
    ) -> urllib3.BaseHTTPResponse:
        """The answer as soon as its headers are there. `direct`: past any proxy."""
        pool, more, absolute = self._pools.get(origin) or self._pool(origin, url, direct)
        parts = urlsplit(url)
        target = parts.path or "/"
        if parts.query:
            target += f"?{parts.query}"
        if absolute:
            target = f"{parts.scheme}://{parts.netloc}{target}"
        answer: urllib3.BaseHTTPResponse = pool.urlopen(
            method,
            target,
            body=body,
            headers={"User-Agent": f"apitorch-desktop/{__version__}", **more, **headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
            preload_content=False,
        )
        return answer

    def _pool(self, origin: str, url: str, direct: bool) -> tuple[Any, dict[str, str], bool]:
        """The connections to an origin, headers for a proxy, and whether that wants to be told the whole address."""
        past = {"no_proxy": urlsplit(url).hostname or ""} if direct else {}
        settings: Any = self._session.merge_environment_settings(url, past, True, None, None)
        proxies, verify = settings["proxies"], settings["verify"]
        prepared: PreparedRequest = requests.Request("GET", url).prepare()
        adapter: Any = self._session.get_adapter(url)
        pool = adapter.get_connection_with_tls_context(prepared, verify, proxies=proxies)
        adapter.cert_verify(pool, url, verify, None)
        proxy = select_proxy(url, proxies)
        absolute = proxy is not None and url.startswith("http:") and not proxy.startswith("socks")
        self._pools[origin] = found = (pool, adapter.proxy_headers(proxy) if absolute else {}, absolute)
        return found
