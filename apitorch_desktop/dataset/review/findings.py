"""What Review finds in a training set, and what the window's side and the worker say to each other on a pipe."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO, Any, Final, TypeVar

import msgspec

T = TypeVar("T")
LabelOf = Callable[[str], str | None]

RULES: Final = ("largest", "oldest", "sharpest")
"""Keeper rules, as `vision.review` names them."""
UNLIKELY: Final = 0.1
"""Out-of-fold probability of its own label up to which an image's label is suspect; above it is merely unsure.

Of 30 wrong labels planted among the 600 clothing photos 29 lie below, with 41 others; below .05 23 with 16."""


class ReviewStopped(Exception):  # noqa: N818 - not an error
    """Something else is wanted by now."""


class ReviewItem(msgspec.Struct, array_like=True, frozen=True):
    """An image to look at. `key` names its content: the sha256 where the service tells it, else its id.

    Width, height (pixels as shown) and bytes are 0, `created_at` (ISO 8601) "" where the service does not tell.
    """

    id: str
    key: str
    label: str
    width: int = 0
    height: int = 0
    bytes: int = 0
    created_at: str = ""


class Duplicate(msgspec.Struct, array_like=True, frozen=True):
    """One of a group of near-duplicates; what is 0 or "" is not known. `blur`: 0 crisp … 1."""

    image: str
    label: str
    width: int
    height: int
    bytes: int
    created_at: str
    blur: float


class DuplicateGroup(msgspec.Struct, array_like=True, frozen=True):
    """Near-duplicates of each other; `keepers` maps a rule to the id of the one it would keep."""

    twins: list[Duplicate]
    keepers: dict[str, str]

    @property
    def images(self) -> list[str]:
        """Ids of the images."""
        return [twin.image for twin in self.twins]


class FlaggedImage(msgspec.Struct, array_like=True, frozen=True):
    """An image with faults, by the names of `vision.review.FLAGS`."""

    image: str
    flags: list[str]


class LabelIssue(msgspec.Struct, array_like=True, frozen=True):
    """An image whose label the others speak against: out-of-fold probabilities of its own label and of a likelier one."""

    image: str
    given: str
    likely: str
    given_value: float
    likely_value: float

    @property
    def suspect(self) -> bool:
        """Whether the doubt is worth a person's look by itself."""
        return self.given_value <= UNLIKELY


class LabelAdvice(msgspec.Struct, array_like=True, frozen=True):
    """A sentence about one label, or about the set (`label` None); `urgent` when no classifier can come of it."""

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
    """What is known so far; None: not looked at yet.

    `counts`: images by label, empty ones included. `doubts`: every image taken for another label, the most doubtful
    first. `unsure`: ids of the images that teach most once somebody has made sure of their label. `unreadable`: id →
    reason. `why_not`: why there are no doubts. `sentences`: flag → what it means.
    """

    counts: dict[str, int] = {}
    groups: list[DuplicateGroup] | None = None
    flagged: list[FlaggedImage] | None = None
    doubts: list[LabelIssue] | None = None
    unsure: list[str] | None = None
    learned: OutOfFoldFigures | None = None
    advice: list[LabelAdvice] = []
    unreadable: dict[str, str] = {}
    sentences: dict[str, str] = {}
    why_not: str = ""


# --- to the worker; `serial` numbers the reviews, so that late answers are told apart


class BeginReview(msgspec.Struct, array_like=True, tag=True):
    """A review of these images; answered by Lacking. `labels`: all of the training set's, also empty ones.

    `apart`: pairs of ids that a person said are no duplicates.
    """

    serial: int
    connection: str
    training_set: str
    items: list[ReviewItem]
    labels: list[str]
    apart: list[tuple[str, str]]


class ThumbnailData(msgspec.Struct, array_like=True):
    """A thumbnail by its key, or the reason why there is none."""

    key: str
    data: bytes
    problem: str = ""


class SendThumbnails(msgspec.Struct, array_like=True, tag=True):
    """What was lacking; answered by Took."""

    serial: int
    pictures: list[ThumbnailData]


class SendSizes(msgspec.Struct, array_like=True, tag=True):
    """What the files of images are: key → (width, height, bytes); answered by Took."""

    serial: int
    sizes: dict[str, tuple[int, int, int]]


class Analyze(msgspec.Struct, array_like=True, tag=True):
    """Everything is there: answered by Found as parts become known, the last one `final`."""

    serial: int


class StopReview(msgspec.Struct, array_like=True, tag=True):
    """Nobody waits any more; not answered."""


