"""Owners and API keys: who may call, and whose training sets they then see."""

from apitorch_desktop.service.records import KeyRow, OwnerRow

LOCAL_OWNER = 1
"""The owner that is always there: the person whose machine this is."""


class Owners:
    """Owners and their keys. Thread-safe; what changes something returns when it is durable."""

    def of_key(self, key: str) -> int | None:
        """The owner an API key belongs to, or None. Quick: for each request. Any string may be given."""
        raise NotImplementedError

    def admit(self, key: str, owner: int = LOCAL_OWNER) -> None:
        """Let a key in for this run only: it lives in memory (APITORCH_API_KEY, the attach key)."""
        raise NotImplementedError

    def all(self) -> list[OwnerRow]:
        """All owners, the local one first."""
        raise NotImplementedError

    def make(self, name: str) -> OwnerRow:
        """A new owner. Raises Invalid for an empty or too long name, Conflict for one that is taken."""
        raise NotImplementedError

    def keys(self, owner: int | None = None) -> list[KeyRow]:
        """The stored keys of one owner or of all, oldest first."""
        raise NotImplementedError

    def make_key(self, owner: int = LOCAL_OWNER, note: str = "") -> tuple[KeyRow, str]:
        """A new stored key, and its row. Only its hash is kept: show it now. Raises NotFound."""
        raise NotImplementedError

    def revoke_key(self, key_id: int | str) -> KeyRow:
        """Let a stored key in no longer; its owner's training sets stay. Raises NotFound."""
        raise NotImplementedError
