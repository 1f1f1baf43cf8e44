"""Heads: each training set's current head in memory, loaded from the store when it is first asked for."""

import logging
import threading
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from apitorch_desktop.api import types
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.records import VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.head import Head

_KEPT = 64
_log = logging.getLogger(__name__)


class CurrentHead(NamedTuple):
    """The head that answers for a training set. `revision` of the training set it learned from.

    `provisional`: learned from part of the images while the rest is still being looked at; it has the number of the
    version to come, and is not in the store.
    """

    version: int
    trained_at: str
    revision: int
    encoder: str
    head: Head
    metrics: types.Metrics | None
    provisional: bool = False


class HeadCache:
    """The current heads, the 64 used last. Thread-safe."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, CurrentHead] = OrderedDict()
        self._drops = 0

    def current(self, set_id: int) -> CurrentHead | None:
        """The head that answers now; None where there is none yet, or it cannot be read."""
        with self._lock:
            if kept := self._kept.get(set_id):
                self._kept.move_to_end(set_id)
                return kept
            drops = self._drops
        loaded = self.load(set_id)
        if loaded:
            with self._lock:
                if drops == self._drops:  # else another version may have been made current meanwhile
                    loaded = self._kept.setdefault(set_id, loaded)  # one that was put meanwhile is newer
                    self._trim()
        return loaded

    def held(self, set_id: int) -> CurrentHead | None:
        """The head in memory, where there is one."""
        with self._lock:
            return self._kept.get(set_id)

    def load(self, set_id: int, version: int | None = None) -> CurrentHead | None:
        """A version from the store, the current one by default; None where it is not there or cannot be read."""
        try:
            row, data = self._store.learning.head(set_id, version)
            return current_of(row, Head.from_bytes(data))
        except RecordNotFound:
            return None
        except ValueError:
            _log.warning("a head of training set %d is damaged: it is trained anew", set_id)
            return None

    def put(self, set_id: int, current: CurrentHead) -> None:
        """Let a head answer from now on."""
        with self._lock:
            self._kept[set_id] = current
            self._kept.move_to_end(set_id)
            self._trim()

    def drop(self, set_id: int) -> None:
        """Forget what is in memory; the next question asks the store."""
        with self._lock:
            self._kept.pop(set_id, None)
            self._drops += 1

    def _trim(self) -> None:
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def current_of(row: VersionRow, head: Head) -> CurrentHead:
    """A stored version as the one that answers."""
    return CurrentHead(row.version, row.trained_at, row.revision, row.encoder, head, metrics_of(row))


def metrics_of(row: VersionRow) -> types.Metrics | None:
    """The cross-validated figures of a stored version."""
    try:
        return msgspec.json.decode(row.metrics, type=types.Metrics)
    except msgspec.DecodeError:
        return None
