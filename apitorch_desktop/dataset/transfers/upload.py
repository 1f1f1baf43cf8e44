"""Uploads of a transfer, including the search for images whose answer was lost."""

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Lock

from apitorch_desktop.api import types
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import NotFound
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import ImageFile, ImageUrl, SourceMissing, filename_of
from apitorch_desktop.dataset.transfers.journal import ItemResult, ItemState, TransferItem, TransferJournal, TransferRow
from apitorch_desktop.dataset.transfers.rate_control import MAX_PARALLEL
from apitorch_desktop.dataset.workspace.listing import iter_images, list_labels

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
        self._journal = journal
        self._entry = entry
        self._archives = archives
        self._lock = Lock()
        self._baseline: set[str] = set()
        self._uploaded_ids: set[str] = set()

    def prepare(self, client: ApiClient, cancelled: Callable[[], bool]) -> None:
        """Record which images exist before the first upload; later, search for items whose answer was lost."""
        extensions = client.ping().extensions or []
        self.verifies_lost = not extensions
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

    def perform(
        self, client: ApiClient, item: TransferItem, progress: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> ItemResult:
        """Upload one image."""
        training_set, label = self._entry.training_set, item.label
        try:
            source = self._journal.source(item)
        except OSError:
            raise SourceMissing(f"“{item.name}” is not kept any more: add it again.") from None
        if isinstance(source, ImageUrl):
            answer = client.upload_image_url(training_set, label, source.url, split=item.split)
            return self._result(item, answer, None)
        if isinstance(source, ImageFile):
            smaller = _large_raw(source.path)
            answer = client.upload_image(
                training_set,
                label,
                path=source.path if smaller is None else None,
                data=smaller,
                filename=f"{source.path.stem}.jpg",
                split=item.split,
                on_sent=progress,
                cancelled=cancelled,
                repeat=False,
            )
            return self._result(item, answer, item.sha256)
        data = read(source, self._archives, MAX_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        if item.sha256 is not None and digest != item.sha256:
            raise SourceMissing(f"“{item.name}” has changed since it was looked at: import it again.")
        answer = client.upload_image(
            training_set,
            label,
            data=data,
            filename=filename_of(source),
            split=item.split,
            on_sent=progress,
            cancelled=cancelled,
            repeat=False,
        )
        return self._result(item, answer, digest)

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
            return hashlib.sha256(data).hexdigest()
        except (SourceMissing, OSError):
            return None


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
