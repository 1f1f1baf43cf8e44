"""Export of a training set: folder tree, zip, CSV, JSONL, Create ML or Croissant, with an optional split."""

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
from threading import Event
from typing import Final, assert_never

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, WrongKey
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import INBOX, Id, TrainingImage
from apitorch_desktop.dataset.exporter import formats
from apitorch_desktop.dataset.exporter.split import PARTS, Split, parts_of
from apitorch_desktop.dataset.workspace.image_fetcher import ImageFetcher
from apitorch_desktop.dataset.workspace.listing import Listing, iter_answers
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import safe_filename, shortened_names
from apitorch_desktop.utils.text import reason, shown

_GIVE_UP_AFTER: Final = 10
_STAGING: Final = re.compile(r"\.([0-9]{1,9})-[0-9a-f]{12}\.part")


class ExportFormat(StrEnum):
    """Format of an export; images always lie in `<slug>/[<part>/]<label>/<filename>`."""

    IMAGEFOLDER = "imagefolder"
    ZIP = "zip"
    CSV = "csv"
    JSONL = "jsonl"
    CREATEML = "createml"
    CROISSANT = "croissant"


_OF_LABELS: Final = frozenset({ExportFormat.CREATEML, ExportFormat.CROISSANT})
"""Formats that describe labels, and have no place for images without one."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Outcome of an export. `path` is what was written; `failed` holds (name, reason) of images that are missing.

    `left_out` counts images without a label, in a format that describes labels.
    """

    path: Path
    written: int
    skipped: int
    failed: list[tuple[str, str]]
    left_out: int = 0


class ExportRefused(UserError):  # noqa: N818 - named for what happened
    """Nothing was written; `str()` states the reason and what to do."""


def client_source(
    client: ApiClient, training_set_id: Id, *, scratch_label: str = ""
) -> tuple[Listing, Callable[[TrainingImage], bytes]]:
    """Return `listing` and `fetch` of `export`, for callers without a workspace. Raises ApiError."""

    def relist() -> Listing:
        return Listing.from_answers(iter_answers(client, training_set_id, paged=False, scratch_label=scratch_label))

    listing = relist()
    fetcher = ImageFetcher(lambda _training_set_id: relist().images)
    fetcher.update(training_set_id, listing.images)
    return listing, lambda image: fetcher.fetch(client, training_set_id, image)


def export(
    listing: Listing,
    fetch: Callable[[TrainingImage], bytes],
    folder: Path,
    export_format: ExportFormat = ExportFormat.IMAGEFOLDER,
    *,
    split: Split | None = None,
    keep_splits: bool = False,
    groups: Sequence[Sequence[str]] | None = None,
    jpeg: bool = False,
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportResult:
    """Write a training set into `folder`; `fetch` returns an image's bytes and may raise ApiError.

    The export appears complete or not at all, and overwrites nothing: raises ExportRefused where the target exists.
    Only a folder tree without a split is merged into an existing one: images that it has are skipped, other files of
    the same name stay and are reported. With `jpeg`, photos that few programs read (HEIC, AVIF, JPEG XL, raw) are
    written as JPEGs. `groups` are image ids that a split keeps together; None finds near-duplicates. With `keep_splits`,
    images are in the part of their own split, those that have none in that for training. Images without a label lie
    beside the folders of labels. `progress(done, total)` counts images. Raises Cancelled, WrongKey, and the error of ten
    failed images in a row.
    """
    slug = listing.slug or slugify(listing.training_set_id)
    root = safe_filename(slug)
    target = folder / (safe_filename(f"{slug}.zip") if export_format is ExportFormat.ZIP else root)
    merging = export_format is ExportFormat.IMAGEFOLDER and split is None and not keep_splits and target.is_dir()
    if not merging and target.exists():
        raise ExportRefused(f"“{shown(str(target))}” is there already. Choose another folder, or move it away.")
    with _staging(folder) as staging:
        patterns = split is not None and groups is None
        images = listing.images
        if export_format in _OF_LABELS:
            images = [image for image in images if image.label != INBOX]
        left_out = len(listing.images) - len(images)
        exported, failed = _download(
            images, fetch, staging, patterns, jpeg, threads, progress, cancelled or (lambda: False)
        )
        if split is not None:
            _divide([image for image in exported if image.label], split, groups or [], cancelled)
        elif keep_splits:
            for image in exported:
                image.part = image.record.known_split or (PARTS[0] if image.label else "")
        if merging:
            skipped = _merge(exported, target, failed)
            return ExportResult(target, len(exported) - skipped[0], skipped[1], failed, left_out)
        tree = staging / root
        tree.mkdir()
        for image in exported:
            path = tree / image.path
            path.parent.mkdir(parents=True, exist_ok=True)
            image.staged.rename(path)
        _index(export_format, listing, exported, tree)
        if export_format is ExportFormat.ZIP:
            formats.write_zip(tree, staging / target.name)
        (staging / target.name).rename(target)
    return ExportResult(target, len(exported), 0, failed, left_out)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder in `folder`, removed afterwards. Turns OSError into ExportRefused."""
    staging = folder / f".{os.getpid()}-{os.urandom(6).hex()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*-*.part"):
            if (found := _STAGING.fullmatch(left.name)) and not _is_running(int(found[1])):
                shutil.rmtree(left, ignore_errors=True)
        staging.mkdir()
        yield staging
    except OSError as error:
        raise ExportRefused(
            f"“{shown(str(folder))}” cannot be written: {reason(error)}. Make room there, or choose another folder."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_running(process: int) -> bool:
    """Return whether a process still runs; one that was killed leaves its folder behind."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _download(
    images: list[TrainingImage],
    fetch: Callable[[TrainingImage], bytes],
    staging: Path,
    patterns: bool,
    jpeg: bool,
    threads: int,
    progress: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool],
) -> tuple[list[formats.ExportedImage], list[tuple[str, str]]]:
    """Download images into files; return them and (name, reason) of failures. `patterns`: for near-duplicates."""
    exported: list[formats.ExportedImage] = []
    failed: list[tuple[str, str]] = []
    failed_in_a_row = 0
    stop = Event()

    def download(number: int) -> formats.ExportedImage:
        if stop.is_set():
            raise Cancelled
        image = images[number]
        data = own = fetch(image)
        if jpeg:
            from apitorch_desktop.vision import images as decoding

            data = decoding.universal(own)
        staged = staging / str(number)
        with staged.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        exported = _describe(image, data, staged, patterns)
        exported.ending = "" if data is own else ".jpg"
        return exported

    with ThreadPoolExecutor(threads, "export") as pool:
        pending: deque[Future[formats.ExportedImage]] = deque()
        try:
            for done, image in enumerate(images):
                while len(pending) < 4 * threads and done + len(pending) < len(images):
                    pending.append(pool.submit(download, done + len(pending)))
                if cancelled():
                    raise Cancelled
                try:
                    exported.append(pending.popleft().result())
                    failed_in_a_row = 0
                except WrongKey:
                    raise
                except ApiError as error:
                    failed_in_a_row += 1
                    if failed_in_a_row >= _GIVE_UP_AFTER:
                        raise
                    failed.append((f"{image.label}/{shown(image.filename)}", str(error)))
                if progress is not None:
                    progress(done + 1, len(images))
        except BaseException:
            stop.set()
            raise
    return exported, failed


