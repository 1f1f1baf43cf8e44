"""Plan of an import: which image becomes which label, what stands against it, and near-duplicates in it."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath, PurePosixPath
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Final

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import INBOX, LONGEST_LABEL, SPLITS, Id, TrainingImage, label_name
from apitorch_desktop.dataset.importer.companions import companion_kind, is_hidden_photo
from apitorch_desktop.dataset.importer.contents import InspectedFile
from apitorch_desktop.dataset.importer.folder_labels import quoted
from apitorch_desktop.dataset.importer.scanner import (
    Dropped,
    FileSelection,
    FoundImage,
    Scanner,
    not_plain,
    too_large,
    without_suffixes,
)
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import (
    ArchiveMember,
    ImageBytes,
    ImageFile,
    ImageUrl,
    Source,
    SourceMissing,
    UploadItem,
)
from apitorch_desktop.dataset.sources.lists import reader
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES, RAW_SUFFIXES
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.text import plural, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DEVELOPED: Final = frozenset({".jpg", ".jpeg", ".heic", ".heif", ".hif"})
"""Suffixes of what a camera saves beside a raw photo."""
_PIXEL_SHOT: Final = re.compile(r"\.RAW-\d+\..*$", re.IGNORECASE)
"""End of the names of a Pixel's shot: PXL_1.RAW-01.COVER.jpg and PXL_1.RAW-02.ORIGINAL.dng."""
_MAX_MERGED: Final = 3
"""Labels of several names that are said one by one."""
_THREADS = 4
_TICK = 0.05


class ItemStatus(StrEnum):
    """Outcome of an item as the plan is now."""

    NEW = "new"
    """Will be sent."""
    SIMILAR = "similar"
    """Will be sent; looks nearly the same as an image that is there."""
    OTHER_LABEL = "other_label"
    """Will be sent; the same bytes are there, or in this plan, under another label."""
    THERE = "there"
    """Not sent: the same bytes are under this label already."""
    TWICE = "twice"
    """Not sent: the same bytes for the same label come earlier in this plan."""
    WAITING = "waiting"
    """Will be sent without a label, into the inbox."""
    NO_LABEL = "no_label"
    """Not sent until it has a label."""
    PROBLEM = "problem"
    """Not sent: cannot be read."""
    LEFT_OUT = "left_out"
    """Not sent: the user left it out, or it is the raw photo of a shot of which the plan has the JPEG."""


SENT = frozenset({ItemStatus.NEW, ItemStatus.SIMILAR, ItemStatus.OTHER_LABEL, ItemStatus.WAITING})
"""Standings of items that will be sent."""


