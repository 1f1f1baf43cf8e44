"""From what a person drops or pastes to a plan: which picture becomes which label, and what stands against it."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from time import monotonic

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.importer.scanner import Dropped, FoundImage, InspectedFile, Scanner, not_plain, too_large
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import (
    ImageBytes,
    ImageFile,
    ImageUrl,
    Source,
    SourceMissing,
    UploadItem,
)
from apitorch_desktop.utils.text import shown

_THREADS = 4
_TICK = 0.05


class ItemStatus(StrEnum):
    """What becomes of an item, as things stand."""

    NEW = "new"
    """Will be sent."""
    SIMILAR = "similar"
    """Will be sent; looks nearly the same as something there."""
    OTHER_LABEL = "other_label"
    """Will be sent; the same bytes are there, or in this plan, under another label."""
    THERE = "there"
    """Not sent: the same bytes are under this label already."""
    TWICE = "twice"
    """Not sent: the same bytes for the same label come earlier in this plan."""
    NO_LABEL = "no_label"
    """Not sent until it has a label."""
    PROBLEM = "problem"
    """Not sent: cannot be read."""
    LEFT_OUT = "left_out"
    """Not sent: the person said so."""


SENT = frozenset({ItemStatus.NEW, ItemStatus.SIMILAR, ItemStatus.OTHER_LABEL})
"""The standings of items that will be sent."""


@dataclass(slots=True, eq=False)
class PlanItem:
    """One picture of a plan. Change it through the `Plan` only.

    `label` is snake_case, empty while there is none; `original_label` the spelling it came with. `name` can be shown:
    nothing in it breaks a line. `size` in bytes, `width` and `height` in pixels as shown, None where not known (a
    picture on the web). `problem` is a sentence. `note` is a sentence about `standing`, or empty.
    """

    label: str
    original_label: str
    source: Source
    name: str
    size: int | None = None
    problem: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    included: bool = True
    similar_to: str | None = None
    standing: ItemStatus = ItemStatus.NEW
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlanLabel:
    """A label of a plan: how it was spelled, whether it exists, how many pictures it gets and how many stay out."""

    label: str
    spelled: tuple[str, ...]
    exists: bool
    sending: int
    staying: int


class Plan:
    """What an import would do. Nothing is sent, changed or written by it.

    `notes` are sentences about what belongs to no single picture (a folder that cannot be opened); `ignored` names
    files beside the pictures that are no pictures and were not asked for by name. `complete`: everything could be looked
    into; else `notes` say what could not. `labels_there` are the training
    set's labels; `existing` maps sha256 to the labels that hold these bytes.
    """

    def __init__(
        self,
        items: Sequence[PlanItem],
        *,
        existing: Mapping[str, Collection[str]] | None = None,
        labels_there: Collection[str] = (),
        notes: Iterable[str] = (),
        ignored: Iterable[str] = (),
        complete: bool = True,
    ) -> None:
        self.items = list(items)
        self.notes = list(notes)
        self.ignored = list(ignored)
        self.complete = complete
        self.set_existing(existing or {}, labels_there)

    def set_existing(self, existing: Mapping[str, Collection[str]], labels_there: Collection[str] = ()) -> None:
        """Hold the plan against another training set: what is there, and its labels."""
        self._existing = existing
        self._labels_there = set(labels_there).union(*existing.values())
        self._judge()

    def sending(self) -> list[PlanItem]:
        """The items that would be sent."""
        return [item for item in self.items if item.standing in SENT]

    def counts(self) -> dict[ItemStatus, int]:
        """How many items stand how; every standing is there."""
        counts = dict.fromkeys(ItemStatus, 0)
        for item in self.items:
            counts[item.standing] += 1
        return counts

    def bytes_to_send(self) -> int:
        """Bytes that would be sent, as far as they are known."""
        return sum(item.size or 0 for item in self.sending())

    def labels(self) -> list[PlanLabel]:
        """The labels in the order in which they first come, the empty one (no label yet) last."""
        groups: dict[str, list[PlanItem]] = {}
        for item in self.items:
            groups.setdefault(item.label, []).append(item)
        return [
            PlanLabel(
                label,
                tuple(dict.fromkeys(item.original_label for item in items)),
                label in self._labels_there,
                sum(item.standing in SENT for item in items),
                sum(item.standing not in SENT for item in items),
            )
            for label, items in sorted(groups.items(), key=lambda group: not group[0])
        ]

    def set_label(self, items: Iterable[PlanItem], label: str) -> None:
        """Put items under a label, in any spelling. Raises ValueError with a sentence where it can be no label."""
        stored = snake_case(label)
        if not stored:
            raise ValueError(_no_label(label))
        for item in items:
            item.label, item.original_label = stored, label
        self._judge()

    def rename_label(self, label: str, new: str) -> None:
        """Put all items of one label under another. Raises ValueError like `set_label`."""
        self.set_label([item for item in self.items if item.label == label], new)

    def set_included(self, items: Iterable[PlanItem], included: bool) -> None:
        """Leave items out, or take them in again; what cannot be sent is not sent either way."""
        for item in items:
            item.included = included
        self._judge()

    def set_similar(self, similar: Mapping[int, str]) -> None:
        """Say of items, by their index, what they look nearly the same as (the end of a sentence); of the others, nothing."""
        for index, item in enumerate(self.items):
            item.similar_to = similar.get(index)
        self._judge()

    def uploads(self) -> list[UploadItem]:
        """What to hand to `Transfers.add_upload`."""
        return [UploadItem(item.label, item.source, item.name, item.size, item.sha256) for item in self.sending()]

    def _judge(self) -> None:
        """Say anew how each item stands: one item's label decides about others."""
        first: dict[tuple[str, str], PlanItem] = {}
        under: dict[str, set[str]] = {}
        for item in self.items:
            if (mark := _mark(item)) and item.included and item.label and not item.problem:
                under.setdefault(mark, set()).add(item.label)
        for item in self.items:
            item.standing, item.note = self._standing(item, first, under)

    def _standing(
        self, item: PlanItem, first: dict[tuple[str, str], PlanItem], under: dict[str, set[str]]
    ) -> tuple[ItemStatus, str]:
        if item.problem:
            return ItemStatus.PROBLEM, item.problem
        if not item.included:
            return ItemStatus.LEFT_OUT, ""
        if not item.label:
            return ItemStatus.NO_LABEL, _no_label(item.original_label)
        mark = _mark(item)
        there = self._existing.get(item.sha256 or "", ())
        if item.label in there:
            return ItemStatus.THERE, f"Already under “{item.label}”."
        if mark and (before := first.setdefault((item.label, mark), item)) is not item:
            return ItemStatus.TWICE, f"The same picture as “{before.name}”."
        others = (set(there) | under.get(mark, set())) - {item.label}
        if others:
            return ItemStatus.OTHER_LABEL, f"The same picture is under “{'”, “'.join(sorted(others))}” too."
        if item.similar_to:
            return ItemStatus.SIMILAR, f"Looks nearly the same as {item.similar_to}."
        return ItemStatus.NEW, ""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is: `found` pictures so far, `read` of them looked at; `total` is None while still looking."""

    found: int
    read: int
    total: int | None


def existing_of(images: Iterable[TrainingImage]) -> dict[str, set[str]]:
    """sha256 → labels of a listing's images (empty where the service gives no sha256)."""
    found: dict[str, set[str]] = {}
    for image in images:
        if isinstance(image.sha256, str) and isinstance(image.label, str):
            found.setdefault(image.sha256, set()).add(image.label)
    return found


