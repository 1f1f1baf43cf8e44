"""Export of a training set: folder tree, zip, CSV, JSONL, Create ML or Croissant, with an optional split."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from pathlib import Path, PurePosixPath
from threading import Event
from typing import TYPE_CHECKING, Any, Final, assert_never

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, WrongKey
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import INBOX, Id, TrainingImage
from apitorch_desktop.dataset.exporter.split import PARTS, Split, parts_of
from apitorch_desktop.dataset.sources.lists.names import are_read_as_labels
from apitorch_desktop.dataset.workspace.image_fetcher import ImageFetcher
from apitorch_desktop.dataset.workspace.listing import Listing, iter_answers
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import safe_filename, shortened_names
from apitorch_desktop.utils.paths import resources
from apitorch_desktop.utils.text import decoded, encoded, neutralized, reason, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    `left_out` counts images without a label, in a format that describes labels; `assigned` those without a split of
    their own that are in the part for training, where splits are kept.
    """

    path: Path
    written: int
    skipped: int
    failed: list[tuple[str, str]]
    left_out: int = 0
    assigned: int = 0


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
    again: Callable[[ApiError, int], bool] = lambda _error, _attempt: False,
) -> ExportResult:
    """Write a training set into `folder`; `fetch` returns an image's bytes and may raise ApiError.

    The export appears complete or not at all, and overwrites nothing: raises ExportRefused where the target exists.
    Only a folder tree without a split is merged into an existing one: images that it has are skipped, other files of
    the same name stay and are reported. With `jpeg`, photos that few programs read (HEIC, AVIF, JPEG XL, raw) are
    written as JPEGs. `groups` are image ids that a split keeps together; None finds near-duplicates. With `keep_splits`,
    images are in the part of their own split, those that have none in that for training. Images without a label lie
    beside the folders of labels. `progress(done, total)` counts images. `again(error, attempt)`
    returns whether to fetch an image again, after a pause; any thread calls it. Raises Cancelled, WrongKey, and the error of ten
    failed images in a row.
    """
    slug = listing.slug or slugify(listing.training_set_id)
    root = encoded(safe_filename(slug))
    target = folder / (encoded(safe_filename(f"{slug}.zip")) if export_format is ExportFormat.ZIP else root)
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
            images, fetch, staging, patterns, jpeg, threads, progress, cancelled or (lambda: False), again
        )
        if split is not None:
            _divide([image for image in exported if image.label], split, groups or [], cancelled)
        elif keep_splits:
            for image in exported:
                image.part = image.record.known_split or (PARTS[0] if image.label else "")
        own_parts = split is None and keep_splits
        assigned = sum(own_parts and bool(image.part) and not image.record.known_split for image in exported)
        if merging:
            skipped = _merge(exported, target, failed)
            if _needs_list(export_format, exported):
                _merge_list(exported, staging, target)
            return ExportResult(target, len(exported) - skipped[0], skipped[1], failed, left_out)
        tree = staging / root
        tree.mkdir()
        for image in exported:
            path = tree / encoded(str(image.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            image.staged.rename(path)
        _index(export_format, listing, exported, tree)
        if export_format is ExportFormat.ZIP:
            write_zip(tree, staging / target.name)
        (staging / target.name).rename(target)
    return ExportResult(target, len(exported), 0, failed, left_out, assigned)


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
    images: Sequence[TrainingImage],
    fetch: Callable[[TrainingImage], bytes],
    staging: Path,
    patterns: bool,
    jpeg: bool,
    threads: int,
    progress: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool],
    again: Callable[[ApiError, int], bool],
) -> tuple[list[ExportedImage], list[tuple[str, str]]]:
    """Download images into files; return them and (name, reason) of failures. `patterns`: for near-duplicates."""
    exported: list[ExportedImage] = []
    failed: list[tuple[str, str]] = []
    failed_in_a_row = 0
    stop = Event()

    def get(image: TrainingImage) -> bytes:
        for attempt in count(1):
            if stop.is_set():
                break
            try:
                return fetch(image)
            except ApiError as error:
                if not again(error, attempt):
                    raise
        raise Cancelled

    def download(number: int) -> ExportedImage:
        image = images[number]
        data = own = get(image)
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
        pending: deque[Future[ExportedImage]] = deque()
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


