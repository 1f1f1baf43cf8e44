"""Filter of the photos shown: words, labels, age, size, the classifier's answer and findings of Review; each may be open."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from apitorch_desktop.api.types import INBOX, SPLITS, TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer

Answers = Mapping[str, OutOfFoldAnswer]
"""The classifier's answers by the ids of the images."""
FoundIds = Callable[[str], Collection[str]]
"""Ids of the images of a key of FOUND."""

SMALL = 224
"""Shorter side in pixels below which a photo is small: the encoder takes 224."""
AGES = ((0, "Any time"), (1, "In the last day"), (7, "In the last 7 days"), (30, "In the last 30 days"))
SIZES = (("", "Any size"), ("small", f"Smaller than {SMALL} pixels"), ("big", f"{SMALL} pixels and more"))
UNSURE, SURE = 0.6, 0.9
"""Confidence below which an answer is unsure, and from which it is sure."""
ANSWERS = (
    ("", "Any"),
    ("other", "Another label than the photo’s"),
    ("unsure", f"Less than {UNSURE:.0%} sure"),
    ("sure", f"{SURE:.0%} sure and more"),
)
SPLIT_CHOICES = (("", "Any"), *((split, split.capitalize()) for split in SPLITS), ("none", "None"))
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
    answer: Literal["", "other", "unsure", "sure"] = ""
    """Classifier's answer: see ANSWERS."""
    found: set[Literal["suspects", "unsure", "quality", "duplicates"]] = msgspec.field(default_factory=set)
    split: Literal["", "train", "validation", "test", "none"] = ""

    def chosen(self) -> int:
        """Return how many of the menu's criteria are set."""
        return (
            bool(self.labels)
            + bool(self.days)
            + bool(self.size)
            + bool(self.answer)
            + bool(self.split)
            + bool(self.found)
        )

    @property
    def asks_classifier(self) -> bool:
        """True if the classifier's answers decide which photos pass."""
        return bool(self.answer) or bool(_ANSWER_WORD.search(self.words.lower()))

    def keep(
        self, now: datetime, ids: FoundIds = _none, answers: Answers | None = None
    ) -> Callable[[TrainingImage], bool] | None:
        """Return a test for one photo, None if all pass; `ids` returns the ids of the images of a key of FOUND."""
        tests: list[Callable[[TrainingImage], bool]] = []
        if self.words.strip():
            tests.append(_words(self.words, answers or {}))
        if self.answer:
            tests.append(_answered(self.answer, answers or {}))
        if self.split:
            split = "" if self.split == "none" else self.split
            tests.append(lambda image: image.known_split == split)
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
            if self.asks_classifier:
                return f"No photo is found by “{self.words.strip()}”, as far as the classifier has answered."
            return f"Nothing has “{self.words.strip()}” in its label or file name."
        if self.found and self.chosen() == 1 and not self.words.strip():
            return "Review has found no such photo. Choose “Show all” in the filter."
        return "No photo passes both the search and the filter. Change one of them."

    def take(self, other: Filter) -> None:
        """Copy all criteria of another filter."""
        for name in self.__struct_fields__:
            value = getattr(other, name)
            setattr(self, name, set(value) if isinstance(value, set) else value)


_ANSWER_WORD = re.compile(r"(?:^|[\s-])(?:confidence|predicted)[<>=:]")
_CONFIDENCE = re.compile(r"confidence(<=|>=|<|>|=|:)([0-9]*[.,]?[0-9]+)(%?)")


def _words(text: str, answers: Answers) -> Callable[[TrainingImage], bool]:
    """Return a test for all the words, and for none of those after a minus or a “not”.

    A word may also be `label:dress`, `split:test`, `predicted:dress` (the classifier's answer) or `confidence<0.6` (how
    sure it is).
    """
    wanted, barred = ([_word(word, answers) for word in words] for words in _split(text))

    def found(image: TrainingImage) -> bool:
        return all(test(image) for test in wanted) and not any(test(image) for test in barred)

    return found


def _split(text: str) -> tuple[list[str], list[str]]:
    """Return the words that are wanted, and those after a minus or a “not”."""
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
    return wanted, barred


def _word(word: str, answers: Answers) -> Callable[[TrainingImage], bool]:
    """Return a test for one word. A word that is still being typed (`confidence<`) lets all pass."""
    key, _, label = word.partition(":")
    if key == "label":
        return lambda image: (image.label or "").startswith(label)
    if key == "split":
        return lambda image: (image.known_split or "none").startswith(label)
    if key == "predicted":
        known = any(answer.label == label for answer in answers.values())  # else it may still be being typed
        return lambda image: (
            (answer := answers.get(image.image_id)) is not None
            and (answer.label == label if known else answer.label.startswith(label))
        )
    if match := _CONFIDENCE.fullmatch(word):
        sign, number, per_cent = match.groups()
        value = float(number.replace(",", "."))
        compared = _COMPARED[sign]
        limit = value / 100 if per_cent or value > 1 else value
        return lambda image: (answer := answers.get(image.image_id)) is not None and compared(answer.confidence, limit)
    if _ANSWER_WORD.match(word):
        return lambda _image: True
    return lambda image: word in f"{image.label or ''} {image.original_filename or image.filename}".lower()


def _about(one: float, other: float) -> bool:
    return abs(one - other) < 0.005


_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": _about, ":": _about,
}  # fmt: skip


def _answered(wanted: str, answers: Answers) -> Callable[[TrainingImage], bool]:
    """Return a test for a key of ANSWERS; photos without an answer do not pass."""

    def found(image: TrainingImage) -> bool:
        answer = answers.get(image.image_id)
        if answer is None:
            return False
        if wanted == "other":
            return image.label not in (answer.label, INBOX)
        return answer.confidence < UNSURE if wanted == "unsure" else answer.confidence >= SURE

    return found


def now() -> datetime:
    """Return the current time in UTC, as the service writes times."""
    return datetime.now(UTC)