@dataclass(slots=True, eq=False)
class PlanItem:
    """Image of a plan. Change it through the `Plan` only.

    `label` is snake_case, empty while there is none (it then goes to the inbox); `original_label` the spelling it came
    with. `name` is printable in one line. `size` in bytes, `width` and `height` in pixels as shown, None where not known
    (an image on the web). `problem` is a sentence. `format`: as in `vision.images`, "" where not known. `split`: train,
    validation, test or another part of a set, "" for none. `shot`: name of the JPEG of the same shot beside a raw photo.
    `note` is a sentence about `standing`, or empty.
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
    split: str = ""
    format: str = ""
    shot: str = ""


@dataclass(frozen=True, slots=True)
class PlanLabel:
    """Label of a plan: its spellings, whether it exists, how many images it gets and how many stay out."""

    label: str
    spelled: tuple[str, ...]
    exists: bool
    sending: int
    staying: int


class Plan:
    """Items of an import and what would become of them. Nothing is sent, changed or written by it.

    `notes` are sentences about more than a single image (a folder that cannot be opened, names that become one label);
    `ignored` names files beside the images that are none and were not asked for by name. `complete`: everything could
    be read; else `notes` have the reasons. `labels_there` are the training set's labels; `existing` maps sha256 to
    the labels that hold these bytes. `inbox`: the training set takes images without a label. `scan_notes` are those of
    the notes that are about reading alone. `as_jpeg`: its service gets photos of uncommon formats as JPEG, and the notes
    say so.
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
        inbox: bool = True,
        as_jpeg: bool = False,
    ) -> None:
        self._inbox = inbox
        self._as_jpeg = as_jpeg
        self.items = list(items)
        self.notes: list[str] = []
        self.scan_notes = list(notes)
        self.ignored = list(ignored)
        self.complete = complete
        self.set_existing(existing or {}, labels_there)

    def set_existing(self, existing: Mapping[str, Collection[str]], labels_there: Collection[str] = ()) -> None:
        """Compare the plan with another training set: what is there, and its labels."""
        self._existing = existing
        self._labels_there = set(labels_there).union(*existing.values())
        self._judge()

    def sending(self) -> list[PlanItem]:
        """Return the items that would be sent."""
        return [item for item in self.items if item.standing in SENT]

    def passed_over(self) -> list[tuple[str, str]]:
        """Return the files that are no photos and in none of the notes, each with no reason."""
        named = [(file, PurePosixPath(file).name) for file in self.ignored]
        return [(file, "") for file, name in named if not (companion_kind(name) or is_hidden_photo(name))]

    def counts(self) -> dict[ItemStatus, int]:
        """Return the number of items of each standing; every standing is a key."""
        counts = dict.fromkeys(ItemStatus, 0)
        for item in self.items:
            counts[item.standing] += 1
        return counts

    def bytes_to_send(self) -> int:
        """Return the bytes that would be sent, as far as they are known."""
        return sum(item.size or 0 for item in self.sending())

    def labels(self) -> list[PlanLabel]:
        """Return the labels in the order in which they first come, the empty one (no label yet) last."""
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
        if not 0 < len(snake_case(label)) <= LONGEST_LABEL:
            raise ValueError(_no_label(label))
        for item in items:
            item.label, item.original_label = _parted(label)
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
        """Set what items, by their index, look nearly the same as (the end of a sentence); the others get nothing."""
        for index, item in enumerate(self.items):
            item.similar_to = similar.get(index)
        self._judge()

    def uploads(self) -> list[UploadItem]:
        """Return the uploads for `TransferQueue.add_upload`."""
        return [
            UploadItem(
                item.label or INBOX, item.source, item.name, item.size, item.sha256,
                item.split if item.split in SPLITS else "",
            )
            for item in self.sending()
        ]  # fmt: skip

    def _judge(self) -> None:
        """Set the standing of every item: one item's label decides about others."""
        first: dict[tuple[str, str], PlanItem] = {}
        under: dict[str, set[str]] = {}
        for item in self.items:
            if (mark := _mark(item)) and item.included and item.label and not item.problem:
                under.setdefault(mark, set()).add(item.label)
        for item in self.items:
            item.standing, item.note = self._standing(item, first, under)
        splits = Counter(item.split for item in self.sending() if item.split in SPLITS)
        kept = ", ".join(f"{splits[split]:,} {split}" for split in SPLITS if splits[split])
        self.notes = [*self.scan_notes, *_merged_names(self.items, self._labels_there)]
        self.notes += _conversions(self.sending(), as_jpeg=self._as_jpeg)
        self.notes += _several_labels(self.sending(), under)
        if shots := sum(bool(item.shot) and not item.included for item in self.items):
            stays = "stays out: its shot lies beside it" if shots == 1 else "stay out: their shots lie beside them"
            self.notes.append(f"{plural(shots, 'raw photo')} {stays} as JPEG.")
        if waiting := self.counts()[ItemStatus.WAITING]:
            wait = "waits" if waiting == 1 else "wait"
            self.notes.append(f"{plural(waiting, 'photo')} without a label {wait} under “{label_name(INBOX)}”.")
        if kept:
            self.notes.append(f"The photos keep their split: {kept}.")

    def _standing(
        self, item: PlanItem, first: dict[tuple[str, str], PlanItem], under: dict[str, set[str]]
    ) -> tuple[ItemStatus, str]:
        if item.shot and not item.included:
            return ItemStatus.LEFT_OUT, f"The same shot as “{item.shot}”."
        if item.problem:
            return ItemStatus.PROBLEM, item.problem
        if not item.included:
            return ItemStatus.LEFT_OUT, ""
        mark = _mark(item)
        there = self._existing.get(item.sha256 or "", ())
        if not item.label:
            if item.original_label.strip() or not self._inbox:
                return ItemStatus.NO_LABEL, _no_label(item.original_label)
            if there:
                return ItemStatus.THERE, f"Already under “{label_name(min(there))}”."
            if under.get(mark):
                return ItemStatus.TWICE, f"The same photo comes under “{min(under[mark])}”."
            if mark and (before := first.setdefault(("", mark), item)) is not item:
                return ItemStatus.TWICE, f"The same photo as “{before.name}”."
            return ItemStatus.WAITING, f"It waits under “{label_name(INBOX)}”."
        if len(item.label) > LONGEST_LABEL:
            return ItemStatus.NO_LABEL, _no_label(item.original_label)
        if item.label in there:
            return ItemStatus.THERE, f"Already under “{item.label}”."
        if mark and (before := first.setdefault((item.label, mark), item)) is not item:
            return ItemStatus.TWICE, f"The same photo as “{before.name}”."
        others = (set(there) | under.get(mark, set())) - {item.label}
        if others:
            return (
                ItemStatus.OTHER_LABEL,
                f"The same photo is under “{'”, “'.join(sorted(map(label_name, others)))}” too.",
            )
        if item.similar_to:
            return ItemStatus.SIMILAR, f"Looks nearly the same as {item.similar_to}."
        return ItemStatus.NEW, ""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """Progress of a scan: `found` images so far, `read` of them inspected; `total` is None while still searching."""

    found: int
    read: int
    total: int | None


