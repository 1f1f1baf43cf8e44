"""Ids of images by slot, and slots by id: 20 bytes an image for an id of 40 hex digits, and a sorted index."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.intp]
"""Numbers of images in a table."""
Labels = NDArray[np.int32]
"""Codes of the labels of all images by slot, negative for those that were removed."""

FEW: Final = 32
"""Ids up to which each is looked up by itself."""
_RECENT = 1024
"""Ids that are looked up in a dict before they are merged into the index; a quarter of it at once are merged as they come."""
_ID = 20
_HEX_ID = 3 + 2 * _ID


class _Search(NamedTuple):
    """Ids of 40 hex digits as they are looked for: their bytes, and their keys sorted, with the places these come from.

    Many keys are searched in a fifth of the time in their order, as the search stays in the caches of the processor;
    sorting them takes another two fifths.
    """

    raw: NDArray[np.uint8]
    order: Slots
    keys: NDArray[np.uint64]

    @classmethod
    def of(cls, raw: NDArray[np.uint8]) -> _Search:
        """Return the search for ids given as bytes, a row each."""
        keys = _keys_of(raw)
        order = np.argsort(keys)
        return cls(raw, order, keys[order])


class PackedIds(Collection[str]):
    """Ids prepared on a lane, so that a table on the GUI thread finds them in a quarter of the time."""

    def __init__(self, image_ids: Collection[str]) -> None:
        raw = _raw_ids(image_ids)
        self.search = _Search.of(raw) if raw is not None else None
        self._odd = image_ids if raw is None else ()

    def __len__(self) -> int:
        return len(self._odd) if self.search is None else len(self.search.raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._odd if self.search is None else _hex_ids(self.search.raw))

    def __contains__(self, image_id: object) -> bool:
        return image_id in [*self]


class ImageIds:
    """Ids of the images of a table. An id may stand for several slots, of which one at most has not been removed."""

    def __init__(self) -> None:
        self._rows: NDArray[np.uint8] = np.empty((0, _ID), np.uint8)
        self._odd: dict[int, str] = {}
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._slots: Slots = np.empty(0, np.intp)
        self._recent: dict[str, int] = {}

    @classmethod
    def of_parts(cls, arrays: dict[str, NDArray[Any]], odd: dict[int, str]) -> ImageIds:
        """Return the ids that `parts` was about, and `odd` of them. Raises KeyError for an array that is missing."""
        ids = cls()
        ids._rows, ids._keys, ids._slots, ids._odd = arrays["ids"], arrays["keys"], arrays["slots_by_key"], odd
        return ids

    def parts(self, size: int) -> dict[str, NDArray[Any]]:
        """Return the ids of `size` slots as arrays, which share their memory; `odd` are not in them."""
        self._index()
        return {"ids": self._rows[:size], "keys": self._keys, "slots_by_key": self._slots}

    @property
    def odd(self) -> dict[int, str]:
        """Ids of another form than 40 hex digits, by slot."""
        return self._odd

    # --- look-up

    def id_of(self, slot: int) -> str:
        """Return the id of an image."""
        odd = self._odd.get(slot)
        return odd if odd is not None else "ti_" + self._rows[slot].tobytes().hex()

    def ids_of(self, slots: Slots) -> list[str]:
        """Return the ids of images."""
        found = _hex_ids(self._rows[slots])
        if self._odd:
            found = [self._odd.get(slot, name) for slot, name in zip(slots.tolist(), found, strict=True)]
        return found

    def find(self, image_id: str, label: Labels) -> int:
        """Return the slot of an image, -1 if there is none."""
        slot = self._recent.get(image_id, -1)
        if slot >= 0:
            return slot if label[slot] >= 0 else -1
        key = np.uint64(_key(image_id))
        place = int(np.searchsorted(self._keys, key))
        while place < len(self._keys) and self._keys[place] == key:
            slot = int(self._slots[place])
            if label[slot] >= 0 and self.id_of(slot) == image_id:
                return slot
            place += 1
        return -1

    def find_all(self, image_ids: Collection[str], label: Labels) -> Slots:
        """Return the slots of images in the order of the ids, without the unknown ones."""
        search = None
        if len(image_ids) >= FEW and len(self._keys):
            search = (image_ids if isinstance(image_ids, PackedIds) else PackedIds(image_ids)).search
        if search is None:
            found = [slot for image_id in image_ids if (slot := self.find(image_id, label)) >= 0]
            return np.array(found, np.intp)
        slots, right = self._find(search, label)
        if self._recent and not right.all():
            names = list(image_ids)
            for place in np.flatnonzero(~right).tolist():
                slots[place] = self.find(names[place], label) if names[place] in self._recent else -1
        else:
            slots[~right] = -1
        return slots[slots >= 0]

    def find_those_of(self, other: ImageIds, slots: Slots, label: Labels) -> Slots:
        """Return the slot here of each image of another table, -1 for those that are not here."""
        found, right = np.full(len(slots), -1, np.intp), np.zeros(len(slots), bool)
        if len(self._keys):
            found, right = self._find(_Search.of(other._rows[slots]), label)
        if other._odd:
            right &= ~np.isin(slots, list(other._odd))
        if self._recent or other._odd:
            for place in np.flatnonzero(~right).tolist():
                found[place] = self.find(other.id_of(int(slots[place])), label)
        else:
            found[~right] = -1
        return found

    def _find(self, search: _Search, label: Labels) -> tuple[Slots, NDArray[np.bool_]]:
        """Return a slot for each id of a search, and whether it is the right one; the index is not empty."""
        places = np.empty(len(search.keys), np.intp)
        places[search.order] = np.searchsorted(self._keys, search.keys)
        places[places == len(self._keys)] = 0
        slots: Slots = self._slots[places]
        right = (label[slots] >= 0) & (self._rows[slots] == search.raw).all(axis=1)
        wrong = np.flatnonzero(~right)
        while len(wrong):  # the next of the same key: an image that came back, or another one
            wrong = wrong[places[wrong] + 1 < len(self._keys)]
            wrong = wrong[self._keys[places[wrong] + 1] == self._keys[places[wrong]]]
            places[wrong] += 1
            slots[wrong] = self._slots[places[wrong]]
            right[wrong] = (label[slots[wrong]] >= 0) & (self._rows[slots[wrong]] == search.raw[wrong]).all(axis=1)
            wrong = wrong[~right[wrong]]
        return slots, right

    # --- changes

    def append(self, first: int, image_ids: list[str]) -> None:
        """Note the ids of new images, of which the first has the slot `first`."""
        end = first + len(image_ids)
        self._grow(end)
        raw = _raw_ids(image_ids)
        self._rows[first:end] = 0 if raw is None else raw
        if raw is not None and len(image_ids) >= _RECENT // 4:
            self._index()
            keys = _keys_of(raw)
            order = np.argsort(keys, kind="stable")
            self._merge(keys[order], order + first)
            return
        for slot, image_id in enumerate(image_ids, first):
            self._note(slot, image_id)
        if len(self._recent) > _RECENT:
            self._index()

    def absorb(self, first: int, other: ImageIds, count: int) -> None:
        """Note the `count` ids of another table, whose images get the slots from `first` on."""
        self._grow(first + count)
        self._rows[first : first + count] = other._rows[:count]
        self._odd |= {slot + first: image_id for slot, image_id in other._odd.items()}
        self._index()
        other._index()
        self._merge(other._keys, other._slots + first)

    def replace(self, old: str, new: str, slot: int) -> None:
        """Give an image another id."""
        self._recent.pop(old, None)
        self._note(slot, new)

    def _note(self, slot: int, image_id: str) -> None:
        raw = _raw(image_id)
        self._odd.pop(slot, None)
        if raw is None:
            self._odd[slot] = image_id
        else:
            self._rows[slot] = np.frombuffer(raw, np.uint8)
        self._recent[image_id] = slot

    def _grow(self, size: int) -> None:
        if size > len(self._rows):
            self._rows = enlarged(self._rows, max(size, len(self._rows) * 5 // 4 + 64))

    def _index(self) -> None:
        """Merge the recent ids into the index."""
        if not self._recent:
            return
        slots = np.fromiter(self._recent.values(), np.intp, len(self._recent))
        keys = _keys_of(self._rows[slots])
        for place in np.flatnonzero(np.isin(slots, list(self._odd))).tolist():
            keys[place] = _key(self._odd[int(slots[place])])
        self._recent = {}
        order = np.argsort(keys, kind="stable")
        self._merge(keys[order], slots[order])

    def _merge(self, keys: NDArray[np.uint64], slots: Slots) -> None:
        """Merge sorted keys of images that are not recent, with their slots, into the index."""
        places = np.searchsorted(self._keys, keys, side="right")
        self._keys = np.insert(self._keys, places, keys)
        self._slots = np.insert(self._slots, places, slots)


def _raw(image_id: str) -> bytes | None:
    """Return the bytes of an id of 40 hex digits, None for any other."""
    if len(image_id) != _HEX_ID or not image_id.startswith("ti_"):
        return None
    try:
        raw = bytes.fromhex(image_id[3:])
    except ValueError:
        return None
    return raw if "ti_" + raw.hex() == image_id else None


def _hex_ids(raw: NDArray[np.uint8]) -> list[str]:
    digits = raw.tobytes().hex()
    return ["ti_" + digits[start : start + 2 * _ID] for start in range(0, len(digits), 2 * _ID)]


def _raw_ids(image_ids: Collection[str]) -> NDArray[np.uint8] | None:
    """Return ids of 40 hex digits as an array, a row each; None if one is of another form."""
    joined = "".join(image_ids)
    if len(joined) != _HEX_ID * len(image_ids) or not joined.isascii():
        return None
    letters = np.frombuffer(joined.encode(), np.uint8).reshape(-1, _HEX_ID)
    digits = letters[:, 3:].tobytes().decode()
    if not (letters[:, :3] == np.frombuffer(b"ti_", np.uint8)).all():
        return None
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return None
    return np.frombuffer(raw, np.uint8).reshape(-1, _ID) if raw.hex() == digits else None


def _key(image_id: str) -> int:
    """Return what an id is sorted by, the same in every process: its first 8 bytes and its last ones, by exclusive or.

    Services may number images from either end; ids of another form are hashed.
    """
    raw = _raw(image_id) or blake2b(image_id.encode("utf-8", "replace"), digest_size=8).digest() + bytes(_ID - 8)
    return int.from_bytes(raw[:8], "big") ^ int.from_bytes(raw[-8:], "big")


def _keys_of(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    first, last = (np.ascontiguousarray(part).view(">u8")[:, 0].astype(np.uint64) for part in (raw[:, :8], raw[:, -8:]))
    return first ^ last


def enlarged(array: NDArray[Any], room: int) -> NDArray[Any]:
    """Return a copy with room for that many rows; what is not filled is anything."""
    larger = np.empty((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
