"""A training set as files for other programs: folder tree, zip, CSV, JSONL, Create ML, Croissant; with a split."""

import hashlib
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Final

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, NotFound, WrongKey
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import Id, TrainingImage, TrainingImages
from apitorch_desktop.dataset.exporter import formats
from apitorch_desktop.dataset.exporter.split import Split, parts_of
from apitorch_desktop.dataset.workspace.scratch import without_scratch
from apitorch_desktop.dataset.workspace.whole import whole
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import safe_filename
from apitorch_desktop.utils.text import reason, shown

__all__ = ["ExportFormat", "ExportRefused", "ExportResult", "ExportSource", "Split", "export"]

_GIVE_UP_AFTER: Final = 10
_STAGING: Final = re.compile(r"\.([0-9]{1,9})-[0-9a-f]{12}\.part")


class ExportFormat(StrEnum):
    """What an export writes; images always lie in `<slug>/[<part>/]<label>/<filename>`."""

    IMAGEFOLDER = "imagefolder"
    ZIP = "zip"
    CSV = "csv"
    JSONL = "jsonl"
    CREATEML = "createml"
    CROISSANT = "croissant"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export came to. `path` is what was written; `failed` holds (what, why) for images that are missing."""

    path: Path
    written: int
    skipped: int
    failed: list[tuple[str, str]]


class ExportRefused(UserError):  # noqa: N818 - named for what happened
    """Nothing was written: `str()` is a sentence that says why and what to do."""


class ExportSource:
    """The bytes of a training set's images through a client; an address that has run out is listed anew. Thread-safe."""

    def __init__(
        self,
        client: "ApiClient",
        training_set_id: Id,
        cancelled: Callable[[], bool] | None = None,
        *,
        scratch_label: str = "",
    ) -> None:
        """`scratch_label`: what is under it is left out (`scratch.Scratch.label`)."""
        self._scratch_label = scratch_label
        self._client = client
        self._training_set = training_set_id
        self._cancelled = cancelled
        self._lock = Lock()
        self.listing = self._list()

    def __call__(self, image: TrainingImage) -> bytes:
        """The bytes. Raises ApiError."""
        begun = monotonic()
        try:
            return self._download(image)
        except NotFound:
            with self._lock:
                if self._listed_at < begun:
                    self.listing = self._list()
            if image.image_id not in self._urls:
                raise
        return self._download(image)

    def _download(self, image: TrainingImage) -> bytes:
        url = self._urls.get(image.image_id, image.url)
        return whole(lambda: self._client.download(url, cancelled=self._cancelled), image.filename, image.sha256)

    def _list(self) -> TrainingImages:
        listing = without_scratch(self._client.images(self._training_set), self._scratch_label)
        self._urls = {image.image_id: image.url for group in listing.data for image in group.images}
        self._listed_at = monotonic()
        return listing


