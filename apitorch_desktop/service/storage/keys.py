"""API keys: made, hashed, compared. Who they belong to is kept by `rows/owners.py`."""

import hashlib
import hmac
import secrets
import string

from apitorch_desktop.api.types import KEY_LENGTH

_ALPHABET = string.ascii_letters + string.digits
HINT_LENGTH = 6


def make_key() -> str:
    """A random key: 42 letters and digits, some 250 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH))


def hash_key(key: str) -> bytes:
    """What is kept of a key: SHA-256, 32 bytes. No salt and no stretching: a random key of 250 bits needs neither.

    Any string may be given, also one that is not Unicode.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def same(one: bytes, other: bytes) -> bool:
    """Whether two hashes are equal, in constant time."""
    return hmac.compare_digest(one, other)
