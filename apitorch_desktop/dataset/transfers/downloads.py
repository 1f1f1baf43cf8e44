"""Downloads of a transfer: a training set into a folder tree. Files appear complete; existing ones are skipped."""

import csv
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path, PurePosixPath
from threading import Event, Lock
from typing import Final, NamedTuple

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import INBOX, Id, TrainingImage
from apitorch_desktop.dataset.sources.lists.names import are_read_as_labels
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal, TransferRow
from apitorch_desktop.dataset.transfers.model import Outcome, Progress
from apitorch_desktop.dataset.transfers.rate_control import MAX_PARALLEL
from apitorch_desktop.dataset.workspace.bundles import BUNDLE_BYTES, SMALL
from apitorch_desktop.dataset.workspace.image_fetcher import (
    DamagedDownload,
    ImageFetcher,
    ImageMissing,
    is_complete,
    verified,
)
from apitorch_desktop.dataset.workspace.listing import Listing, iter_answers
from apitorch_desktop.dataset.workspace.scratch import scratch_label
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import atomic_write, move_into_place, safe_filename, shortened_names, sync
from apitorch_desktop.utils.text import encoded

_BUNDLES: Final = "images.archive"
MAX_PARALLEL_BUNDLED: Final = 3
"""Parallel images: one thread fetches the next bundle while others write; more only wait for the interpreter."""
_BUNDLE_IMAGES: Final = 64


class BundleItem(NamedTuple):
    """An image that will be requested; `size` in bytes."""

    image_id: str
    filename: str
    size: int


class _Bundle(NamedTuple):
    images: list[BundleItem]
    arrived: Event


class BundleFetcher:
    """Returns each of the images `items` once, in about that order. Thread-safe."""

    def __init__(self, training_set: Id, items: Sequence[BundleItem]) -> None:
        self._training_set = training_set
        self._items = items
        self._indexes = {item.image_id: index for index, item in enumerate(items)}
        self._lock = Lock()
        self._requested: dict[str, _Bundle] = {}
        self._arrived: dict[str, bytes] = {}
        self._finished: set[str] = set()

    def take(self, client: ApiClient, image_id: str, cancelled: Callable[[], bool]) -> bytes | None:
        """Return an image's bytes, or None for one that has to be fetched alone. Raises ApiError."""
        index = self._indexes.get(image_id)
        if index is None:
            return None
        data = self._get(client, image_id, index, cancelled)
        if data is not None:
            self._fetch_ahead(client, index, cancelled)
        return data

    def _get(self, client: ApiClient, image_id: str, index: int, cancelled: Callable[[], bool]) -> bytes | None:
        while True:
            with self._lock:
                if image_id in self._arrived:
                    return self._arrived.pop(image_id)
                if image_id in self._finished:
                    return None
                bundle = self._requested.get(image_id)
                own = self._next(index) if bundle is None else None
            if own is not None:
                self._fetch(client, own, cancelled)
            while bundle is not None and not bundle.arrived.wait(0.1):
                if cancelled():
                    raise Cancelled

    def _fetch_ahead(self, client: ApiClient, index: int, cancelled: Callable[[], bool]) -> None:
        """Fetch the next bundle before this one is used up, while other threads write."""
        with self._lock:
            if self._requested or len(self._arrived) >= _BUNDLE_IMAGES // 2:
                return
            bundle = self._next(index)
        if bundle.images:
            with suppress(ApiError):  # the next `take` of one of them tries again
                self._fetch(client, bundle, cancelled)

    def _next(self, index: int) -> _Bundle:
        """Return the next bundle of images, from an index on, that have not been requested; they now are."""
        bundle = _Bundle([], Event())
        size = 0
        for item in islice(self._items, index, None):
            if item.image_id in self._finished or item.image_id in self._requested:
                continue
            size += item.size
            if bundle.images and (size > BUNDLE_BYTES or len(bundle.images) == _BUNDLE_IMAGES):
                break
            bundle.images.append(item)
            self._requested[item.image_id] = bundle
        return bundle

    def _fetch(self, client: ApiClient, bundle: _Bundle, cancelled: Callable[[], bool]) -> None:
        ids = [item.image_id for item in bundle.images]
        found: dict[str, bytes] = {}
        final = False
        """Another request would bring no more: what is missing has to be fetched alone."""
        try:
            found = client.archive(self._training_set, ids, cancelled=cancelled)
            final = True
        except ApiError as error:
            final = not error.can_retry
            if not final:
                raise
        finally:
            with self._lock:
                for item in bundle.images:
                    del self._requested[item.image_id]
                    if item.filename in found:
                        self._arrived[item.image_id] = found[item.filename]
                if final:
                    self._finished.update(ids)
            bundle.arrived.set()


