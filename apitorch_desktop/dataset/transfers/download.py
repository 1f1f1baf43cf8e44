"""Downloads of a transfer: a training set into a folder tree. Files appear complete; existing ones are skipped."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.transfers.bundles import EXTENSION as BUNDLES
from apitorch_desktop.dataset.transfers.bundles import MAX_PARALLEL_BUNDLED, BundleFetcher, BundleItem
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal, TransferRow
from apitorch_desktop.dataset.transfers.rate_control import MAX_PARALLEL
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
from apitorch_desktop.utils.files import safe_filename, sync

_SMALL = 2**18
"""Bytes up to which an image is fetched in a bundle; the time of a larger one is not that of its call."""


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
                        str(image.label), f"{root}/{safe_filename(str(image.label))}/{safe_filename(image.filename)}",
                        image.filename,
                        image.bytes if isinstance(image.bytes, int) else None,
                        image.sha256 if isinstance(image.sha256, str) else None, image.image_id,
                    )
                    for image in listing.images
                ],
            )  # fmt: skip
        if BUNDLES in (client.ping().extensions or ()):
            self._bundles = BundleFetcher(self._entry.training_set, self._small())
            self.max_parallel = MAX_PARALLEL_BUNDLED

    def perform(
        self, client: ApiClient, item: TransferItem, progress: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> ItemResult:
        """Download one image, unless its file exists already."""
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
            and item.size <= _SMALL
            and not self._target(item).exists()
        ]

    def _target(self, item: TransferItem) -> Path:
        return self._folder / os.fsdecode(item.source)

    def _root(self, listing: Listing) -> str:
        return safe_filename(listing.slug or slugify(self._entry.title))

    def _delete_part_files(self, listing: Listing) -> None:
        """Delete the part files of an earlier run: no download of this transfer is under way now."""
        for label in listing.labels:
            for part in (self._folder / self._root(listing) / safe_filename(label)).glob(f"{self._mark}*.part"):
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
            os.replace(part, target)  # noqa: PTH105
        except BaseException:
            self._folders.discard(folder)  # it may have been deleted
            Path(part).unlink(missing_ok=True)
            raise
        with self._lock:
            self._written.append(target)


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
        raise NameTaken(f"“{target.name}” is there already and is another picture.")
    return None