def scan(
    sources: Sequence[Dropped],
    *,
    default_label: str = "",
    existing: Mapping[str, Collection[str]] | None = None,
    labels_there: Collection[str] = (),
    progress: Callable[[ScanProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Plan:
    """Look at what was dropped: paths of files, folders, archives and lists; text; pictures. Blocking: call on a lane.

    Sub-folders become labels, whatever lies deeper in them; what has none gets `default_label`, and a folder of
    pictures only its own name. A problem never stops the rest. When `cancelled` answers True, what was found so far is
    the plan.
    """
    stop = cancelled or (lambda: False)
    tell = _ProgressNotifier(progress)
    archives = Archives()
    try:
        finder = Scanner(default_label, archives, look, _limit(), tell.finding, stop)
        for source in sources:
            if not stop():
                finder.add(source)
        looks = _looks(finder.found, archives, tell, stop)
    finally:
        archives.close()
    items = [
        PlanItem(
            snake_case(found.label), found.label, found.source, found.name,
            seen.size, seen.problem, seen.sha256, seen.width, seen.height,
        )
        for found, seen in zip(finder.found, looks, strict=True)
    ]  # fmt: skip
    return Plan(
        items,
        existing=existing,
        labels_there=labels_there,
        notes=finder.notes,
        ignored=finder.ignored,
        complete=finder.complete and not stop(),
    )


def look(data: bytes) -> InspectedFile:
    """What can be said of a picture's bytes at a glance: its header is read, its pixels are the service's to check."""
    from apitorch_desktop.vision import images

    try:
        info = images.measure(data)
    except images.UnreadableImage as error:
        return InspectedFile(len(data), problem=str(error))
    return InspectedFile(len(data), hashlib.sha256(data).hexdigest(), info.width, info.height)


class _ProgressNotifier:
    """Passes progress on, a few times a second."""

    def __init__(self, progress: Callable[[ScanProgress], None] | None) -> None:
        self._progress = progress
        self._next = 0.0

    def finding(self, found: int) -> None:
        self._tell(ScanProgress(found, 0, None))

    def reading(self, read: int, total: int) -> None:
        self._tell(ScanProgress(total, read, total), last=read == total)

    def _tell(self, state: ScanProgress, last: bool = False) -> None:
        if self._progress is not None and (last or monotonic() >= self._next):
            self._next = monotonic() + _TICK
            self._progress(state)


def _looks(
    found: Sequence[FoundImage], archives: Archives, tell: _ProgressNotifier, stop: Callable[[], bool]
) -> list[InspectedFile]:
    """A look at each picture, several at a time: reading and hashing leave the GIL alone."""
    limit = _limit()
    halt = Event()

    def one(thing: FoundImage) -> InspectedFile:
        if halt.is_set():
            return InspectedFile(problem="It was not looked at.")
        return _look_at(thing.source, archives, limit)

    looks: list[InspectedFile] = []
    with ThreadPoolExecutor(_THREADS, "scan") as pool:
        results = pool.map(one, [thing for thing in found if thing.look is None])
        for thing in found:
            looks.append(thing.look or next(results))
            tell.reading(len(looks), len(found))
            if stop():
                halt.set()
    return looks


def _look_at(source: Source, archives: Archives, limit: int) -> InspectedFile:
    if isinstance(source, ImageUrl):
        return InspectedFile()
    try:
        if isinstance(source, ImageFile):
            if sentence := not_plain(source.path):
                return InspectedFile(problem=sentence)
            if (size := source.path.stat().st_size) > limit:
                return InspectedFile(size, problem=too_large(size, limit))
        return look(read(source, archives, limit))
    except (SourceMissing, OSError) as error:
        return InspectedFile(problem=str(error))


def _limit() -> int:
    from apitorch_desktop.vision.images import MAX_BYTES

    return MAX_BYTES


def _mark(item: PlanItem) -> str:
    """What tells that two items are the same picture; empty where nothing does."""
    return item.sha256 or (item.source.url if isinstance(item.source, ImageUrl) else "")


def _no_label(text: str) -> str:
    if not text.strip():
        return "It has no label yet."
    return f"“{shown(text[:80])}” cannot be a label: it has no letter and no digit."


__all__ = [
    "SENT",
    "Dropped",
    "ImageBytes",
    "ItemStatus",
    "Plan",
    "PlanItem",
    "PlanLabel",
    "ScanProgress",
    "existing_of",
    "look",
    "scan",
]  # fmt: skip
