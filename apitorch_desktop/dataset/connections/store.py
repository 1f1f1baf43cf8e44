"""Stored connections to services, without their keys, and the check of an address and a key."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Any, Final

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, BadRequest, WrongKey
from apitorch_desktop.api.transport import normalize_url
from apitorch_desktop.api.types import KEY_LENGTH, Id, Ping
from apitorch_desktop.utils.files import atomic_write, move_into_place

EMBEDDED: Final = "embedded"
"""Id of the connection to the embedded service, which always exists."""
ENVIRONMENT: Final = "environment"
"""Prefix of the id of the connection that APITORCH_BASE_URL defines; its address follows (`environment_id`)."""
URL_VARIABLE: Final = "APITORCH_BASE_URL"
KEY_VARIABLE: Final = "APITORCH_API_KEY"
_FILE = "connections.json"
_COLORS = ("#0c8599", "#1971c2", "#2f9e44", "#9c36b5", "#5f3dc4")
"""Colors of connections for which none was chosen. No red, which reads as an error."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A service and its display name.

    `color` is `#rrggbb`. The `base_url` of the embedded service is empty, since its port changes.
    `scratch_training_set`: training set into which the user lets local files be uploaded temporarily, to be classified
    by their URL (`Workspace.classify`); None until the user was asked.
    """

    id: str
    name: str
    base_url: str = ""
    color: str = ""
    scratch_training_set: Id | None = None

    @property
    def embedded(self) -> bool:
        """True if it is the service that ships with the program."""
        return self.id == EMBEDDED

    @property
    def from_environment(self) -> bool:
        """True if the environment defines it: it is opened at start, and cannot be changed or removed."""
        return self.id.partition(":")[0] == ENVIRONMENT


@dataclass(slots=True)
class _Settings:
    current: str = EMBEDDED
    connections: dict[str, Connection] = field(default_factory=dict)


class ConnectionStore:
    """The user's connections, kept in `folder`. Thread-safe. Their keys are in `ApiKeyStore`.

    `note` is a sentence about anything unusual (the environment takes precedence; the file could not be read), or empty.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._path = folder / _FILE
        self._lock = RLock()
        self._chosen = ""
        self.note = ""
        self._settings = self._load()
        self._from_environment = self._read_environment(environment)

    def all(self) -> list[Connection]:
        """Return all connections: the embedded one, that of the environment, then the rest by name."""
        with self._lock:
            settings = self._settings
            embedded = settings.connections.get(EMBEDDED) or Connection(EMBEDDED, "This computer")
            embedded = replace(embedded, color=embedded.color or _COLORS[0])
            from_environment = [self._from_environment] if self._from_environment else []
            added = [connection for connection in settings.connections.values() if not connection.embedded]
            added.sort(key=lambda connection: (connection.name.casefold(), connection.id))
            return [embedded, *from_environment, *added]

    def get(self, connection_id: str) -> Connection:
        """Return a connection. Raises KeyError."""
        for connection in self.all():
            if connection.id == connection_id:
                return connection
        raise KeyError(connection_id)

    @property
    def current(self) -> Connection:
        """The open connection; before one is chosen, that of the environment or the one chosen last."""
        with self._lock:
            default = self._from_environment.id if self._from_environment else self._settings.current
            try:
                return self.get(self._chosen or default)
            except KeyError:
                return self.get(EMBEDDED)

    def choose(self, connection_id: str) -> Connection:
        """Make a connection the current one, also at the next start. Raises KeyError."""
        with self._lock:
            chosen = self.get(connection_id)
            self._chosen = connection_id
            if not chosen.from_environment:
                self._settings.current = connection_id
                self._save()
            return chosen

    def add(self, name: str, base_url: str, color: str = "") -> Connection:
        """Add a connection; without a color the least used one is taken. Raises BadRequest for an invalid address."""
        with self._lock:
            url = normalize_url(base_url)
            used = [connection.color for connection in self.all()]
            color = color or min(_COLORS, key=used.count)
            connection = Connection(secrets.token_hex(6), name.strip() or _host(url), url, color)
            self._settings.connections[connection.id] = connection
            self._save()
            return connection

    def update(self, connection: Connection) -> Connection:
        """Store a changed connection (made by `dataclasses.replace`). Raises KeyError, and BadRequest as `add`.

        A key belongs to an address: when that changes, the key has to be entered again.
        """
        with self._lock:
            self.get(connection.id)
            if connection.from_environment:
                self._from_environment = connection  # for this run
                return connection
            if not connection.embedded:
                url = normalize_url(connection.base_url)
                connection = replace(connection, base_url=url, name=connection.name.strip() or _host(url))
            self._settings.connections[connection.id] = connection
            self._save()
            return connection

    def remove(self, connection_id: str) -> None:
        """Remove a connection; remove its key from the `ApiKeyStore` first. Raises BadRequest for the built-in ones."""
        with self._lock:
            if connection_id.partition(":")[0] in {EMBEDDED, ENVIRONMENT}:
                raise BadRequest("This connection cannot be removed.", advice="")
            self._settings.connections.pop(connection_id, None)
            if self._chosen == connection_id:
                self._chosen = ""
            if self._settings.current == connection_id:
                self._settings.current = EMBEDDED
            self._save()

    def _read_environment(self, environment: Mapping[str, str]) -> Connection | None:
        url = environment.get(URL_VARIABLE, "").strip()
        if not url:
            return None
        try:
            url = normalize_url(url)
        except BadRequest as error:
            self.note = f"{URL_VARIABLE} is left aside. {error}"
            return None
        key = f" and {KEY_VARIABLE}" if environment.get(KEY_VARIABLE, "").strip() else ""
        self.note = f"{URL_VARIABLE}{key} decide which service is open: they override the settings here."
        return Connection(environment_id(url), f"{_host(url)} (environment)", url, _COLORS[1])

    def _load(self) -> _Settings:
        try:
            stored = json.loads(self._path.read_text("utf-8"))
            connections = map(_from_json, stored["connections"])
            by_id = {connection.id: connection for connection in connections}
            return _Settings(str(stored.get("current", EMBEDDED)), by_id)
        except FileNotFoundError:
            return _Settings()
        except OSError as error:
            self.note = f"The connections could not be read: {error.strerror or error}."
            return _Settings()
        except (ValueError, TypeError, KeyError, AttributeError):
            damaged = self._path.with_name(f"{_FILE}.damaged")
            try:
                move_into_place(self._path, damaged)
            except OSError:
                damaged = self._path
            self.note = f"The connections could not be read; the damaged file is {damaged}."
            return _Settings()

    def _save(self) -> None:
        connections = [_to_json(connection) for connection in self._settings.connections.values()]
        text = json.dumps({"current": self._settings.current, "connections": connections}, indent=2)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(self._path, mode=0o600) as part:
            part.write_bytes(text.encode())


