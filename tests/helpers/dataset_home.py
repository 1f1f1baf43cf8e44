"""A training set on either kind of service, as tests of edits need it: the real one, and the documented calls alone."""

import hashlib
import io
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.connections.local_client import LocalClient, LocalImages
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.edits.history import Edit, EditHistory
from apitorch_desktop.dataset.importer.undoable_import import UndoableImports
from apitorch_desktop.dataset.sources.image_source import ImageBytes, UploadItem
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.workspace.listing import Listing
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
from apitorch_desktop.dataset.workspace.scratch import ScratchUploads
from apitorch_desktop.dataset.workspace.workspace import Workspace


def picture(seed: int) -> bytes:
    """A small JPEG; another seed is another image."""
    image = Image.frombytes("RGB", (16, 12), random.Random(seed).randbytes(3 * 16 * 12))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


class Home:
    """A connection with its cache, edits and scratch journal in `folder`, and one training set on it."""

    def __init__(self, folder: Path, url: str, key: str, set_id: int | str, **options) -> None:
        self.folder, self.url, self.key, self.options = folder, url, key, options
        self.set_id = Id(set_id)
        self.open()

    def open(self) -> None:
        """As at a start of the program."""
        self.local = LocalImages(self.folder)
        self.client = LocalClient(self.local, "c1", self.url, self.key, **self.options)
        self.cache = OfflineCache(self.folder / "cache")
        self.scratch = ScratchUploads(self.folder)
        self.edits = EditHistory(self.folder)
        self.workspace = Workspace(
            Connection("c1", "Home", self.url),
            self.client,
            self.cache,
            self.scratch,
            lambda one: self.edits.hidden_labels("c1", one),
        )

    def close(self) -> None:
        """As at its end."""
        for one in (self.edits, self.scratch, self.cache, self.client, self.local):
            one.close()

    def restart(self) -> None:
        """The program ended, and was started again."""
        self.close()
        self.open()
        self.workspace.connect()

    def restart_offline(self) -> None:
        """The same, without the service."""
        self.close()
        self.open()

    def listing(self) -> Listing:
        return self.workspace.listing(self.set_id)

    def images(self, label: str) -> list[TrainingImage]:
        return [image for image in self.listing().images if image.label == label]

    def content(self, *, empty: bool = True) -> dict[str, list[str]]:
        """Label → sorted sha256 of its images, by the bytes that are really there."""
        found: dict[str, list[str]] = {}
        for group in self.client.images(self.set_id).data:
            found[group.label] = [
                image.sha256
                if isinstance(image.sha256, str)
                else hashlib.sha256(self.client.download(image.url)).hexdigest()
                for image in group.images
            ]
        return {label: sorted(hashes) for label, hashes in found.items() if hashes or empty}


def import_images(home: Home, images: Sequence[tuple[str, bytes]], split: str = "") -> Edit | None:
    """Import images, each with its label, the way the window does; the edit in the journal, None if all were there."""
    transfers = TransferQueue(home.folder / "transfers", lambda _connection: home.client)
    try:
        imports = UndoableImports(home.edits.journal, transfers)
        uploads = [
            UploadItem(label, ImageBytes(data, "new.jpg"), f"{number}.jpg", split=split)
            for number, (label, data) in enumerate(images)
        ]
        labels = home.listing().labels
        transfer = imports.upload("c1", home.set_id, "Importing", uploads, labels_before=labels)
        transfers.work(lambda: False, until_done=True)
        edit = imports.finish("c1", transfer).edit
        transfers.forget(transfer)
        return edit
    finally:
        transfers.close()
