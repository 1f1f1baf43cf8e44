"""Which photos are shown: words, labels, age, size and what Review found, each of which may be left open."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from apitorch_desktop.api.types import TrainingImage

FoundIds = Callable[[str], Collection[str]]
"""Ids of the images of a key of FOUND."""

SMALL = 224
"""Pixels of the shorter side below which a photo is small: the encoder sees 224."""
AGES = ((0, "Any time"), (1, "In the last day"), (7, "In the last 7 days"), (30, "In the last 30 days"))
SIZES = (("", "Any size"), ("small", f"Smaller than {SMALL} pixels"), ("big", f"{SMALL} pixels and more"))
FOUND = (
    ("suspects", "Label looks wrong"),
    ("unsure", "Worth a check next"),
    ("quality", "Flagged: blurred, dark, tiny …"),
    ("duplicates", "Has a near-duplicate"),
)
"""What Review found; several mean any of them."""


def _none(_key: str) -> Collection[str]:
    return ()


@dataclass(slots=True)
class Filter:
    """What is asked for. `labels` empty means all; `but` all but these; `days` 0 any time; `size` "small", "big" or ""."""

    words: str = ""
    labels: set[str] = field(default_factory=set)
    but: bool = False
    days: int = 0
    size: str = ""
    found: set[str] = field(default_factory=set)

    def chosen(self) -> int:
        """How many of the menu's criteria narrow what is shown."""
        return bool(self.labels) + bool(self.days) + bool(self.size) + bool(self.found)

    def keep(self, now: datetime, ids: FoundIds = _none) -> Callable[[TrainingImage], bool] | None:
        """A test for one photo; None where all are shown."""
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
            wanted = frozenset(one for key in self.found for one in ids(key))
            tests.append(lambda image: image.image_id in wanted)
        if not tests:
            return None
        if len(tests) == 1:
            return tests[0]
        return lambda image: all(test(image) for test in tests)

    def sentence(self) -> str:
        """What was looked for, for when nothing is found."""
        if self.words.strip() and not self.chosen():
            return f"Nothing has “{self.words.strip()}” in its label or file name."
        if self.found and self.chosen() == 1 and not self.words.strip():
            return "Review has found no such photo. Choose “Show all” in the filter."
        return "Nothing is left by the search and the filter together. Loosen one of them."

    def take(self, other: Filter) -> None:
        """Be as another."""
        for name in ("words", "but", "days", "size"):
            setattr(self, name, getattr(other, name))
        self.labels, self.found = set(other.labels), set(other.found)

    def to_record(self) -> dict[str, Any]:
        """As it is kept; `of_record` makes a filter of it."""
        return {
            "words": self.words,
            "labels": sorted(self.labels),
            "but": self.but,
            "days": self.days,
            "size": self.size,
            "found": sorted(self.found),
        }


def of_record(record: object) -> Filter:
    """The filter of a record; what makes no sense in it is left out."""
    got: dict[str, Any] = record if isinstance(record, dict) else {}

    def names(key: str) -> set[str]:
        value = got.get(key)
        return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()

    words, days, size = got.get("words"), got.get("days"), got.get("size")
    return Filter(
        words if isinstance(words, str) else "",
        names("labels"),
        got.get("but") is True,
        days if days in {age for age, _ in AGES} else 0,
        size if size in {one for one, _ in SIZES} else "",
        names("found") & {key for key, _ in FOUND},
    )


def _words(text: str) -> Callable[[TrainingImage], bool]:
    """All the words must be there, none of those behind a minus or a “not”."""
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
    """The moment, as the service writes moments."""
    return datetime.now(UTC)