def _describe(image: TrainingImage, data: bytes, staged: Path, patterns: bool) -> ExportedImage:
    from apitorch_desktop.vision import images, near_duplicates

    label = "" if image.label == INBOX else str(image.label)
    exported = ExportedImage(image, label, staged, len(data), hashlib.sha256(data).hexdigest())
    with suppress(images.UnreadableImage):  # what no program can show is exported all the same
        info = images.measure(data)
        exported.pixels = (info.width, info.height)
        if patterns:
            exported.pattern = near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
    return exported


def _divide(
    exported: list[ExportedImage],
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


def _index(export_format: ExportFormat, listing: Listing, exported: list[ExportedImage], tree: Path) -> None:
    match export_format:
        case ExportFormat.CSV:
            write_csv(exported, tree)
        case ExportFormat.JSONL:
            write_jsonl(exported, tree)
        case ExportFormat.CREATEML:
            write_createml(exported, tree)
        case ExportFormat.CROISSANT:
            write_croissant(listing, exported, tree)
        case ExportFormat.IMAGEFOLDER | ExportFormat.ZIP:  # the folders alone
            pass
        case _:
            assert_never(export_format)
    if _needs_list(export_format, exported):
        write_csv(exported, tree)


def _needs_list(export_format: ExportFormat, exported: Sequence[ExportedImage]) -> bool:
    """Return whether the folders do not say all, nor the index of the format: labels are shortened, or “train”, or none."""
    labels = {image.label for image in exported if image.label}
    if export_format is ExportFormat.CSV or not exported:
        return False
    listed = export_format in (ExportFormat.JSONL, ExportFormat.CREATEML)
    return bool(shortened_names(labels)) or not (listed or are_read_as_labels(labels))


def _merge_list(exported: Sequence[ExportedImage], staging: Path, target: Path) -> None:
    """Write the list into an existing tree, with what an export wrote there of other images; another list stays."""
    write_csv(exported, staging)
    new, old = staging / CSV_NAME, target / CSV_NAME
    if old.is_file():
        with new.open("rb") as one, old.open("rb") as other:
            if one.readline() != other.readline():
                return
        with new.open("r+", encoding="utf-8", newline="") as file, old.open(encoding="utf-8", newline="") as other:
            paths = {row[0] for row in csv.reader(file)}
            csv.writer(file).writerows(row for row in csv.reader(other) if row and row[0] not in paths)
    new.replace(old)


def _merge(exported: list[ExportedImage], target: Path, failed: list[tuple[str, str]]) -> tuple[int, int]:
    """Move images into an existing tree; return how many were not written, and how many of these exist there."""
    kept = skipped = 0
    for image in exported:
        path = target / encoded(str(image.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            image.staged.rename(path)
            continue
        kept += 1
        if hashlib.sha256(path.read_bytes()).hexdigest() == image.sha256:
            skipped += 1
        else:
            failed.append((f"{image.label}/{image.path.name}", "Another photo of this name is there already."))
    return kept, skipped


CSV_NAME: Final = "labels.csv"
JSONL_NAME: Final = "metadata.jsonl"
"""Name that Hugging Face's image folder expects beside the images."""
CREATEML_NAME: Final = "_annotations.createml.json"
"""Name that programs which exchange Create ML's JSON expect beside the images."""
CROISSANT_NAME: Final = "croissant.json"


@dataclass(slots=True)
class ExportedImage:
    """An image of an export. `pixels` are width and height as shown; `part` is empty without a split, `label` without one.

    `ending` replaces that of its name, where it was converted. `pattern` is for finding near-duplicates, where that is wanted.
    """

    record: TrainingImage
    label: str
    staged: Path
    size: int
    sha256: str
    pixels: tuple[int, int] | None = None
    part: str = ""
    ending: str = ""
    pattern: NDArray[np.uint8] | None = None

    @property
    def path(self) -> PurePosixPath:
        """Path in the tree."""
        folder = safe_filename(self.label) if self.label else ""
        path = PurePosixPath(self.part, folder, safe_filename(self.record.filename))
        return path.with_suffix(self.ending) if self.ending else path

    @property
    def split(self) -> str:
        """The part that it is in, else its own split."""
        return self.part or self.record.known_split

    def fields(self) -> dict[str, Any]:
        """Return the values of an index beside path and label; None for those that are unknown."""
        width, height = self.pixels or (None, None)
        return {
            "image_id": self.record.image_id,
            "original_filename": _known(self.record.original_filename),
            "width": width,
            "height": height,
            "bytes": self.size,
            "sha256": self.sha256,
            "created_at": _known(self.record.created_at),
        }


def write_csv(images: Sequence[ExportedImage], tree: Path) -> None:
    """Write one `labels.csv` (RFC 4180, UTF-8) at the top of the tree; no text in it is a formula to a spreadsheet."""
    with (tree / CSV_NAME).open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "split", *(images[0].fields() if images else ())])
        for image in images:
            path = str(image.path)
            safe_path = path if neutralized(path) == path else f"./{path}"  # still the same path to every reader
            texts = (neutralized(value) if isinstance(value, str) else value for value in image.fields().values())
            writer.writerow([safe_path, neutralized(image.label), image.split, *texts])


def write_jsonl(images: Sequence[ExportedImage], tree: Path) -> None:
    """Write a `metadata.jsonl` at the top of the tree or of each part, which `file_name` is relative to."""
    with_splits = any(image.split for image in images)
    for part, members in _by_part(images).items():
        with (tree / part / JSONL_NAME).open("x", encoding="utf-8") as file:
            for image in members:
                line = {"file_name": str(image.path.relative_to(part)), "label": image.label or None, **image.fields()}
                if with_splits:
                    line["split"] = image.split or None
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_createml(images: Sequence[ExportedImage], tree: Path) -> None:
    """Write Create ML's JSON at the top of the tree or of each part; its image classifier reads the tree itself.

    A box is given by its center, in pixels: here it is the whole image.
    """
    for part, members in _by_part(images).items():
        entries = []
        for image in members:
            width, height = image.pixels or (0, 0)
            box = {"x": width / 2, "y": height / 2, "width": width, "height": height}
            entries.append(
                {
                    "image": str(image.path.relative_to(part)),
                    "annotations": [{"label": image.label, "coordinates": box}],
                }
            )
        (tree / part / CREATEML_NAME).write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")


def write_croissant(listing: Listing, images: Sequence[ExportedImage], tree: Path) -> None:
    """Write Croissant 1.0 (mlcommons.org/croissant) at the top of the tree; label and part are derived from the paths."""
    parts = sorted({image.part for image in images} - {""})
    prefix = f"(?:{'|'.join(parts)})/" if parts else ""
    endings = sorted({image.path.suffix for image in images})
    fields = [
        _field("image", "sc:ImageObject", "The picture.", {"fileProperty": "content"}),
        _field("file_name", "sc:Text", "Its path in the data set.", {"fileProperty": "fullpath"}),
        _field("label", "sc:Text", "Its label.", {"fileProperty": "fullpath"}, f"^{prefix}([^/]+)/"),
    ]
    if parts:
        fields.append(_field("split", "sc:Text", "Its part.", {"fileProperty": "fullpath"}, "^([^/]+)/"))
    name = listing.slug or listing.training_set_id
    labels = sorted({image.label for image in images})
    content = {
        "@context": json.loads((resources() / "croissant-context.json").read_text(encoding="utf-8")),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "training-set",
        "description": f"{len(images):,} images under {len(labels)} labels: {', '.join(labels)}.",
        "version": "1.0.0",
        "datePublished": datetime.now(UTC).date().isoformat(),
        **({"url": listing.url} if listing.url else {}),
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "image-files",
                "name": "image-files",
                "description": "The pictures, one folder a label.",
                "encodingFormat": "image/jpeg",
                "includes": [f"*/*{ending}" for ending in endings] or ["*/*"],
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": fields}],
    }
    (tree / CROISSANT_NAME).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def write_zip(tree: Path, target: Path) -> None:
    """Write the tree as a zip with its own folder at the top; images are not compressed again."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_STORED) as archive:
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                archive.write(path, decoded(str(path.relative_to(tree.parent))))


def _by_part(images: Iterable[ExportedImage]) -> dict[str, list[ExportedImage]]:
    parts: dict[str, list[ExportedImage]] = {}
    for image in images:
        parts.setdefault(image.part, []).append(image)
    return parts


def _known(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _field(name: str, kind: str, about: str, extract: dict[str, str], regex: str = "") -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "image-files"}, "extract": extract}
    if regex:
        source["transform"] = {"regex": regex}
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": about,
        "dataType": kind,
        "source": source,
    }