class ReplaceIds(msgspec.Struct, array_like=True, tag=True):
    """A service gave images other ids, old → new; not answered."""

    connection: str
    ids: dict[str, str]


Request = BeginReview | SendThumbnails | SendSizes | Analyze | StopReview | ReplaceIds

# --- from the worker


class MissingThumbnails(msgspec.Struct, array_like=True, tag=True):
    """Keys of which no thumbnail was ever seen."""

    serial: int
    keys: list[str]


class Received(msgspec.Struct, array_like=True, tag=True):
    """What was sent is worked in."""

    serial: int


class FindingsUpdate(msgspec.Struct, array_like=True, tag=True):
    """`unmeasured`: ids of near-duplicates whose size in pixels and bytes nobody knows."""

    serial: int
    findings: Findings
    unmeasured: list[str]
    final: bool


class ReviewCrashed(msgspec.Struct, array_like=True, tag=True):
    """The review came to an end; a sentence that says why."""

    serial: int
    sentence: str


Answer = MissingThumbnails | Received | FindingsUpdate | ReviewCrashed


def write(pipe: IO[bytes], message: Request | Answer) -> None:
    """Send one message. Raises OSError when the other side is gone."""
    body = msgspec.msgpack.encode(message)
    pipe.write(struct.pack("<I", len(body)) + body)
    pipe.flush()


def reader(pipe: IO[bytes], kind: Any) -> Callable[[], Any]:
    """A function that waits for the next message, a `Request` or an `Answer` as `kind` says; None at the end."""
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kind)

    def read() -> Any:
        head = pipe.read(4)
        if len(head) < 4:
            return None
        size = struct.unpack("<I", head)[0]
        body = pipe.read(size)
        return decoder.decode(body) if len(body) == size else None

    return read


def current(found: Findings, label_of: LabelOf, dismissed: frozenset[tuple[str, str]]) -> Findings:
    """What still holds: without images that are gone, labels that were changed, and what a person dismissed.

    `label_of` tells the label an image is under now, None for one that is gone.
    """
    groups = None
    if found.groups is not None:
        groups = [group for group in (_left(one, label_of, dismissed) for one in found.groups) if group is not None]
    doubts = unsure = flagged = None
    if found.doubts is not None:
        doubts = [
            one
            for one in found.doubts
            if label_of(one.image) == one.given and (one.image, f"label:{one.given}") not in dismissed
        ]
    if found.unsure is not None:
        unsure = [one for one in found.unsure if label_of(one) and (one, f"label:{label_of(one)}") not in dismissed]
    if found.flagged is not None:
        flagged = []
        for one in found.flagged:
            flags = [flag for flag in one.flags if (one.image, f"flag:{flag}") not in dismissed]
            if flags and label_of(one.image) is not None:
                flagged.append(FlaggedImage(one.image, flags))
    return msgspec.structs.replace(found, groups=groups, doubts=doubts, unsure=unsure, flagged=flagged)


def _left(group: DuplicateGroup, label_of: LabelOf, dismissed: frozenset[tuple[str, str]]) -> DuplicateGroup | None:
    twins = []
    for twin in group.twins:
        label = label_of(twin.image)
        if label is not None:
            twins.append(twin if label == twin.label else msgspec.structs.replace(twin, label=label))
    if len(twins) < 2:
        return None
    pairs = pairs_of([twin.image for twin in twins])
    if all((first, f"twin:{second}") in dismissed for first, second in pairs):
        return None
    there = {twin.image for twin in twins}
    keepers = {rule: kept if kept in there else twins[0].image for rule, kept in group.keepers.items()}
    return DuplicateGroup(twins, keepers)


def renamed(found: Findings, ids: dict[str, str]) -> Findings:
    """The same of images that a service gave other ids, old → new."""

    def now(image: str) -> str:
        return ids.get(image, image)

    change = msgspec.structs.replace
    groups = found.groups and [
        DuplicateGroup(
            [change(twin, image=now(twin.image)) for twin in group.twins],
            {rule: now(kept) for rule, kept in group.keepers.items()},
        )
        for group in found.groups
    ]
    return change(
        found,
        groups=groups,
        flagged=found.flagged and [change(one, image=now(one.image)) for one in found.flagged],
        doubts=found.doubts and [change(one, image=now(one.image)) for one in found.doubts],
        unsure=found.unsure and [now(one) for one in found.unsure],
        unreadable={now(one): why for one, why in found.unreadable.items()},
    )


def pairs_of(images: list[str]) -> list[tuple[str, str]]:
    """Every two of some ids, in one order."""
    ordered = sorted(images)
    return [(first, second) for at, first in enumerate(ordered) for second in ordered[at + 1 :]]
