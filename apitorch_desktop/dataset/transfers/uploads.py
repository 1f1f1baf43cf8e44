"""Uploads of a transfer, with a search for images whose answer was lost."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from threading import Lock

from apitorch_desktop.api import types
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError, NotFound
from apitorch_desktop.api.multipart import SentFile, read_file
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import (
    ArchiveMember,
    ImageBytes,
    ImageFile,
    ImageUrl,
    Source,
    SourceMissing,
    filename_of,
)
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal, TransferRow
from apitorch_desktop.dataset.transfers.model import Outcome, Progress
from apitorch_desktop.dataset.transfers.rate_control import MAX_PARALLEL
from apitorch_desktop.dataset.workspace.bundles import fits_upload, takes_uploads
from apitorch_desktop.dataset.workspace.listing import iter_images, list_labels
from apitorch_desktop.utils.text import shown

MAX_BYTES = 256 * 2**20


class Uploader:
    """`TransferMethod` of uploads.

    A service that lists extensions is one of this program: the same image for the same label is one image there, so that
    sending it again is harmless, and its listing contains hashes. With any other service, the images that were added to
    the labels since the transfer began are downloaded and compared before an item whose answer was lost is sent again.
    """

    def __init__(self, journal: TransferJournal, entry: TransferRow, archives: Archives) -> None:
        self.verifies_lost = True
        self.max_parallel = MAX_PARALLEL
        self._takes_bundles = False
        self._journal = journal
        self._entry = entry
        self._archives = archives
        self._lock = Lock()
        self._baseline: set[str] = set()
        self._uploaded_ids: set[str] = set()

    def prepare(self, client: ApiClient, cancelled: Callable[[], bool]) -> None:
        """Record which images exist before the first upload; later, search for items whose answer was lost."""
        extensions = set(client.ping().extensions or ())
        self.verifies_lost = not extensions
        self._takes_bundles = takes_uploads(extensions)
        transfer = self._entry.id
        before = self._journal.baseline(transfer)
        lost = self._journal.items(transfer, ItemState.SENDING)
        listing: list[types.TrainingImage] = []
        if before is None or lost:
            labels = self._journal.labels(transfer)
            listing = _list_images(client, self._entry.training_set, labels, paged="paging" in extensions)
        if before is None:
            before = {bare_id(image.image_id) for image in listing}
            self._journal.set_baseline(transfer, before)
        self._baseline = before
        self._uploaded_ids = {bare_id(item.image_id) for item in self._journal.items(transfer, ItemState.DONE)}
        if lost:
            self._journal.record(self._find_lost(client, lost, listing, cancelled))

    def fits_bundle(self, items: Sequence[TransferItem], item: TransferItem) -> bool:
        """Return whether `item` is small, and goes under the label of `items`, with room in one call."""
        first = items[0]
        return (
            self._takes_bundles
            and (first.label, first.split) == (item.label, item.split)
            and all(one.kind != "url" and one.size is not None for one in (first, item))
            and fits_upload([one.size or 0 for one in items], item.size or 0)
        )

    def perform(
        self, client: ApiClient, items: Sequence[TransferItem], progress: Progress, cancelled: Callable[[], bool]
    ) -> Sequence[Outcome]:
        """Upload one image, or several in one call."""
        if len(items) > 1:
            with suppress(NotFound):
                return self._upload_bundle(client, items, progress, cancelled)
            self._takes_bundles = False  # the training set is gone, or another version of the service answers now
        return [self._outcome(client, item, partial(progress, item), cancelled) for item in items]

    def _upload_bundle(
        self, client: ApiClient, items: Sequence[TransferItem], progress: Progress, cancelled: Callable[[], bool]
    ) -> Sequence[Outcome]:
        outcomes: dict[int, Outcome] = {}
        sent: list[tuple[TransferItem, bytes, str]] = []
        for item in items:
            try:
                source = self._source(item)
                assert not isinstance(source, ImageUrl)  # noqa: S101 - for mypy: these do not go together
                name = _filename(item, source)
                data = read_file(source.path, name) if isinstance(source, ImageFile) else self._read(item, source)
                sent.append((item, data, name))
            except (ApiError, SourceMissing, OSError) as error:
                outcomes[item.id] = error
        if sent:
            answers = client.upload_images(
                self._entry.training_set,
                items[0].label,
                [SentFile(data, name) for _, data, name in sent],
                split=items[0].split,
                on_sent=_SharedProgress([(item, len(data)) for item, data, _ in sent], progress),
                cancelled=cancelled,
                repeat=False,
            )
            for (item, data, _), answer in zip(sent, answers, strict=True):
                outcomes[item.id] = answer if isinstance(answer, ApiError) else self._result(item, answer, _hash(data))
        return [outcomes[item.id] for item in items]

    def _outcome(
        self, client: ApiClient, item: TransferItem, progress: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        try:
            return self._upload(client, item, progress, cancelled)
        except Exception as error:  # noqa: BLE001 - that of this image alone
            return error

    def _upload(
        self, client: ApiClient, item: TransferItem, progress: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> ItemResult:
        training_set, label = self._entry.training_set, item.label
        source = self._source(item)
        if isinstance(source, ImageUrl):
            answer = client.upload_image_url(training_set, label, source.url, split=item.split)
            return self._result(item, answer, None)
        path, data, name = None, None, _filename(item, source)
        if isinstance(source, ImageFile):
            data = _large_raw(source.path)
            path, name = (source.path, name) if data is None else (None, f"{PurePath(name).stem}.jpg")
            digest = item.sha256
        else:
            data = self._read(item, source)
            digest = _hash(data)
        answer = client.upload_image(
            training_set,
            label,
            path=path,
            data=data,
            filename=name,
            split=item.split,
            on_sent=progress,
            cancelled=cancelled,
            repeat=False,
        )
        return self._result(item, answer, digest)

    def _source(self, item: TransferItem) -> Source:
        """Return the source of an image. Raises SourceMissing for one that is not kept any more."""
        try:
            return self._journal.source(item)
        except OSError:
            raise SourceMissing(f"“{item.name}” is not kept any more: add it again.") from None

    def _read(self, item: TransferItem, source: ArchiveMember | ImageBytes) -> bytes:
        """Read an image. Raises SourceMissing, also where it has changed, and OSError."""
        data = read(source, self._archives, MAX_BYTES)
        if item.sha256 is not None and _hash(data) != item.sha256:
            raise SourceMissing(f"“{item.name}” has changed since it was looked at: import it again.")
        return data

    def make_durable(self) -> None:
        """Do nothing: the service has stored them."""

    def _result(self, item: TransferItem, answer: types.ImageAnswer, digest: str | None) -> ItemResult:
        size = answer.bytes if isinstance(answer.bytes, int) else None
        return self._uploaded(item, answer.id, size, answer.sha256 if isinstance(answer.sha256, str) else digest)

    def _uploaded(self, item: TransferItem, image_id: str, size: int | None, digest: str | None) -> ItemResult:
        with self._lock:
            new = bare_id(image_id) not in self._baseline and bare_id(image_id) not in self._uploaded_ids
            self._uploaded_ids.add(bare_id(image_id))
        state = ItemState.DONE if new else ItemState.SKIPPED
        return ItemResult(item.id, state, size, digest, image_id=image_id, created=new)

    def _find_lost(
        self,
        client: ApiClient,
        lost: list[TransferItem],
        listing: list[types.TrainingImage],
        cancelled: Callable[[], bool],
    ) -> list[ItemResult]:
        """Return results for items whose answer was lost: they exist after all, or wait again."""
        existing: dict[tuple[str, str], str] = {}
        unknown: dict[str, list[types.TrainingImage]] = {}
        known = self._baseline | self._uploaded_ids
        for image in listing:
            label = image.label if isinstance(image.label, str) else ""
            if isinstance(image.sha256, str):
                existing.setdefault((label, image.sha256), image.image_id)
            elif bare_id(image.image_id) not in known:
                unknown.setdefault(label, []).append(image)
        for label in {item.label for item in lost}:
            for image in unknown.get(label, ()):
                try:
                    data = client.download(image.url, cancelled=cancelled)
                except NotFound:
                    continue
                existing.setdefault((label, hashlib.sha256(data).hexdigest()), image.image_id)
        results: list[ItemResult] = []
        for item in lost:
            digest = item.sha256 or self._digest(item)
            image_id = existing.get((item.label, digest or ""))
            if image_id is None and (sent := self._digest(item, client)):
                image_id = existing.get((item.label, sent))
            if image_id is None:
                results.append(ItemResult(item.id, ItemState.WAITING))
            else:
                results.append(self._uploaded(item, image_id, None, digest))
        return results

    def _digest(self, item: TransferItem, client: ApiClient | None = None) -> str | None:
        """Return the hash of an image, or with a `client` of what that sends; None where it cannot be read."""
        try:
            source = self._journal.source(item)
            if isinstance(source, ImageUrl):
                return None
            data = read(source, self._archives, MAX_BYTES)
            if client is not None:
                data = (_large_raw(source.path) if isinstance(source, ImageFile) else None) or client.as_sent(data)
            return _hash(data)
        except (SourceMissing, OSError):
            return None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _SharedProgress:
    """Tells of images that go one after another in one body how many bytes of each were sent."""

    def __init__(self, images: Sequence[tuple[TransferItem, int]], progress: Progress) -> None:
        self._images = images
        self._progress = progress
        self._sent = self._index = self._start = 0

    def __call__(self, sent: int) -> None:
        """Take in the bytes of the body sent so far; fewer than before where it begins again."""
        if sent < self._sent:
            self._index = self._start = 0
        self._sent = sent
        while self._index < len(self._images):
            item, size = self._images[self._index]
            self._progress(item, min(sent - self._start, size))
            if sent - self._start < size:
                break
            self._start += size
            self._index += 1


def _filename(item: TransferItem, source: Source) -> str:
    """Return the name that an image is sent under: its own, unless a list says how it was called once."""
    own = filename_of(source)
    return own if item.name == shown(own) else item.name


def _large_raw(path: Path) -> bytes | None:
    from apitorch_desktop.vision.images import large_raw_as_jpeg

    return large_raw_as_jpeg(path)


def _list_images(
    client: ApiClient, training_set: types.Id, labels: Collection[str], *, paged: bool
) -> list[types.TrainingImage]:
    """Return the images under some labels of a training set."""
    if not paged:
        return [image for image in iter_images(client, training_set, paged=False) if image.label in labels]
    existing = [one.label for one in list_labels(client, training_set) if one.count and one.label in labels]
    return [image for label in existing for image in iter_images(client, training_set, paged=True, label=label)]


def bare_id(image_id: str) -> str:
    """Return an image's id without the `ti_` that some answers put in front."""
    return image_id.removeprefix("ti_")