class Downloader:
    """`TransferMethod` of downloads."""

    verifies_lost = False
    max_parallel = MAX_PARALLEL

    def __init__(self, journal: TransferJournal, entry: TransferRow) -> None:
        self._journal = journal
        self._entry = entry
        self._folder = entry.folder or Path()
        self._lock = Lock()
        self._client: ApiClient | None = None
        self._fetcher = ImageFetcher(self._relist, attempts=3)
        self._written: list[Path] = []
        self._folders: set[Path] = set()
        self._part_numbers = count()
        self._bundles: BundleFetcher | None = None
        # other names than those of another journal's transfer into the same folder
        self._mark = f".{zlib.crc32(os.fsencode(journal.folder.absolute())):08x}-{entry.id}-"

    def prepare(self, client: ApiClient, cancelled: Callable[[], bool]) -> None:
        """List the training set; the first listing determines the items."""
        listing = self._list(client)
        if cancelled():
            raise Cancelled
        self._fetcher.update(self._entry.training_set, _addresses(listing))
        self._delete_part_files(listing)
        if self._entry.listed or self._journal.items(self._entry.id, *ItemState):
            self._journal.wait_again(self._entry.id, ItemState.SENDING)
        else:
            root = self._root(listing)
            self._journal.fill(
                self._entry.id,
                [
                    (
                        str(image.label), f"{_folder_of(root, str(image.label))}/{safe_filename(image.filename)}",
                        image.filename,
                        image.bytes if isinstance(image.bytes, int) else None,
                        image.sha256 if isinstance(image.sha256, str) else None, image.image_id,
                    )
                    for image in listing.images
                ],
            )  # fmt: skip
            self._write_labels(listing)
        if _BUNDLES in (client.ping().extensions or ()):
            self._bundles = BundleFetcher(self._entry.training_set, self._small())
            self.max_parallel = MAX_PARALLEL_BUNDLED

    def fits_bundle(self, items: Sequence[TransferItem], item: TransferItem) -> bool:  # noqa: ARG002
        """Return False: bundles are fetched ahead, and each image is written by itself."""
        return False

    def perform(
        self, client: ApiClient, items: Sequence[TransferItem], progress: Progress, cancelled: Callable[[], bool]
    ) -> Sequence[Outcome]:
        """Download one image, unless its file exists already."""
        return [self._download(client, item, partial(progress, item), cancelled) for item in items]

    def _download(
        self, client: ApiClient, item: TransferItem, progress: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> ItemResult:
        target = self._target(item)
        if (size := _existing_size(target, item)) is not None:
            return ItemResult(item.id, ItemState.SKIPPED, size)
        data = self._fetch(client, item, cancelled)
        if data is None:
            reason = "It is no longer in the training set."
            return ItemResult(item.id, ItemState.SKIPPED, 0, reason=reason)
        progress(len(data))
        self._write(target, data)
        sha256 = item.sha256 or hashlib.sha256(data).hexdigest()  # a known one was verified
        return ItemResult(item.id, ItemState.DONE, len(data), sha256, created=True)

    def make_durable(self) -> None:
        """Sync the files and their names before the journal records them."""
        with self._lock:
            written, self._written = self._written, []
        sync(written, missing_ok=True)  # the user may have moved them meanwhile

    def _small(self) -> list[BundleItem]:
        """Return the small images whose files do not exist yet."""
        return [
            BundleItem(item.image_id, item.name, item.size)
            for item in self._journal.items(self._entry.id, ItemState.WAITING)
            if item.size is not None
            and item.sha256 is not None
            and item.size <= SMALL
            and not self._target(item).exists()
        ]

    def _target(self, item: TransferItem) -> Path:
        return self._folder / os.fsdecode(item.source)

    def _root(self, listing: Listing) -> str:
        return safe_filename(listing.slug or slugify(self._entry.title))

    def _write_labels(self, listing: Listing) -> None:
        """Write the labels that folders do not say, so that an import finds them: shortened ones, “train”, none at all."""
        labels = [str(label) for label in listing.labels if label != INBOX]
        if not listing.images or (are_read_as_labels(labels) and not shortened_names(labels)):
            return
        folder = self._folder / encoded(self._root(listing))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "labels.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", "label"])
            for image in listing.images:
                label = "" if image.label == INBOX else str(image.label)
                path = PurePosixPath(safe_filename(label) if label else "", safe_filename(image.filename))
                writer.writerow([str(path), label])

    def _delete_part_files(self, listing: Listing) -> None:
        """Delete the part files of an earlier run: no download of this transfer is under way now."""
        for label in listing.labels:
            for part in (self._folder / encoded(_folder_of(self._root(listing), label))).glob(f"{self._mark}*.part"):
                part.unlink(missing_ok=True)

    def _relist(self, _training_set: Id) -> Iterator[TrainingImage]:
        assert self._client is not None  # noqa: S101 - for mypy: a call came before
        return _addresses(self._list(self._client))

    def _list(self, client: ApiClient) -> Listing:
        connection, training_set = self._entry.connection, self._entry.training_set
        label = scratch_label(self._journal.folder.parent, connection, training_set)
        self._client = client
        return Listing.from_answers(iter_answers(client, training_set, paged=False, scratch_label=label))

    def _fetch(self, client: ApiClient, item: TransferItem, cancelled: Callable[[], bool]) -> bytes | None:
        """Return the verified bytes of an image, None where it no longer exists."""
        data = self._bundles.take(client, item.image_id, cancelled) if self._bundles is not None else None
        if data is not None:
            return _checked(data, item)

        def get(newest: TrainingImage) -> bytes:
            return verified(partial(client.download, newest.url, cancelled=cancelled), item.name, item.sha256)

        self._client = client
        training_set = self._entry.training_set
        record = self._fetcher.known(training_set, item.image_id)
        try:
            return _checked(self._fetcher.use(client, training_set, record, get), item) if record is not None else None
        except ImageMissing:
            return None

    def _write(self, target: Path, data: bytes) -> None:
        folder = target.parent
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        # unique: only the owner of the transfer's lock writes
        part = f"{folder}{os.sep}{self._mark}{next(self._part_numbers)}.part"
        try:
            with open(part, "wb") as file:  # noqa: PTH123 - one `Path` less for each of many small files
                file.write(data)
            if sys.platform == "win32":
                move_into_place(Path(part), target)
            else:
                os.replace(part, target)  # noqa: PTH105 - one `Path` less
        except BaseException:
            self._folders.discard(folder)  # it may have been deleted
            Path(part).unlink(missing_ok=True)
            raise
        with self._lock:
            self._written.append(target)


