"""API keys of connections, stored in the system keyring or, where that is unusable, in memory for this run.

The environment takes precedence. A keyring may be missing, locked, denied or slow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock, Thread
from time import monotonic
from typing import Any

from apitorch_desktop.dataset.connections.store import KEY_VARIABLE, Connection, clean_key

SERVICE = "API Torch Desktop"
"""Service name of the entries in the keyring."""
PATIENCE = 5.0
"""Seconds to wait for the keyring where nobody can stop the wait."""
NOTICE = 1.0
"""Seconds after which a wait is reported to the user."""
_POLL = 0.1
"""Seconds between two checks whether a wait was stopped."""


class KeyLocation(StrEnum):
    """Location of a key."""

    NOWHERE = "nowhere"
    ENVIRONMENT = "environment"
    KEYRING = "keyring"
    THIS_RUN = "this run"
    """In memory only: gone when the program ends."""


class KeyringProblem(StrEnum):
    """Reason why the keyring cannot be used."""

    NONE = ""
    MISSING = "missing"
    LOCKED = "locked"
    DENIED = "denied"
    SLOW = "slow"
    FAILED = "failed"


_SENTENCES = {
    KeyringProblem.NONE: "",
    KeyringProblem.MISSING: "This machine has no keyring.",
    KeyringProblem.LOCKED: "The keyring is locked. Unlock it, then try again.",
    KeyringProblem.DENIED: "The keyring refused access to the key. Allow it when the system asks, then try again.",
    KeyringProblem.SLOW: "The keyring does not answer; a window of the system may be waiting for its password.",
    KeyringProblem.FAILED: "The keyring failed.",
}


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, "" if there is none. `message` is a sentence about a problem with the keyring, or empty."""

    key: str
    location: KeyLocation
    problem: KeyringProblem = KeyringProblem.NONE
    message: str = ""

    def __repr__(self) -> str:
        return f"FoundKey(key={'…' if self.key else ''!r}, location={self.location!r}, problem={self.problem!r})"


@dataclass(frozen=True, slots=True)
class KeyringWait:
    """A wait for the keyring that lasts until the user has entered its password, or stops the wait."""

    stopped: Callable[[], bool]
    report: Callable[[], object]
    """Called once, on the waiting thread, when the keyring has not answered within `NOTICE` seconds."""


