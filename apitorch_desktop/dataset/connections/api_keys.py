"""API keys: in the keyring, which may be missing, locked, denied or slow; else for this run only; the environment wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock, Thread
from typing import Any

from apitorch_desktop.dataset.connections.store import KEY_VARIABLE, Connection, clean_key

SERVICE = "API Torch Desktop"
"""What the entries are called in the keyring."""
PATIENCE = 5.0
"""Seconds a keyring is waited for."""


class KeyLocation(StrEnum):
    """Where a key is."""

    NOWHERE = "nowhere"
    ENVIRONMENT = "environment"
    KEYRING = "keyring"
    THIS_RUN = "this run"
    """In memory only: gone when the program ends."""


class KeyringProblem(StrEnum):
    """What is the matter with the keyring."""

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
    """A key, or "" where there is none. `message` is a sentence about trouble with the keyring, or empty."""

    key: str
    kept: KeyLocation
    trouble: KeyringProblem = KeyringProblem.NONE
    message: str = ""

    def __repr__(self) -> str:
        return f"FoundKey(key={'…' if self.key else ''!r}, kept={self.kept!r}, trouble={self.trouble!r})"


class ApiKeyStore:
    """The keys of connections. Thread-safe; no call takes longer than `patience` seconds, whatever the keyring does.

    An entry is named by connection and address, so a key never goes to an address it was not given for. The embedded
    service's key is not here: its process makes it.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, patience: float = PATIENCE) -> None:
        self._environment = environment
        self._patience = patience
        self._run: dict[str, FoundKey] = {}
        self._lock = Lock()
        self._pending: dict[tuple[str, ...], Future[Any]] = {}

    def find(self, connection: Connection) -> FoundKey:
        """The key of a connection: from the environment for the connection it names, this run, or the keyring."""
        if connection.from_environment:
            named = clean_key(self._environment.get(KEY_VARIABLE, ""))
            if named:
                return FoundKey(named, KeyLocation.ENVIRONMENT)
        name = _name(connection)
        with self._lock:
            known = self._run.get(name)
        if known:
            return known
        trouble, value = self._ask("get", name, lambda keyring: keyring.get_password(SERVICE, name))
        if trouble:
            return FoundKey("", KeyLocation.NOWHERE, trouble, _SENTENCES[trouble])
        if not value:
            return FoundKey("", KeyLocation.NOWHERE)
        return self._remember(name, FoundKey(value, KeyLocation.KEYRING))

    def store(self, connection: Connection, key: str) -> FoundKey:
        """Keep a key, cleaned: in the keyring, or for this run only, and then `message` says so and why."""
        key = clean_key(key)
        name = _name(connection)

        def put(keyring: Any) -> bool:
            keyring.set_password(SERVICE, name, key)
            return bool(keyring.get_password(SERVICE, name) == key)  # the null back end forgets at once

        trouble, held = self._ask("set", name, put, key)
        if not trouble and not held:
            trouble = KeyringProblem.MISSING
        if not trouble:
            return self._remember(name, FoundKey(key, KeyLocation.KEYRING))
        message = f"{_SENTENCES[trouble]} The key is kept until the program ends."
        return self._remember(name, FoundKey(key, KeyLocation.THIS_RUN, trouble, message))

    def _remember(self, name: str, found: FoundKey) -> FoundKey:
        with self._lock:
            self._run[name] = found
        return found

    def remove(self, connection: Connection) -> FoundKey:
        """Forget a key; `message` says where the keyring may still have it."""
        name = _name(connection)
        with self._lock:
            known = self._run.pop(name, None)

        def drop(keyring: Any) -> None:
            if keyring.get_password(SERVICE, name) is not None:
                keyring.delete_password(SERVICE, name)

        trouble, _ = self._ask("delete", name, drop)
        if not trouble or trouble is KeyringProblem.MISSING or (known and known.kept is KeyLocation.THIS_RUN):
            return FoundKey("", KeyLocation.NOWHERE)
        return FoundKey("", KeyLocation.NOWHERE, trouble, f"{_SENTENCES[trouble]} The key may still be in it.")

    def _ask(self, *question: Any) -> tuple[KeyringProblem, Any]:
        """What the keyring says, and the trouble with it, on a thread that may hang without us.

        The same question asked again while the first hangs waits for the first.
        """
        verb, name, call, *rest = question
        key = (verb, name, *rest)
        with self._lock:
            future = self._pending.get(key)
            if future is None:
                future = self._pending[key] = Future()
                Thread(target=_answer, args=(future, call), name="keyring", daemon=True).start()
        try:
            outcome: tuple[KeyringProblem, Any] = future.result(self._patience)
        except LateError:
            return KeyringProblem.SLOW, None
        with self._lock:
            if self._pending.get(key) is future:
                del self._pending[key]
        return outcome


def _answer(future: Future[Any], call: Callable[[Any], Any]) -> None:
    try:
        import keyring

        future.set_result((KeyringProblem.NONE, call(keyring)))
    except BaseException as fault:  # noqa: BLE001 - back ends raise what their libraries do
        future.set_result((_trouble(fault), None))


def _trouble(fault: BaseException) -> KeyringProblem:
    try:
        from keyring import errors
    except Exception:  # noqa: BLE001 - a broken installation is a missing keyring
        return KeyringProblem.MISSING
    text = f"{fault} {fault.__cause__ or ''} {fault.__context__ or ''}".lower()
    if any(word in text for word in ("denied", "dismissed", "cancel", "not allowed", "not permitted")):
        return KeyringProblem.DENIED
    if isinstance(fault, errors.KeyringLocked) or "locked" in text:
        return KeyringProblem.LOCKED
    if isinstance(fault, (errors.NoKeyringError, errors.InitError, ImportError)) or "no recommended backend" in text:
        return KeyringProblem.MISSING
    return KeyringProblem.FAILED


def _name(connection: Connection) -> str:
    return f"{connection.id} {connection.base_url}"