def _describe(image: TrainingImage, data: bytes, staged: Path, patterns: bool) -> formats.ExportedImage:
    from apitorch_desktop.vision import images, near_duplicates

    label = "" if image.label == INBOX else str(image.label)
    exported = formats.ExportedImage(image, label, staged, len(data), hashlib.sha256(data).hexdigest())
    with suppress(images.UnreadableImage):  # what no program can show is exported all the same
        info = images.measure(data)
        exported.pixels = (info.width, info.height)
        if patterns:
            exported.pattern = near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
    return exported


def _divide(
    exported: list[formats.ExportedImage],
    split: Split,
    groups: Sequence[Sequence[str]],
    cancelled: Callable[[], bool] | None,
) -> None:
    """Assign each image its part of the split."""
    from apitorch_desktop.vision import near_duplicates

    same: dict[str, list[str]] = {}
    for image in exported:
        same.setdefault(image.sha256, []).append(image.record.image_id)
    seen = [image for image in exported if image.pattern is not None]
    pairs = near_duplicates.find_near_duplicates(
        [image.pattern for image in seen if image.pattern is not None], cancelled=cancelled
    )
    alike = [[seen[index].record.image_id for index in group] for group in near_duplicates.group_pairs(pairs)]
    parts = parts_of(
        {image.record.image_id: image.label for image in exported}, split, [*same.values(), *alike, *groups]
    )
    for image in exported:
        image.part = parts[image.record.image_id]


def _index(export_format: ExportFormat, listing: Listing, exported: list[formats.ExportedImage], tree: Path) -> None:
    match export_format:
        case ExportFormat.CSV:
            formats.write_csv(exported, tree)
        case ExportFormat.JSONL:
            formats.write_jsonl(exported, tree)
        case ExportFormat.CREATEML:
            formats.write_createml(exported, tree)
        case ExportFormat.CROISSANT:
            formats.write_croissant(listing, exported, tree)
        case ExportFormat.IMAGEFOLDER | ExportFormat.ZIP:  # the folders alone
            pass
        case _:
            assert_never(export_format)
    if export_format is not ExportFormat.CSV and shortened_names(image.label for image in exported):
        formats.write_csv(exported, tree)  # the folders do not say all


def _merge(exported: list[formats.ExportedImage], target: Path, failed: list[tuple[str, str]]) -> tuple[int, int]:
    """Move images into an existing tree; return how many were not written, and how many of these exist there."""
    kept = skipped = 0
    for image in exported:
        path = target / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            image.staged.rename(path)
            continue
        kept += 1
        if hashlib.sha256(path.read_bytes()).hexdigest() == image.sha256:
            skipped += 1
        else:
            failed.append((f"{image.label}/{path.name}", "Another photo of this name is there already."))
    return kept, skipped