class ApiKeyStore:
    """API keys of connections. Thread-safe.

    No call takes longer than `patience` seconds, whatever the keyring does. With a `KeyringWait` it lasts until the
    keyring answers or the wait is stopped.

    An entry is named by connection and address, so that a key is never sent to an address it was not entered for.
    The key of the embedded service is not stored: its process generates it.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, patience: float = PATIENCE) -> None:
        self._environment = environment
        self._patience = patience
        self._this_run: dict[str, FoundKey] = {}
        self._lock = Lock()
        self._pending: dict[tuple[str, ...], Future[Any]] = {}

    def find(self, connection: Connection, wait: KeyringWait | None = None) -> FoundKey:
        """Return the key of a connection: from the environment (for the connection it defines), this run, or the keyring."""
        if connection.from_environment:
            from_environment = clean_key(self._environment.get(KEY_VARIABLE, ""))
            if from_environment:
                return FoundKey(from_environment, KeyLocation.ENVIRONMENT)
        name = _entry_name(connection)
        with self._lock:
            known = self._this_run.get(name)
        if known:
            return known
        problem, value = self._ask("get", name, lambda keyring: keyring.get_password(SERVICE, name), wait=wait)
        if problem:
            return FoundKey("", KeyLocation.NOWHERE, problem, _SENTENCES[problem])
        if not value:
            return FoundKey("", KeyLocation.NOWHERE)
        return self._remember(name, FoundKey(value, KeyLocation.KEYRING))

    def store(self, connection: Connection, key: str, wait: KeyringWait | None = None) -> FoundKey:
        """Store a key, cleaned, in the keyring; if that fails, for this run only, and `message` says so and why."""
        key = clean_key(key)
        name = _entry_name(connection)

        def write(keyring: Any) -> bool:
            keyring.set_password(SERVICE, name, key)
            return bool(keyring.get_password(SERVICE, name) == key)  # the null back end forgets at once

        problem, stored = self._ask("set", name, write, key, wait=wait)
        if not problem and not stored:
            problem = KeyringProblem.MISSING
        if not problem:
            return self._remember(name, FoundKey(key, KeyLocation.KEYRING))
        message = f"{_SENTENCES[problem]} The key is kept until the program ends."
        return self._remember(name, FoundKey(key, KeyLocation.THIS_RUN, problem, message))

    def _remember(self, name: str, found: FoundKey) -> FoundKey:
        with self._lock:
            self._this_run[name] = found
        return found

    def remove(self, connection: Connection, wait: KeyringWait | None = None) -> FoundKey:
        """Delete a key; `message` warns if the keyring may still have it."""
        name = _entry_name(connection)
        with self._lock:
            known = self._this_run.pop(name, None)

        def erase(keyring: Any) -> None:
            if keyring.get_password(SERVICE, name) is not None:
                keyring.delete_password(SERVICE, name)

        problem, _ = self._ask("delete", name, erase, wait=wait)
        if not problem or problem is KeyringProblem.MISSING or (known and known.location is KeyLocation.THIS_RUN):
            return FoundKey("", KeyLocation.NOWHERE)
        return FoundKey("", KeyLocation.NOWHERE, problem, f"{_SENTENCES[problem]} The key may still be in it.")

    def _ask(self, *question: Any, wait: KeyringWait | None) -> tuple[KeyringProblem, Any]:
        """Call the keyring on a thread of its own, which may hang. Returns the problem and the answer.

        The same question asked again while the first call hangs waits for that call.
        """
        verb, name, call, *rest = question
        key = (verb, name, *rest)
        with self._lock:
            future = self._pending.get(key)
            if future is None:
                future = self._pending[key] = Future()
                Thread(target=_call_keyring, args=(future, call), name="keyring", daemon=True).start()
        try:
            outcome: tuple[KeyringProblem, Any] = (
                future.result(self._patience) if wait is None else _await(future, wait)
            )
        except FutureTimeout:
            return KeyringProblem.SLOW, None
        with self._lock:
            if self._pending.get(key) is future:
                del self._pending[key]
        return outcome


def _await(future: Future[Any], wait: KeyringWait) -> Any:
    """Return the result of a call. Raises TimeoutError: the wait was stopped."""
    notice = monotonic() + NOTICE
    reported = False
    while True:
        try:
            return future.result(_POLL)
        except FutureTimeout:
            if wait.stopped():
                raise
        if not reported and monotonic() >= notice:
            reported = True
            wait.report()


def _call_keyring(future: Future[Any], call: Callable[[Any], Any]) -> None:
    try:
        import keyring

        future.set_result((KeyringProblem.NONE, call(keyring)))
    except BaseException as error:  # noqa: BLE001 - back ends raise what their libraries do
        future.set_result((_problem_of(error), None))


def _problem_of(error: BaseException) -> KeyringProblem:
    try:
        from keyring import errors
    except Exception:  # noqa: BLE001 - a broken installation is a missing keyring
        return KeyringProblem.MISSING
    text = f"{error} {error.__cause__ or ''} {error.__context__ or ''}".lower()
    if any(word in text for word in ("denied", "dismissed", "cancel", "not allowed", "not permitted")):
        return KeyringProblem.DENIED
    if isinstance(error, errors.KeyringLocked) or "locked" in text:
        return KeyringProblem.LOCKED
    if isinstance(error, (errors.NoKeyringError, errors.InitError, ImportError)) or "no recommended backend" in text:
        return KeyringProblem.MISSING
    return KeyringProblem.FAILED


def _entry_name(connection: Connection) -> str:
    return f"{connection.id} {connection.base_url}"
