"""Filter of the photos shown: words, labels, age, size and findings of Review, each of which may be left open."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from apitorch_desktop.api.types import TrainingImage

FoundIds = Callable[[str], Collection[str]]
"""Ids of the images of a key of FOUND."""

SMALL = 224
"""Shorter side in pixels below which a photo is small: the encoder takes 224."""
AGES = ((0, "Any time"), (1, "In the last day"), (7, "In the last 7 days"), (30, "In the last 30 days"))
SIZES = (("", "Any size"), ("small", f"Smaller than {SMALL} pixels"), ("big", f"{SMALL} pixels and more"))
FOUND = (
    ("suspects", "Label looks wrong"),
    ("unsure", "Worth a check next"),
    ("quality", "Flagged: blurred, dark, tiny …"),
    ("duplicates", "Has a near-duplicate"),
)
"""Findings of Review; several mean any of them."""


def _none(_key: str) -> Collection[str]:
    return ()


class Filter(msgspec.Struct):
    """Criteria for photos; kept in the settings under these names. Empty `labels`: all; `but`: all but these."""

    words: str = ""
    labels: set[str] = msgspec.field(default_factory=set)
    but: bool = False
    days: Literal[0, 1, 7, 30] = 0
    """Maximum age; 0 for any."""
    size: Literal["", "small", "big"] = ""
    found: set[Literal["suspects", "unsure", "quality", "duplicates"]] = msgspec.field(default_factory=set)

    def chosen(self) -> int:
        """Return how many of the menu's criteria are set."""
        return bool(self.labels) + bool(self.days) + bool(self.size) + bool(self.found)

    def keep(self, now: datetime, ids: FoundIds = _none) -> Callable[[TrainingImage], bool] | None:
        """Return a test for one photo, None if all pass; `ids` returns the ids of the images of a key of FOUND."""
        tests: list[Callable[[TrainingImage], bool]] = []
        if self.words.strip():
            tests.append(_words(self.words))
        if self.labels:
            labels, but = frozenset(self.labels), self.but
            tests.append(lambda image: (image.label in labels) is not but)
        if self.days:
            since = (now - timedelta(days=self.days)).isoformat()
            tests.append(lambda image: (image.created_at or "") >= since)
        if self.size:
            small = self.size == "small"
            tests.append(lambda image: (min(image.width or 0, image.height or 0) < SMALL) is small)
        if self.found:
            wanted = frozenset(image_id for key in self.found for image_id in ids(key))
            tests.append(lambda image: image.image_id in wanted)
        if not tests:
            return None
        if len(tests) == 1:
            return tests[0]
        return lambda image: all(test(image) for test in tests)

    def sentence(self) -> str:
        """Return a sentence for the case that no photo passes."""
        if self.words.strip() and not self.chosen():
            return f"Nothing has “{self.words.strip()}” in its label or file name."
        if self.found and self.chosen() == 1 and not self.words.strip():
            return "Review has found no such photo. Choose “Show all” in the filter."
        return "Nothing is left by the search and the filter together. Loosen one of them."

    def take(self, other: Filter) -> None:
        """Copy all criteria of another filter."""
        for name in self.__struct_fields__:
            value = getattr(other, name)
            setattr(self, name, set(value) if isinstance(value, set) else value)


def _words(text: str) -> Callable[[TrainingImage], bool]:
    """Return a test for all the words, and for none of those after a minus or a “not”."""
    wanted: list[str] = []
    barred: list[str] = []
    negative = False
    words = text.lower().split()
    for place, word in enumerate(words):
        if word == "not" and len(words) > 1:
            negative = True  # a last one waits for its word
        elif word.startswith("-") and len(word) > 1:
            barred.append(word[1:])
        else:
            (barred if negative and place else wanted).append(word)
            negative = False

    def found(image: TrainingImage) -> bool:
        name = f"{image.label or ''} {image.original_filename or image.filename}".lower()
        return all(word in name for word in wanted) and not any(word in name for word in barred)

    return found


def now() -> datetime:
    """Return the current time in UTC, as the service writes times."""
    return datetime.now(UTC)
