"""A cache of each training set's current head, loaded from the store when first used."""

import logging
import threading
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from apitorch_desktop.api import types
from apitorch_desktop.service.storage.errors import RecordNotFound
from apitorch_desktop.service.storage.records import VersionRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.vision.head import Head

_CAPACITY = 64
_log = logging.getLogger(__name__)


class CurrentHead(NamedTuple):
    """The head in use for a training set. `revision` is that of the training set it was trained on.

    `provisional`: trained on part of the images while the rest is being embedded; it has the number of the next
    version, and is not stored.
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
        self._heads: OrderedDict[int, CurrentHead] = OrderedDict()
        self._discards = 0

    def current(self, set_id: int) -> CurrentHead | None:
        """Return the head in use; None if there is none yet, or it cannot be read."""
        if not self._store.is_current:  # another process may have stored a newer one
            return self.load(set_id)
        with self._lock:
            if cached_head := self._heads.get(set_id):
                self._heads.move_to_end(set_id)
                return cached_head
            discards = self._discards
        loaded = self.load(set_id)
        if loaded:
            with self._lock:
                if discards == self._discards:  # else another version may have become current
                    loaded = self._heads.setdefault(set_id, loaded)  # a head put meanwhile is newer
                    self._trim()
        return loaded

    def cached(self, set_id: int) -> CurrentHead | None:
        """Return the head in memory, if there is one."""
        with self._lock:
            return self._heads.get(set_id)

    def load(self, set_id: int, version: int | None = None) -> CurrentHead | None:
        """Load a version from the store, by default the current one; None if it does not exist or cannot be read."""
        try:
            if version is None and self._store.jobs is not None and (found := self._store.models.preview(set_id)):
                return to_current_head(found[0], Head.from_bytes(found[1]))._replace(provisional=True)
            row, data = self._store.models.head(set_id, version)
            return to_current_head(row, Head.from_bytes(data))
        except RecordNotFound:
            return None
        except ValueError:
            _log.warning("a head of training set %d is damaged: it is trained anew", set_id)
            return None

    def put(self, set_id: int, current: CurrentHead) -> None:
        """Put a head to use."""
        with self._lock:
            self._heads[set_id] = current
            self._heads.move_to_end(set_id)
            self._trim()

    def discard(self, set_id: int) -> None:
        """Drop the head in memory; the next use loads it from the store."""
        with self._lock:
            self._heads.pop(set_id, None)
            self._discards += 1

    def receive(self, kind: str, set_id: int) -> None:
        """Drop what another process may have changed, for the store's `on_notice`."""
        if kind == "set":
            self.discard(set_id)
        elif kind == "all":
            with self._lock:
                self._heads.clear()
                self._discards += 1

    def _trim(self) -> None:
        while len(self._heads) > _CAPACITY:
            self._heads.popitem(last=False)


def to_current_head(row: VersionRow, head: Head) -> CurrentHead:
    """Return a stored version as the head in use."""
    return CurrentHead(row.version, row.trained_at, row.revision, row.encoder, head, decode_metrics(row))


def decode_metrics(row: VersionRow) -> types.Metrics | None:
    """Return the cross-validated metrics of a stored version."""
    try:
        return msgspec.json.decode(row.metrics, type=prepared(types.Metrics))
    except msgspec.DecodeError:
        return None