def existing_of(images: Iterable[TrainingImage]) -> dict[str, set[str]]:
    """Return sha256 → labels of a listing's images (empty where the service gives no sha256)."""
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
    inbox: bool = True,
    as_jpeg: bool = False,
    progress: Callable[[ScanProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Plan:
    """Make a plan of what was dropped: paths of files, folders, archives and lists; text; images. Blocking.

    Lists in a folder label its images, else its sub-folders do; what has no label gets `default_label`, and a folder of
    nothing but images its own name; what still has none goes to the inbox, if there is an `inbox`. `as_jpeg` as for
    `Plan`. A problem never stops the rest. When `cancelled` returns True, what was found so far is the plan.
    """
    stop = cancelled or (lambda: False)
    notifier = _ProgressNotifier(progress)
    archives = Archives()
    try:
        several = len(sources) > 1 or any(isinstance(source, FileSelection) for source in sources)
        finder = Scanner(default_label, archives, look, _limit(), notifier.finding, stop, several=several)
        for source in sources:
            if not stop():
                finder.add(source)
        finder.finish()
        looks = _inspect_all(finder.found, archives, notifier, stop)
    finally:
        archives.close()
    items = [
        PlanItem(
            *_parted(found.label), found.source, found.name,
            seen.size, seen.problem, seen.sha256, seen.width, seen.height, split=found.split, format=seen.format,
        )
        for found, seen in zip(finder.found, looks, strict=True)
    ]  # fmt: skip
    _pair_shots(items)
    return Plan(
        items,
        existing=existing,
        labels_there=labels_there,
        notes=finder.notes,
        ignored=finder.ignored,
        complete=finder.complete and not stop(),
        inbox=inbox,
        as_jpeg=as_jpeg,
    )


def suggested_name(path: Path) -> str:
    """Return a name for the training set of a folder, an archive or a list; "" for a photo."""
    name = without_suffixes(path.name)
    if (suffix := PurePath(name).suffix.lower()) in IMAGE_SUFFIXES:
        return ""
    return name[: -len(suffix)] if suffix in reader.SUFFIXES else name


def _pair_shots(items: Iterable[PlanItem]) -> None:
    """Leave out the raw photos that lie beside a JPEG of the same shot under the same label, as cameras save both."""
    from apitorch_desktop.vision.raw_photos import LEAST_PREVIEW

    raws: list[tuple[tuple[str, str, str], PlanItem]] = []
    developed: dict[tuple[str, str, str], PlanItem] = {}
    for item in items:
        if isinstance(item.source, ImageFile):
            path, above = PurePath(item.source.path), ""
        elif isinstance(item.source, ArchiveMember):
            path, above = PurePath(item.source.path), str(item.source.archive)
        else:
            continue
        place = above + str(path.parent), _PIXEL_SHOT.sub("", path.stem).casefold(), item.label
        if path.suffix.lower() in RAW_SUFFIXES:
            raws.append((place, item))
        elif (
            path.suffix.lower() in _DEVELOPED
            and not item.problem
            and max(item.width or 0, item.height or 0) >= LEAST_PREVIEW
        ):
            developed[place] = item
    for place, item in raws:
        if found := developed.get(place):
            item.shot, item.included = found.name, False


def look(data: bytes) -> InspectedFile:
    """Inspect an image's bytes: its header is read, its pixels are the service's to check."""
    from apitorch_desktop.vision import images

    try:
        info = images.measure(data)
    except images.UnreadableImage as error:
        return InspectedFile(len(data), problem=str(error))
    return InspectedFile(len(data), hashlib.sha256(data).hexdigest(), info.width, info.height, format=info.format)


class _ProgressNotifier:
    """Passes progress on, at most a few times a second."""

    def __init__(self, progress: Callable[[ScanProgress], None] | None) -> None:
        self._progress = progress
        self._next = 0.0

    def finding(self, found: int) -> None:
        self._notify(ScanProgress(found, 0, None))

    def reading(self, read: int, total: int) -> None:
        self._notify(ScanProgress(total, read, total), last=read == total)

    def _notify(self, state: ScanProgress, last: bool = False) -> None:
        if self._progress is not None and (last or monotonic() >= self._next):
            self._next = monotonic() + _TICK
            self._progress(state)


def _inspect_all(
    found: Sequence[FoundImage], archives: Archives, notifier: _ProgressNotifier, stop: Callable[[], bool]
) -> list[InspectedFile]:
    """Inspect each image, several at a time: reading and hashing leave the GIL alone."""
    limit = _limit()
    halt = Event()

    def inspect(thing: FoundImage) -> InspectedFile:
        if halt.is_set():
            return InspectedFile(problem="It was not looked at.")
        return _inspect(thing.source, archives, limit)

    looks: list[InspectedFile] = []
    with ThreadPoolExecutor(_THREADS, "scan") as pool:
        results = pool.map(inspect, [thing for thing in found if thing.look is None])
        for thing in found:
            looks.append(thing.look or next(results))
            notifier.reading(len(looks), len(found))
            if stop():
                halt.set()
    return looks


def _inspect(source: Source, archives: Archives, limit: int) -> InspectedFile:
    from apitorch_desktop.vision.images import MAX_RAW_BYTES

    if isinstance(source, ImageUrl):
        return InspectedFile()
    try:
        if isinstance(source, ImageFile):
            if sentence := not_plain(source.path):
                return InspectedFile(problem=sentence)
            if (size := source.path.stat().st_size) > limit:
                if source.path.suffix.lower() in RAW_SUFFIXES and size <= MAX_RAW_BYTES:
                    return look(source.path.read_bytes())
                return InspectedFile(size, problem=too_large(size, limit))
        return look(read(source, archives, limit))
    except (SourceMissing, OSError) as error:
        return InspectedFile(problem=str(error))


def _limit() -> int:
    from apitorch_desktop.vision.images import MAX_BYTES

    return MAX_BYTES


def _mark(item: PlanItem) -> str:
    """Return what identifies an image; empty where nothing does."""
    return item.sha256 or (item.source.url if isinstance(item.source, ImageUrl) else "")


def _merged_names(items: Iterable[PlanItem], labels_there: Collection[str]) -> list[str]:
    """Return sentences about names that become one label and differ in more than case and separators, or are letters."""
    spellings: dict[str, dict[str, str]] = {}
    for label, name in dict.fromkeys((item.label, item.original_label) for item in items):
        if label and name:
            letter = name.strip()  # “A” and “a” are two characters, and may be two classes
            spellings.setdefault(label, {}).setdefault(letter if len(letter) == 1 else _plain(name), name)
    notes, merged = [], 0
    for label, names in spellings.items():
        if len(names) > 1:
            merged += 1
            if merged > _MAX_MERGED:
                continue
            notes.append(
                f"{quoted(names.values())} become one label, “{label}”: rename one of them if they are not the same."
            )
        elif label in labels_there and _plain(label) not in map(_plain, names.values()):
            notes.append(
                f"{quoted(names.values())} goes to the label “{label}”, which is there: rename it if it is another."
            )
    if merged > _MAX_MERGED:
        notes.append(f"So it is with {plural(merged - _MAX_MERGED, 'more label')}.")
    return notes


def _several_labels(items: Iterable[PlanItem], under: Mapping[str, Collection[str]]) -> list[str]:
    """Return a sentence about photos that come under several labels from several files, as copies and links do.

    `under` maps what identifies an image to its labels. Labels that a list gives to one file are said with the list.
    """
    files: dict[str, dict[Source, PlanItem]] = {mark: {} for mark, labels in under.items() if len(labels) > 1}
    for item in items if files else ():
        if (mark := _mark(item)) in files:
            files[mark][item.source] = item
    several = {mark: next(iter(found.values())) for mark, found in files.items() if len(found) > 1}
    if not several:
        return []
    mark, first = next(iter(several.items()))
    come = "comes" if len(several) == 1 else "come"
    return [
        f"{plural(len(several), 'photo')} {come} under several labels: “{first.name}” is under {quoted(under[mark])}."
    ]


def _conversions(items: Iterable[PlanItem], *, as_jpeg: bool) -> list[str]:
    """Return sentences about photos that a service gets as JPEG: those it may not read, and raw ones that are too large."""
    read = [item for item in items if item.format]
    if not read:
        return []
    from apitorch_desktop.vision.images import MAX_BYTES, UNIVERSAL

    uncommon = [item for item in read if item.format not in UNIVERSAL]
    large = [item.format for item in uncommon if (item.size or 0) > MAX_BYTES]
    other = [item.format for item in uncommon if as_jpeg and (item.size or 0) <= MAX_BYTES]
    reasons = ((other, "this service may not read them as they are"), (large, f"{MAX_BYTES // 2**20} MiB is the most"))
    return [
        f"{plural(len(formats), 'photo')} ({', '.join(sorted(set(formats)))}) {'is' if len(formats) == 1 else 'are'} sent as "
        f"JPEG: {why}."
        for formats, why in reasons
        if formats
    ]


def _plain(name: str) -> str:
    """Return a name without case and what separates its words."""
    return unicodedata.normalize("NFKC", re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", name.strip().casefold()))


def _parted(label: str) -> tuple[str, str]:
    """Return a label in snake_case and as spelled, both empty for the inbox."""
    stored = snake_case(label)
    return ("", "") if stored == INBOX else (stored, label)


def _no_label(text: str) -> str:
    if not text.strip():
        return "It has no label yet."
    if len(stored := snake_case(text)) > LONGEST_LABEL:
        return f"“{shown(text[:80])}…” cannot be a label: it has {len(stored)} characters, and {LONGEST_LABEL} is the most."
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


@dataclass(frozen=True, slots=True)
class KnownImage:
    """Image of the training set: its name and label as the user knows them, and its `near_duplicates.pattern`."""

    name: str
    label: str
    pattern: "NDArray[np.uint8]"


def known_of(
    workspace: "Workspace", training_set_id: Id, cancelled: Callable[[], bool] | None = None
) -> list[KnownImage]:
    """Return the images of a training set, by their thumbnails, which are cached. Raises ApiError.

    An image that cannot be shown is left out.
    """
    from apitorch_desktop.vision import images, near_duplicates

    known: list[KnownImage] = []
    for image in workspace.listing(training_set_id, cancelled=cancelled).images:
        if cancelled is not None and cancelled():
            return []
        try:
            data = workspace.thumbnail(training_set_id, image, cancelled=cancelled)
            pattern = near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
        except images.UnreadableImage:
            continue
        name = image.original_filename if isinstance(image.original_filename, str) else image.filename
        known.append(KnownImage(name, str(image.label), pattern))
    return known


def find_similar(
    plan: Plan,
    there: Sequence[KnownImage],
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[int, str]:
    """Return item index → what it looks nearly the same as, for `Plan.set_similar`. Blocking; reads every image again.

    The first of several alike in the plan itself is left alone. `progress(done, total)` counts images.
    """
    from apitorch_desktop.vision import near_duplicates

    stop = cancelled or (lambda: False)
    wanted = [index for index, item in enumerate(plan.items) if item.standing in SENT]
    archives = Archives()
    indices: list[int] = []
    patterns: list[NDArray[np.uint8]] = []
    try:
        for done, index in enumerate(wanted, 1):
            if stop():
                return {}
            if (pattern := _pattern(plan.items[index], archives)) is not None:
                indices.append(index)
                patterns.append(pattern)
            if progress is not None:
                progress(done, len(wanted))
    finally:
        archives.close()
    found: dict[int, str] = {}
    for pair in near_duplicates.find_near_duplicates(patterns, cancelled=cancelled):
        found.setdefault(indices[pair.second], f"“{plan.items[indices[pair.first]].name}” of this import")
    best: dict[int, float] = {}
    for pair in near_duplicates.find_matches(patterns, [known.pattern for known in there], cancelled=cancelled):
        index, known = indices[pair.first], there[pair.second]
        if pair.likeness > best.get(index, 0):
            best[index] = pair.likeness
            found[index] = f"“{known.name}” under “{known.label}”"
    return found


def _pattern(item: PlanItem, archives: Archives) -> "NDArray[np.uint8] | None":
    from apitorch_desktop.vision import images, near_duplicates

    if isinstance(item.source, ImageUrl):
        return None
    try:
        data = read(item.source, archives, images.MAX_BYTES)
        return near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
    except (SourceMissing, images.UnreadableImage):
        return None
