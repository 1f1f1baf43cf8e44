"""Downloads of a transfer: a training set into a folder tree, each file whole or not at all, what is there skipped."""

import hashlib
import os
import zlib
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock
from time import monotonic

from apitorch_desktop.api import types
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import NotFound
from apitorch_desktop.api.slugs import slugify
from apitorch_desktop.dataset.transfers.bundles import AT_ONCE, BundleFetcher, BundleItem
from apitorch_desktop.dataset.transfers.bundles import EXTENSION as BUNDLES
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal, TransferRow
from apitorch_desktop.dataset.transfers.rate_control import MOST_AT_ONCE
from apitorch_desktop.dataset.workspace.scratch import scratch_label, without_scratch
from apitorch_desktop.dataset.workspace.whole import DamagedDownload, is_whole, whole
from apitorch_desktop.utils.errors import Cancelled, UserError
from apitorch_desktop.utils.files import safe_filename, sync

_TRIES = 3
_SMALL = 2**18
"""Bytes up to which an image comes in a bundle; the time of a larger one is its bytes', not the call's."""


class Downloader:
    """How a transfer's downloads are done; see `running.Method`."""

    careful = False
    at_once = MOST_AT_ONCE

    def __init__(self, journal: TransferJournal, entry: TransferRow) -> None:
        self._journal = journal
        self._entry = entry
        self._folder = entry.folder or Path()
        self._lock = Lock()
        self._urls: dict[str, str] = {}
        self._listed_at = 0.0
        self._made: list[Path] = []
        self._folders: set[Path] = set()
        self._halves = count()
        self._bundles: BundleFetcher | None = None
        # who else writes into this folder, from another journal, has other names
        self._mark = f".{zlib.crc32(os.fsencode(journal.folder.absolute())):08x}-{entry.id}-"

    def prepare(self, client: "ApiClient", cancelled: Callable[[], bool]) -> None:
        """List the training set; the first listing decides what will be fetched."""
        listing = self._list(client)
        if cancelled():
            raise Cancelled
        self._sweep(listing)
        if self._entry.listed or self._journal.items(self._entry.id, *ItemState):
            self._journal.wait_again(self._entry.id, ItemState.SENDING)
        else:
            root = self._root(listing)
            self._journal.fill(
                self._entry.id,
                [
                    (
                        group.label, f"{root}/{safe_filename(group.label)}/{safe_filename(image.filename)}", image.filename,
                        image.bytes if isinstance(image.bytes, int) else None,
                        image.sha256 if isinstance(image.sha256, str) else None, image.image_id,
                    )
                    for group in listing.data
                    for image in group.images
                ],
            )  # fmt: skip
        if BUNDLES in (client.ping().extensions or ()):
            self._bundles = BundleFetcher(self._entry.training_set, self._small())
            self.at_once = AT_ONCE

    def perform(
        self, client: "ApiClient", item: TransferItem, moved: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> ItemResult:
        """Fetch one image, unless it is there already."""
        target = self._target(item)
        if (size := _there(target, item)) is not None:
            return ItemResult(item.id, ItemState.SKIPPED, size)
        data = self._fetch(client, item, cancelled)
        if data is None:
            reason = "It is no longer in the training set."
            return ItemResult(item.id, ItemState.SKIPPED, 0, reason=reason)
        moved(len(data))
        self._write(target, data)
        sha256 = item.sha256 or hashlib.sha256(data).hexdigest()  # one that is known was held against the bytes
        return ItemResult(item.id, ItemState.DONE, len(data), sha256, created=True)

    def make_durable(self) -> None:
        """Have the files and their names on disk before the journal says so."""
        with self._lock:
            made, self._made = self._made, []
        sync(made, missing_ok=True)  # the person may have moved them meanwhile

    def _small(self) -> list[BundleItem]:
        """The images that are small, and not there yet."""
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

    def _root(self, listing: types.TrainingImages) -> str:
        return safe_filename(listing.training_set_slug or slugify(self._entry.title))

    def _sweep(self, listing: types.TrainingImages) -> None:
        """Delete the half files of an earlier run: nothing of this transfer is on its way now."""
        for group in listing.data:
            for half in (self._folder / self._root(listing) / safe_filename(group.label)).glob(f"{self._mark}*.part"):
                half.unlink(missing_ok=True)

    def _list(self, client: "ApiClient") -> types.TrainingImages:
        ours = scratch_label(self._journal.folder.parent, self._entry.connection, self._entry.training_set)
        listing = without_scratch(client.images(self._entry.training_set), ours)
        self._urls = {image.image_id: image.url for group in listing.data for image in group.images}
        self._listed_at = monotonic()
        return listing

    def _fetch(self, client: "ApiClient", item: TransferItem, cancelled: Callable[[], bool]) -> bytes | None:
        """The image's bytes, checked; None where it is gone. An address that has run out is fetched anew."""
        if self._bundles is not None and (data := self._bundles.take(client, item.image_id, cancelled)) is not None:
            return _checked(data, item)
        for attempt in range(_TRIES):
            begun = monotonic()
            url = self._urls.get(item.image_id)
            if url is None:
                return None
            try:
                if item.sha256 is not None:  # a wrong one is tried again later, as any failure
                    return _checked(client.download(url, cancelled=cancelled), item)
                return _checked(whole(partial(client.download, url, cancelled=cancelled), item.name), item)
            except NotFound:
                if attempt == _TRIES - 1:
                    raise
            with self._lock:  # of many that ran out together, the first lists for all
                if self._listed_at < begun:
                    self._list(client)
        return None

    def _write(self, target: Path, data: bytes) -> None:
        folder = target.parent
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        half = f"{folder}{os.sep}{self._mark}{next(self._halves)}.part"  # only who holds the transfer's lock writes
        try:
            with open(half, "wb") as file:  # noqa: PTH123 - a path less for each of many small files
                file.write(data)
            os.replace(half, target)  # noqa: PTH105
        except BaseException:
            self._folders.discard(folder)  # it may have been taken away
            Path(half).unlink(missing_ok=True)
            raise
        with self._lock:
            self._made.append(target)


class NameTaken(UserError):  # noqa: N818 - named for what is wrong
    """Another file has the name; `str()` is a sentence."""


def _checked(data: bytes, item: TransferItem) -> bytes:
    if item.size is not None and len(data) != item.size:
        raise DamagedDownload(f"“{item.name}” arrived with {len(data):,} bytes in place of {item.size:,}.")
    if item.sha256 is not None and hashlib.sha256(data).hexdigest() != item.sha256:
        raise DamagedDownload(f"“{item.name}” arrived damaged.")
    return data


def _there(target: Path, item: TransferItem) -> int | None:
    """The size of the image where it is there already, as far as can be told. Raises InTheWay."""
    if not os.path.lexists(target):
        return None
    try:
        data = target.read_bytes()
    except FileNotFoundError:
        return None
    # without a hash the file name stands for the image; only half a file is worth fetching again
    same = is_whole(data) if item.sha256 is None else hashlib.sha256(data).hexdigest() == item.sha256
    if same:
        return len(data)
    if is_whole(data):
        raise NameTaken(f"“{target.name}” is there already and is another picture.")
    return None