def export(
    listing: TrainingImages,
    fetch: Callable[[TrainingImage], bytes],
    folder: Path,
    form: ExportFormat = ExportFormat.IMAGEFOLDER,
    *,
    split: Split | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportResult:
    """Write a training set into `folder`; `fetch` answers an image's bytes and may raise ApiError.

    What is written appears whole or not at all; nothing is overwritten: `ExportRefused` where something else is there.
    Only a folder tree without a split goes into one that is there: what it has is skipped, another picture of the same
    name stays and is reported. `groups` are image ids that a split keeps together; None finds near-duplicates itself.
    `progress(done, total)` counts images. Raises Cancelled, and WrongKey or what else keeps ten images in a row away.
    """
    root = safe_filename(listing.training_set_slug or slugify(str(listing.training_set_id)))
    target = folder / (f"{root}.zip" if form is ExportFormat.ZIP else root)
    merging = form is ExportFormat.IMAGEFOLDER and split is None and target.is_dir()
    if not merging and target.exists():
        raise ExportRefused(f"“{shown(str(target))}” is there already. Choose another folder, or move it away.")
    with _staging(folder) as staging:
        look = split is not None and groups is None
        shots, failed = _fetched(listing, fetch, staging, look, threads, progress, cancelled or (lambda: False))
        if split is not None:
            _divide(shots, split, groups or [], cancelled)
        if merging:
            skipped = _merge(shots, target, failed)
            return ExportResult(target, len(shots) - skipped[0], skipped[1], failed)
        tree = staging / root
        tree.mkdir()
        for shot in shots:
            place = tree / shot.path
            place.parent.mkdir(parents=True, exist_ok=True)
            shot.staged.rename(place)
        _index(form, listing, shots, tree)
        if form is ExportFormat.ZIP:
            formats.write_zip(tree, staging / target.name)
        (staging / target.name).rename(target)
    return ExportResult(target, len(shots), 0, failed)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder in `folder` to build in; gone afterwards. What the system refuses becomes ExportRefused."""
    staging = folder / f".{os.getpid()}-{os.urandom(6).hex()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*-*.part"):
            if (found := _STAGING.fullmatch(left.name)) and not _runs(int(found[1])):
                shutil.rmtree(left, ignore_errors=True)
        staging.mkdir()
        yield staging
    except OSError as error:
        raise ExportRefused(
            f"“{shown(str(folder))}” cannot be written: {reason(error)}. Make room there, or choose another folder."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether a process of ours is still there; one that was killed leaves its folder behind."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fetched(
    listing: TrainingImages,
    fetch: Callable[[TrainingImage], bytes],
    staging: Path,
    look: bool,
    threads: int,
    progress: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool],
) -> tuple[list[formats.ExportedImage], list[tuple[str, str]]]:
    """Every image in a file of its own, and those that could not be had; with `look`, what shows near-duplicates."""
    wanted = [(group.label, image) for group in listing.data for image in group.images]
    shots: list[formats.ExportedImage] = []
    failed: list[tuple[str, str]] = []
    in_a_row = 0
    halt = Event()

    def one(number: int, label: str, image: TrainingImage) -> formats.ExportedImage:
        if halt.is_set():
            raise Cancelled
        data = fetch(image)
        staged = staging / str(number)
        with staged.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return _shot(label, image, data, staged, look)

    with ThreadPoolExecutor(threads, "export") as pool:
        waiting: deque[Future[formats.ExportedImage]] = deque()
        try:
            for done, (label, image) in enumerate(wanted):
                while len(waiting) < 4 * threads and done + len(waiting) < len(wanted):
                    number = done + len(waiting)
                    waiting.append(pool.submit(one, number, *wanted[number]))
                if cancelled():
                    raise Cancelled
                try:
                    shots.append(waiting.popleft().result())
                    in_a_row = 0
                except WrongKey:
                    raise
                except ApiError as error:
                    in_a_row += 1
                    if in_a_row >= _GIVE_UP_AFTER:
                        raise
                    failed.append((f"{label}/{shown(image.filename)}", str(error)))
                if progress is not None:
                    progress(done + 1, len(wanted))
        except BaseException:
            halt.set()
            raise
    return shots, failed


def _shot(label: str, image: TrainingImage, data: bytes, staged: Path, look: bool) -> formats.ExportedImage:
    from apitorch_desktop.vision import images, near_duplicates

    shot = formats.ExportedImage(image, label, staged, len(data), hashlib.sha256(data).hexdigest())
    with suppress(images.UnreadableImage):  # what no program can show is exported all the same
        info = images.measure(data)
        shot.pixels = (info.width, info.height)
        if look:
            shot.pattern = near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
    return shot


def _divide(
    shots: list[formats.ExportedImage],
    split: Split,
    groups: Sequence[Sequence[str]],
    cancelled: Callable[[], bool] | None,
) -> None:
    """Give each image its part."""
    from apitorch_desktop.vision import near_duplicates

    same: dict[str, list[str]] = {}
    for shot in shots:
        same.setdefault(shot.sha256, []).append(shot.image.image_id)
    seen = [shot for shot in shots if shot.pattern is not None]
    pairs = near_duplicates.find_near_duplicates(
        [shot.pattern for shot in seen if shot.pattern is not None], cancelled=cancelled
    )
    alike = [[seen[index].image.image_id for index in group] for group in near_duplicates.group_pairs(pairs)]
    parts = parts_of({shot.image.image_id: shot.label for shot in shots}, split, [*same.values(), *alike, *groups])
    for shot in shots:
        shot.part = parts[shot.image.image_id]


def _index(form: ExportFormat, listing: TrainingImages, shots: list[formats.ExportedImage], tree: Path) -> None:
    match form:
        case ExportFormat.CSV:
            formats.write_csv(shots, tree)
        case ExportFormat.JSONL:
            formats.write_jsonl(shots, tree)
        case ExportFormat.CREATEML:
            formats.write_createml(shots, tree)
        case ExportFormat.CROISSANT:
            formats.write_croissant(listing, shots, tree)
        case _:
            pass


def _merge(shots: list[formats.ExportedImage], target: Path, failed: list[tuple[str, str]]) -> tuple[int, int]:
    """Move images into a tree that is there; how many were not written, and how many of these are there already."""
    kept = skipped = 0
    for shot in shots:
        place = target / shot.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            shot.staged.rename(place)
            continue
        kept += 1
        if hashlib.sha256(place.read_bytes()).hexdigest() == shot.sha256:
            skipped += 1
        else:
            failed.append((f"{shot.label}/{place.name}", "Another picture of this name is there already."))
    return kept, skipped
