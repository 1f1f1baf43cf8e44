"""Repository of owners and their API keys; makes and hashes keys."""

import builtins
import hashlib
import hmac
import secrets
import string
import time

from sqlalchemy import Connection, bindparam, delete, func, select

from apitorch_desktop.api.types import KEY_LENGTH
from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import Repository, insert
from apitorch_desktop.service.storage.database import LOCAL_OWNER, Database
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import ApiKeyRow, OwnerRow
from apitorch_desktop.service.storage.schema import keys, owners
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.writer import Transaction, Writer

_ALPHABET = string.ascii_letters + string.digits
HINT_LENGTH = 6
_CACHE_SECONDS = 5.0
_MAX_CACHED = 10_000


def make_key() -> str:
    """Return a random key: 42 letters and digits, some 250 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH))


def hash_key(key: str) -> bytes:
    """Return the hash that is stored of a key: SHA-256, 32 bytes, of any string.

    A random key of 250 bits needs neither salt nor stretching.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


__all__ = ["LOCAL_OWNER", "OwnerRepository"]


class OwnerRepository(Repository):
    """Owners and their keys. Thread-safe; a change is durable when its method returns."""

    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database, writer)
        self._temporary: dict[bytes, int] = {}
        self._cache: dict[bytes, tuple[int, float]] = {}  # owner, and when the entry expires

    def cached_owner(self, key: str) -> int | None:
        """Return the owner of an API key as far as it is in memory; never blocks. Takes any string."""
        digest = hash_key(key)
        owner = None
        for each, temporary in self._temporary.items():
            if hmac.compare_digest(each, digest):
                owner = temporary
        if owner is None and (cached := self._cache.get(digest)) and cached[1] > time.monotonic():
            owner = cached[0]
        return owner

    def remembered_owner(self, key: str) -> int | None:
        """Return the owner that a key had when it was last looked up, for another few seconds; None if it never was.

        For a database that does not answer, in which no key can be revoked either.
        """
        digest = hash_key(key)
        if (cached := self._cache.get(digest)) is None:
            return None
        self._cache[digest] = cached[0], time.monotonic() + _CACHE_SECONDS
        return cached[0]

    def find_by_key(self, key: str) -> int | None:
        """Return the owner of an API key, or None; a stored key is cached for seconds. Takes any string."""
        if (owner := self.cached_owner(key)) is not None:
            return owner
        digest = hash_key(key)
        cache = self._cache
        with self._database.querying() as connection:
            row = _OF_HASH(connection, hash=digest).first()
        if row is None or not hmac.compare_digest(bytes(row.hash), digest):
            return None
        if len(cache) >= _MAX_CACHED:
            cache.clear()
        cache[digest] = int(row.owner_id), time.monotonic() + _CACHE_SECONDS
        return int(row.owner_id)

    def forget_keys(self) -> None:
        """Forget the keys that were looked up, since one may have been revoked by another process."""
        self._cache = {}  # a new one, since a look-up under way may still add to the old one

    def add_temporary_key(self, key: str, owner: int = LOCAL_OWNER) -> None:
        """Accept a key for this run only, in memory (APITORCH_API_KEY, the attach key)."""
        self._temporary = {**self._temporary, hash_key(key): owner}

    def all(self) -> list[OwnerRow]:
        """Return all owners, the local one first."""
        held = select(func.count()).where(keys.c.owner_id == owners.c.id).scalar_subquery()
        query = select(owners.c.id, owners.c.name, owners.c.created_at, held).order_by(owners.c.id)
        with self._database.querying() as connection:
            return [OwnerRow(*row) for row in connection.execute(query)]

    def create(self, name: str) -> OwnerRow:
        """Create an owner. Raises Invalid for an empty or too long name, RecordConflict for an existing one."""
        name = validation.name(name)

        def run(transaction: Transaction) -> OwnerRow:
            if transaction.execute(select(owners.c.id).where(owners.c.name == name)).first() is not None:
                raise RecordConflict(f"There is an owner “{name}” already. Choose another name.")
            time = validation.now()
            return OwnerRow(insert(transaction, owners, {"name": name, "created_at": time}), name, time)

        return self._writer.run(run)

    def keys(self, owner: int | None = None) -> builtins.list[ApiKeyRow]:
        """Return the stored keys of one owner or of all, oldest first."""
        with self._database.querying() as connection:
            return _keys(connection, None if owner is None else keys.c.owner_id == owner)

    def create_key(self, owner: int = LOCAL_OWNER, note: str = "") -> tuple[ApiKeyRow, str]:
        """Create a stored key; return its row and the key. Only its hash is stored: show it now. Raises RecordNotFound,
        Invalid.
        """
        key = make_key()
        note = validation.text(note, validation.LONGEST_NAME, "The note")

        def run(transaction: Transaction) -> ApiKeyRow:
            if transaction.execute(select(owners.c.id).where(owners.c.id == owner)).first() is None:
                raise RecordNotFound("There is no such owner.")
            values: dict[str, object] = {"owner_id": owner, "hash": hash_key(key), "hint": key[:HINT_LENGTH]}
            number = insert(transaction, keys, {**values, "note": note, "created_at": validation.now()})
            return _keys(transaction.connection, keys.c.id == number)[0]

        return self._writer.run(run), key

    def create_first_key(self, note: str) -> str | None:
        """Create a key of the local owner and return it; None where there is one, also of any other owner."""
        key = make_key()

        def run(transaction: Transaction) -> bool:
            transaction.execute(select(owners.c.id).where(owners.c.id == LOCAL_OWNER).with_for_update())
            if transaction.execute(select(keys.c.id).limit(1)).first() is not None:
                return False
            values = {"owner_id": LOCAL_OWNER, "hash": hash_key(key), "hint": key[:HINT_LENGTH], "note": note}
            insert(transaction, keys, {**values, "created_at": validation.now()})
            return True

        return key if self._writer.run(run) else None

    def revoke_key(self, key_id: int | str) -> ApiKeyRow:
        """Delete a stored key; its owner's training sets remain. Raises RecordNotFound."""
        number = validation.number(key_id)

        def run(transaction: Transaction) -> ApiKeyRow:
            found = [] if number is None else _keys(transaction.connection, keys.c.id == number)
            if not found:
                raise RecordNotFound("There is no such key. It may have been revoked already.")
            transaction.execute(delete(keys).where(keys.c.id == number))
            return found[0]

        row = self._writer.run(run)
        self.forget_keys()
        return row


_OF_HASH = PreparedStatement(select(keys.c.hash, keys.c.owner_id).where(keys.c.hash == bindparam("hash")))


def _keys(connection: Connection, condition: object) -> list[ApiKeyRow]:
    columns = (keys.c.id, keys.c.owner_id, owners.c.name, keys.c.hint, keys.c.note, keys.c.created_at)
    query = select(*columns).join(owners, owners.c.id == keys.c.owner_id).order_by(keys.c.id)
    if condition is not None:
        query = query.where(condition)  # type: ignore[arg-type]
    return [ApiKeyRow(*row) for row in connection.execute(query)]
