"""Owners and API keys: who may call, and whose training sets they then see."""

import builtins

from sqlalchemy import Connection, bindparam, delete, func, select

from apitorch_desktop.service.storage import validation
from apitorch_desktop.service.storage.base import Repository, insert
from apitorch_desktop.service.storage.database import LOCAL_OWNER, Database
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.keys import HINT_LENGTH, hash_key, make_key, same
from apitorch_desktop.service.storage.records import ApiKeyRow, OwnerRow
from apitorch_desktop.service.storage.schema import keys, owners
from apitorch_desktop.service.storage.statements import PreparedStatement
from apitorch_desktop.service.storage.writer import Transaction, Writer

__all__ = ["LOCAL_OWNER", "OwnerRepository"]


class OwnerRepository(Repository):
    """Owners and their keys. Thread-safe; what changes something returns when it is durable."""

    def __init__(self, database: Database, writer: Writer) -> None:
        super().__init__(database, writer)
        self._admitted: dict[bytes, int] = {}

    def of_key(self, key: str) -> int | None:
        """The owner an API key belongs to, or None. Quick: for each request. Any string may be given."""
        digest = hash_key(key)
        admitted = None
        for each, owner in self._admitted.items():
            if same(each, digest):
                admitted = owner
        if admitted is not None:
            return admitted
        with self._database.reading() as connection:
            row = _OF_HASH(connection, hash=digest).first()
        return int(row.owner_id) if row is not None and same(bytes(row.hash), digest) else None

    def admit(self, key: str, owner: int = LOCAL_OWNER) -> None:
        """Let a key in for this run only: it lives in memory (APITORCH_API_KEY, the attach key)."""
        self._admitted = {**self._admitted, hash_key(key): owner}

    def all(self) -> list[OwnerRow]:
        """All owners, the local one first."""
        held = select(func.count()).where(keys.c.owner_id == owners.c.id).scalar_subquery()
        query = select(owners.c.id, owners.c.name, owners.c.created_at, held).order_by(owners.c.id)
        with self._database.reading() as connection:
            return [OwnerRow(*row) for row in connection.execute(query)]

    def make(self, name: str) -> OwnerRow:
        """A new owner. Raises Invalid for an empty or too long name, Conflict for one that is taken."""
        name = validation.name(name)

        def run(transaction: Transaction) -> OwnerRow:
            if transaction.execute(select(owners.c.id).where(owners.c.name == name)).first() is not None:
                raise RecordConflict(f"There is an owner “{name}” already. Choose another name.")
            time = validation.now()
            return OwnerRow(insert(transaction, owners, {"name": name, "created_at": time}), name, time)

        return self._writer.run(run)

    def keys(self, owner: int | None = None) -> builtins.list[ApiKeyRow]:
        """The stored keys of one owner or of all, oldest first."""
        with self._database.reading() as connection:
            return _keys(connection, None if owner is None else keys.c.owner_id == owner)

    def make_key(self, owner: int = LOCAL_OWNER, note: str = "") -> tuple[ApiKeyRow, str]:
        """A new stored key, and its row. Only its hash is kept: show it now. Raises NotFound, Invalid."""
        key = make_key()
        note = validation.text(note, validation.LONGEST_NAME, "The note")

        def run(transaction: Transaction) -> ApiKeyRow:
            if transaction.execute(select(owners.c.id).where(owners.c.id == owner)).first() is None:
                raise RecordNotFound("There is no such owner.")
            values: dict[str, object] = {"owner_id": owner, "hash": hash_key(key), "hint": key[:HINT_LENGTH]}
            number = insert(transaction, keys, {**values, "note": note, "created_at": validation.now()})
            return _keys(transaction.connection, keys.c.id == number)[0]

        return self._writer.run(run), key

    def revoke_key(self, key_id: int | str) -> ApiKeyRow:
        """Let a stored key in no longer; its owner's training sets stay. Raises NotFound."""
        number = validation.number(key_id)

        def run(transaction: Transaction) -> ApiKeyRow:
            found = [] if number is None else _keys(transaction.connection, keys.c.id == number)
            if not found:
                raise RecordNotFound("There is no such key. It may have been revoked already.")
            transaction.execute(delete(keys).where(keys.c.id == number))
            return found[0]

        return self._writer.run(run)


_OF_HASH = PreparedStatement(select(keys.c.hash, keys.c.owner_id).where(keys.c.hash == bindparam("hash")))


def _keys(connection: Connection, condition: object) -> list[ApiKeyRow]:
    columns = (keys.c.id, keys.c.owner_id, owners.c.name, keys.c.hint, keys.c.note, keys.c.created_at)
    query = select(*columns).join(owners, owners.c.id == keys.c.owner_id).order_by(keys.c.id)
    if condition is not None:
        query = query.where(condition)  # type: ignore[arg-type]
    return [ApiKeyRow(*row) for row in connection.execute(query)]
