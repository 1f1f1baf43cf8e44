"""Filter of the photos shown: words, labels, age, size, the classifier's answer and findings of Review; each may be open."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from apitorch_desktop.api.types import INBOX, SPLITS
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer

if TYPE_CHECKING:  # numpy comes with the first images, on a lane
    from apitorch_desktop.dataset.workspace.image_table import ImageTable, Mask

    Test = Callable[[ImageTable], Mask]

Answers = Mapping[str, OutOfFoldAnswer]
"""The classifier's answers by the ids of the images."""
FoundIds = Callable[[str], Collection[str]]
"""Ids of the images of a key of FOUND."""

NO_LABEL = -3
"""Code of no label at all, not even that of removed images: compared with it, a column is all false."""
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

    def keep(self, now: datetime, ids: FoundIds = _none, answers: Answers | None = None) -> Test | None:
        """Return what finds the photos that pass, None if all do; `ids` returns the ids of the images of a key of FOUND."""
        tests: list[Test] = []
        if self.words.strip():
            tests.append(_words(self.words, answers or {}))
        if self.answer:
            tests.append(_answered(self.answer, answers or {}))
        if self.split:
            split = 0 if self.split == "none" else SPLITS.index(self.split) + 1
            tests.append(lambda table: table.split == split)
        if self.labels:
            labels, but = frozenset(self.labels), self.but
            tests.append(lambda table: table.of_labels([(name in labels) is not but for name in table.labels]))
        if self.days:
            since = (now - timedelta(days=self.days)).timestamp() * 1000
            tests.append(lambda table: table.created >= since)
        if self.size:
            small = self.size == "small"
            tests.append(lambda table: ((table.width < SMALL) | (table.height < SMALL)) == small)
        if self.found:
            wanted = frozenset(image_id for key in self.found for image_id in ids(key))
            tests.append(lambda table: one_of(table, wanted))
        if not tests:
            return None
        return lambda table: reduce(operator.and_, (test(table) for test in tests))

    def sentence(self) -> str:
        """Return a sentence for the case that no photo passes."""
        if self.words.strip() and not self.chosen():
            if self.asks_classifier:
                return f"Nothing matches “{self.words.strip()}” among the classifier’s answers so far."
            return f"No label or file name contains “{self.words.strip()}”."
        if self.found and self.chosen() == 1 and not self.words.strip():
            return "Review has found no such photo. Choose “Show all” in the filter."
        return "No photo matches both the search and the filter. Change one of them."

    def take(self, other: Filter) -> None:
        """Copy all criteria of another filter."""
        for name in self.__struct_fields__:
            value = getattr(other, name)
            setattr(self, name, set(value) if isinstance(value, set) else value)


_ANSWER_WORD = re.compile(r"(?:^|[\s-])(?:confidence|predicted)[<>=:]")
_CONFIDENCE = re.compile(r"confidence(<=|>=|<|>|=|:)([0-9]*[.,]?[0-9]+)(%?)")


def one_of(table: ImageTable, image_ids: Collection[str]) -> Mask:
    """Return which of the images have one of the ids."""
    found: Mask = table.label == NO_LABEL
    found[table.find_all(image_ids)] = True
    return found


def _words(text: str, answers: Answers) -> Test:
    """Return what finds the photos with all the words, and with none of those after a minus or a “not”.

    A word may also be `label:dress`, `split:test`, `predicted:dress` (the classifier's answer) or `confidence<0.6` (how
    sure it is).
    """
    wanted, barred = ([_word(word, answers) for word in words] for words in _split(text))

    def found(table: ImageTable) -> Mask:
        passing: Mask = table.label != NO_LABEL
        for test in wanted:
            passing &= test(table)
        for test in barred:
            passing &= ~test(table)
        return passing

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


def _word(word: str, answers: Answers) -> Test:
    """Return what finds the photos for one word. A word that is still being typed (`confidence<`) lets all pass."""
    key, _, label = word.partition(":")
    if key == "label":
        return lambda table: table.of_labels([name.startswith(label) for name in table.labels])
    if key == "split":
        places = [place for place, split in enumerate(("none", *SPLITS)) if split.startswith(label)]
        return lambda table: reduce(operator.or_, (table.split == place for place in places), table.label == NO_LABEL)
    if key == "predicted":

        def predicted(table: ImageTable) -> Mask:
            given = table.answers(answers)
            known = label in given.labels  # else it may still be being typed
            return given.of_labels([name == label if known else name.startswith(label) for name in given.labels])

        return predicted
    if match := _CONFIDENCE.fullmatch(word):
        sign, number, per_cent = match.groups()
        value = float(number.replace(",", "."))
        compared = _COMPARED[sign]
        limit = value / 100 if per_cent or value > 1 else value
        return lambda table: compared(table.answers(answers).confidence, limit)
    if _ANSWER_WORD.match(word):
        return lambda table: table.label != NO_LABEL
    return lambda table: table.with_word(word)


def _about(one: Any, other: float) -> Any:
    return abs(one - other) < 0.005


_COMPARED: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": _about, ":": _about,
}  # fmt: skip


def _answered(wanted: str, answers: Answers) -> Test:
    """Return what finds the photos for a key of ANSWERS; those without an answer do not pass."""

    def found(table: ImageTable) -> Mask:
        given = table.answers(answers)
        if wanted != "other":
            return given.confidence < UNSURE if wanted == "unsure" else given.confidence >= SURE
        same: Mask = table.label == NO_LABEL
        for place, name in enumerate(given.labels):
            same |= (given.label == place) & (table.label == table.known_code(name))
        found_other: Mask = given.known & ~same & (table.label != table.known_code(INBOX))
        return found_other

    return found


def now() -> datetime:
    """Return the current time in UTC, as the service writes times."""
    return datetime.now(UTC)
