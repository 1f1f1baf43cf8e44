"""What went wrong on the way to a service, said for the person who reads it."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
import urllib3

from apitorch_desktop.api.errors import ApiError, BadRequest, ConnectionFailed, TimedOut


def explain(fault: Exception, url: str) -> ApiError:
    """The error for an exception of requests, urllib3 or the system. Nothing of `fault` stays in it but its reason."""
    host = urlsplit(url).hostname
    chain = _chain(fault)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    failure: ApiError
    if has(requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError, UnicodeError):
        return BadRequest(f"“{url[:100]}” is no web address.", advice="Check the address of the connection.")
    if has(requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        failure = ConnectionFailed(
            f"The connection to {host} cannot be made secure: {_tls_reason(chain)}.",
            advice="Check the address and this machine’s clock; the network may be interfering.",
        )
        failure.can_retry = False
        return failure
    if has(requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        failure = ConnectionFailed(
            f"The proxy on the way to {host} does not let the call through.",
            advice="Check this machine’s proxy settings.",
        )
        failure.unsent = True
        return failure
    if has(urllib3.exceptions.NameResolutionError):
        failure = ConnectionFailed(f"There is no “{host}”, or no network to ask for it.")
        failure.unsent = True
        return failure
    if has(urllib3.exceptions.NewConnectionError, ConnectionRefusedError):  # before its base, ConnectTimeoutError
        failure = ConnectionFailed(f"Nothing answers at {urlsplit(url).netloc}{_reason(chain)}.")
        failure.unsent = True
        return failure
    if has(urllib3.exceptions.ConnectTimeoutError, requests.exceptions.ConnectTimeout):
        late = TimedOut(f"{host} does not answer.", advice="Check the network and the address of the connection.")
        late.unsent = True
        return late
    if has(TimeoutError, urllib3.exceptions.TimeoutError, requests.exceptions.Timeout):
        return TimedOut(f"{host} took too long.")
    return ConnectionFailed(f"The connection to {host} broke off{_reason(chain)}.")


def _chain(fault: BaseException) -> list[BaseException]:
    """The exception with all it was made from: causes, contexts, `reason`s and wrapped arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [fault]
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and link not in found:
            found.append(link)
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return found


def _reason(chain: list[BaseException]) -> str:
    for link in chain:
        if isinstance(link, OSError) and link.strerror and isinstance(link.errno, int):
            return f" ({link.strerror[0].lower()}{link.strerror[1:]})"
    return ""


def _tls_reason(chain: list[BaseException]) -> str:
    import ssl

    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"its certificate is not valid ({link.verify_message})"
        if isinstance(link, ssl.SSLError) and link.reason:
            return link.reason.replace("_", " ").lower()
    return "its certificate is not valid"