def environment_id(base_url: str) -> str:
    """Return the id of the connection that the environment defines; it contains the address, so that data is kept apart."""
    return f"{ENVIRONMENT}:{base_url}"


def clean_key(text: str) -> str:
    """Strip from a pasted API key spaces, line breaks, quotes, `Bearer`, `-u`, a variable name and a final colon."""
    text = re.sub(r"[\u200b-\u200f\u2060\ufeff\u00ad]", "", text)
    text = re.sub(r"^\W*(?:export\s+|set\s+)?[\w ]*key\s*[=:]", "", text, flags=re.IGNORECASE)
    scheme = r"^[\s\"'“”‘’]*(?:authorization\s*:)?\s*(?:(?:bearer|basic|token)(?:\s*:|\s)|-u\s)"
    text = re.sub(scheme, "", text, flags=re.IGNORECASE)
    return "".join(text.split()).strip("\"'“”‘’`<>,;").rstrip(":")


def check(base_url: str, key: str) -> Ping:
    """Check an address and a key against the service. Raises ApiError, whose message states which of the two is wrong."""
    key = clean_key(key)
    if not key:
        raise WrongKey("There is no API key.", advice="Enter the key; the service’s account page shows it.")
    client = ApiClient(base_url, key, timeout=(5, 10), total=15, attempts=2)
    try:
        return client.ping()
    except WrongKey as error:
        wrong = WrongKey(str(error), status=error.status)
    finally:
        client.close()
    if len(key) != KEY_LENGTH:
        wrong.advice = f"An API Torch key has {KEY_LENGTH} characters; this one has {len(key)}. Copy it again."
    raise wrong


def _to_json(connection: Connection) -> dict[str, Any]:
    values = asdict(connection)
    values["colour"] = values.pop("color")  # its name in the file since 0.1.0
    return values


def _from_json(item: Any) -> Connection:
    texts = {"id": item["id"], "name": item["name"], "base_url": item["base_url"], "color": item["colour"]}
    if not all(isinstance(value, str) for value in texts.values()) or not texts["id"]:
        raise ValueError("not a connection")
    scratch = item.get("scratch_training_set")
    if texts["id"] != EMBEDDED:
        try:
            texts["base_url"] = normalize_url(texts["base_url"])
        except ApiError:
            raise ValueError("not an address") from None
    return Connection(**texts, scratch_training_set=Id(scratch) if isinstance(scratch, int | str) else None)


def _host(url: str) -> str:
    return url.split("/")[2]