def _folder_of(root: str, label: str) -> str:
    """Return the folder of a label below that of its training set; images without one lie beside the labels' folders."""
    return root if label == INBOX else f"{root}/{safe_filename(label)}"


def _addresses(listing: Listing) -> Iterator[TrainingImage]:
    """Yield an image's id and URL only: a long download keeps them in memory."""
    return (TrainingImage(filename="", url=image.url, id=image.image_id) for image in listing.images)


class NameTaken(UserError):  # noqa: N818 - named for what is wrong
    """Another file has the name of an image; `str()` is a sentence."""


def _checked(data: bytes, item: TransferItem) -> bytes:
    if item.size is not None and len(data) != item.size:
        raise DamagedDownload(f"“{item.name}” arrived with {len(data):,} bytes in place of {item.size:,}.")
    if item.sha256 is not None and hashlib.sha256(data).hexdigest() != item.sha256:
        raise DamagedDownload(f"“{item.name}” arrived damaged.")
    return data


def _existing_size(target: Path, item: TransferItem) -> int | None:
    """Return the size of the file if it is the image, None if there is none. Raises NameTaken."""
    if not os.path.lexists(target):
        return None
    try:
        data = target.read_bytes()
    except FileNotFoundError:
        return None
    # without a hash the file name identifies the image; only an incomplete file is downloaded again
    same = is_complete(data) if item.sha256 is None else hashlib.sha256(data).hexdigest() == item.sha256
    if same:
        return len(data)
    if is_complete(data):
        raise NameTaken(f"“{target.name}” is there already, and is another photo.")
    return None
