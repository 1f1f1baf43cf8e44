"""Types that msgspec decodes into, safe on any thread."""

from threading import RLock
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_lock = RLock()
_prepared: set[Any] = set()


def prepared(kind: T) -> T:
    """Return a type once msgspec knows all about it, and about the types inside it.

    msgspec finds that out at the first use of a Struct. It keeps it on the class before it is complete, where another
    thread that decodes the same Struct, or one inside it, reads a null pointer: the process ends by SIGSEGV (msgspec
    0.22; `StructInfo` of `msgspec/_core.c`). Hence every type that is decoded into passes through here first, which
    `tests/utils/test_decoding.py` holds.
    """
    if kind not in _prepared:
        with _lock:
            decoder: Any = msgspec.msgpack.Decoder
            decoder(kind)
            _prepared.add(kind)
    return kind
