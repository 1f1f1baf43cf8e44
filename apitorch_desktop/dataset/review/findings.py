"""Findings of Review in a training set, and what remains of them after changes and dismissals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from apitorch_desktop.api.types import INBOX
from apitorch_desktop.utils.text import percent

LabelOf = Callable[[str], str | None]

RULES: Final = ("largest", "oldest", "sharpest")
"""Keeper rules, as `vision.issues` names them."""
UNLIKELY: Final = 0.1
"""Out-of-fold probability of its own label up to which an image's label is suspect; above it is merely unsure.

Of 30 wrong labels planted among the 600 clothing photos 29 lie below, with 41 others; below .05 23 with 16."""


class Duplicate(msgspec.Struct, array_like=True, frozen=True):
    """Member of a group of near-duplicates; 0 and "" mean unknown. `blur`: 0 sharp … 1."""

    image: str
    label: str
    width: int
    height: int
    bytes: int
    created_at: str
    blur: float


class DuplicateGroup(msgspec.Struct, array_like=True, frozen=True):
    """Images that are near-duplicates of each other; `keepers` maps a rule to the id of the image it would keep."""

    duplicates: list[Duplicate]
    keepers: dict[str, str]

    @property
    def images(self) -> list[str]:
        """Ids of the images."""
        return [duplicate.image for duplicate in self.duplicates]


class FlaggedImage(msgspec.Struct, array_like=True, frozen=True):
    """Image with quality problems, by the names of `vision.issues.FLAGS`."""

    image: str
    flags: list[str]


class LabelIssue(msgspec.Struct, array_like=True, frozen=True):
    """Image whose label is probably wrong: out-of-fold probabilities of its own label and of a likelier one."""

    image: str
    given: str
    likely: str
    given_value: float
    likely_value: float

    @property
    def suspect(self) -> bool:
        """True where the issue is worth the user's attention by itself."""
        return self.given_value <= UNLIKELY


class OutOfFoldAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The likeliest label of an image by a classifier that had not seen it, and its calibrated probability, 0…1."""

    label: str
    confidence: float

    @property
    def text(self) -> str:
        """The answer in words."""
        return f"Classifier: {self.label}, {percent(self.confidence)} sure"


class LabelAdvice(msgspec.Struct, array_like=True, frozen=True):
    """Sentence about one label, or about the set (`label` None); `urgent` where no classifier can be trained as it is."""

    label: str | None
    sentence: str
    urgent: bool


class OutOfFoldFigures(msgspec.Struct, array_like=True, frozen=True):
    """Out-of-fold figures: `confusion[i][j]` counts images of label i taken for label j; shares are 0…1."""

    labels: list[str]
    confusion: list[list[int]]
    label_accuracy: list[float]
    accuracy: float


class Findings(msgspec.Struct):
    """Findings so far; None: not analyzed yet.

    `counts`: images by label, empty ones included. `label_issues`: every image predicted as another label, the least
    probable first. `answers`: id → answer, of every image that was learned from, and of those without a label. `unsure`:
    ids of the images whose labels are the most informative to give or, where all have one, to confirm. `unreadable`: id →
    reason. `why_not`: why there are no label issues. `sentences`: flag → its explanation. `encoder`: name of the training
    set's own encoder by which labels were judged, "" for the built-in one.
    """

    counts: dict[str, int] = {}
    groups: list[DuplicateGroup] | None = None
    flagged: list[FlaggedImage] | None = None
    label_issues: list[LabelIssue] | None = None
    answers: dict[str, OutOfFoldAnswer] | None = None
    unsure: list[str] | None = None
    learned: OutOfFoldFigures | None = None
    advice: list[LabelAdvice] = []
    unreadable: dict[str, str] = {}
    sentences: dict[str, str] = {}
    why_not: str = ""
    encoder: str = ""


def current(
    found: Findings,
    label_of: LabelOf,
    dismissed: frozenset[tuple[str, str]],
    changed: Mapping[str, str | None] | None = None,
) -> Findings:
    """Return the findings that still hold: without removed images, changed labels and dismissed findings.

    `label_of` returns the label an image has now, None for one that was removed. `changed` are the labels of the images that
    have another one than when the findings were made, None for those removed: then the others are not asked about.
    """
    if changed is None:
        return _current(found, label_of, dismissed, lambda _image: True)
    asked = {*changed, *(image for image, _ in dismissed)}
    return _current(
        found, lambda image: changed[image] if image in changed else label_of(image), dismissed, asked.__contains__
    )


def _current(
    found: Findings, label_of: LabelOf, dismissed: frozenset[tuple[str, str]], asked: Callable[[str], bool]
) -> Findings:
    groups = None
    if found.groups is not None:
        left = (_left(one, label_of, dismissed) if any(map(asked, one.images)) else one for one in found.groups)
        groups = [group for group in left if group is not None]
    label_issues = unsure = flagged = None
    if found.label_issues is not None:
        label_issues = [
            one
            for one in found.label_issues
            if not asked(one.image)
            or (label_of(one.image) == one.given and (one.image, f"label:{one.given}") not in dismissed)
        ]
    if found.unsure is not None:
        unsure = [one for one in found.unsure if label_of(one) and (one, f"label:{label_of(one)}") not in dismissed]
        if any(label_of(one) == INBOX for one in unsure):  # those that have got a label are done
            unsure = [one for one in unsure if label_of(one) == INBOX]
    if found.flagged is not None:
        flagged = [
            still
            for one in found.flagged
            if (still := _still_flagged(one, label_of, dismissed) if asked(one.image) else one) is not None
        ]
    return msgspec.structs.replace(found, groups=groups, label_issues=label_issues, unsure=unsure, flagged=flagged)


def _still_flagged(
    image: FlaggedImage, label_of: LabelOf, dismissed: frozenset[tuple[str, str]]
) -> FlaggedImage | None:
    flags = [flag for flag in image.flags if (image.image, f"flag:{flag}") not in dismissed]
    if not flags or label_of(image.image) is None:
        return None
    return image if len(flags) == len(image.flags) else FlaggedImage(image.image, flags)


def _left(group: DuplicateGroup, label_of: LabelOf, dismissed: frozenset[tuple[str, str]]) -> DuplicateGroup | None:
    duplicates = []
    for duplicate in group.duplicates:
        label = label_of(duplicate.image)
        if label is not None:
            duplicates.append(
                duplicate if label == duplicate.label else msgspec.structs.replace(duplicate, label=label)
            )
    if len(duplicates) < 2:
        return None
    pairs = pairs_of([duplicate.image for duplicate in duplicates])
    if all((first, f"twin:{second}") in dismissed for first, second in pairs):
        return None
    there = {duplicate.image for duplicate in duplicates}
    keepers = {rule: kept if kept in there else duplicates[0].image for rule, kept in group.keepers.items()}
    return DuplicateGroup(duplicates, keepers)


def renamed(found: Findings, ids: dict[str, str]) -> Findings:
    """Return the findings with image ids replaced, old → new."""

    def now(image: str) -> str:
        return ids.get(image, image)

    change = msgspec.structs.replace
    groups = found.groups and [
        DuplicateGroup(
            [change(duplicate, image=now(duplicate.image)) for duplicate in group.duplicates],
            {rule: now(kept) for rule, kept in group.keepers.items()},
        )
        for group in found.groups
    ]
    return change(
        found,
        groups=groups,
        flagged=found.flagged and [change(one, image=now(one.image)) for one in found.flagged],
        label_issues=found.label_issues and [change(one, image=now(one.image)) for one in found.label_issues],
        answers=found.answers and {now(one): answer for one, answer in found.answers.items()},
        unsure=found.unsure and [now(one) for one in found.unsure],
        unreadable={now(one): why for one, why in found.unreadable.items()},
    )


def pairs_of(images: list[str]) -> list[tuple[str, str]]:
    """Return every pair of some ids, sorted."""
    ordered = sorted(images)
    return [(first, second) for at, first in enumerate(ordered) for second in ordered[at + 1 :]]
