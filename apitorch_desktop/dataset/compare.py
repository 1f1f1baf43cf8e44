"""Comparison of two training sets on any connections, and the uploads that copy images from one to the other.

Images are identified by the SHA-256 of their bytes: from the listing where the service gives it, else computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from apitorch_desktop.api.errors import ApiError, WrongKey
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.sources.image_source import ImageBytes, UploadItem
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.utils.errors import Cancelled

Progress = Callable[[int, int], None]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a training set on an open connection."""

    workspace: Workspace
    training_set_id: Id


@dataclass(slots=True)
class Comparison:
    """Differences. `relabelled`: (here, there) pairs of the same image under different labels.

    `unread`: images, as (name, reason), that could not be read: they are in none of the lists.
    """

    only_here: list[TrainingImage] = field(default_factory=list)
    only_there: list[TrainingImage] = field(default_factory=list)
    relabelled: list[tuple[TrainingImage, TrainingImage]] = field(default_factory=list)
    same: int = 0
    unread: list[tuple[str, str]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """True where there is no difference and nothing is unknown."""
        return not (self.only_here or self.only_there or self.relabelled or self.unread)


def compare(here: Side, there: Side | None, progress: Progress | None = None, stop: Stop | None = None) -> Comparison:
    """Compare two training sets; None for one that is yet to be made. Blocking.

    Where a service gives no hashes, every image of it is fetched once; `progress(done, total)` counts those.
    Raises ApiError, and Cancelled.
    """
    sides = [side for side in (here, there) if side is not None]
    listings = [side.workspace.listing(side.training_set_id, cancelled=stop) for side in sides]
    unread: list[tuple[str, str]] = []
    missing = sum(not _hash(image) for listing in listings for image in listing.images)
    counter = _Counter(missing, progress, stop)
    found = [_by_content(side, listing.images, counter, unread) for side, listing in zip(sides, listings, strict=True)]
    left, right = found[0], found[1] if len(found) > 1 else {}
    answer = Comparison(unread=unread)
    for digest, images in left.items():
        others = right.get(digest, {})
        answer.same += len(images.keys() & others.keys())
        mine = [images[label] for label in images if label not in others]
        theirs = [others[label] for label in others if label not in images]
        pairs = min(len(mine), len(theirs))
        answer.relabelled += zip(mine[:pairs], theirs[:pairs], strict=True)
        answer.only_here += mine[pairs:]
        answer.only_there += theirs[pairs:]
    for digest, images in right.items():
        if digest not in left:
            answer.only_there += images.values()
    return answer


def uploads(
    source: Side, images: Iterable[TrainingImage], progress: Progress | None = None, stop: Stop | None = None
) -> Iterator[UploadItem]:
    """Yield images of one side as uploads for the other, fetched one after the other.

    Raises ApiError and Cancelled; the transfer that consumes them accepts all or nothing.
    """
    images = list(images)
    counter = _Counter(len(images), progress, stop)
    for image in images:
        data = source.workspace.image(source.training_set_id, image, cancelled=stop)
        name = image.original_filename if isinstance(image.original_filename, str) else image.filename
        sha256 = hashlib.sha256(data).hexdigest()
        yield UploadItem(str(image.label), ImageBytes(data, name), name, len(data), sha256, image.known_split)
        counter.step()


class _Counter:
    def __init__(self, total: int, progress: Progress | None, stop: Stop | None) -> None:
        self._total, self._progress, self._stop = total, progress, stop
        self._done = 0

    def step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
        if self._stop is not None and self._stop():
            raise Cancelled("The comparison was cancelled.")


def _hash(image: TrainingImage) -> str:
    return image.sha256 if isinstance(image.sha256, str) else ""


def _by_content(
    side: Side, images: Iterable[TrainingImage], counter: _Counter, unread: list[tuple[str, str]]
) -> dict[str, dict[str, TrainingImage]]:
    """Return sha256 → label → image."""
    found: dict[str, dict[str, TrainingImage]] = {}
    for image in images:
        digest = _hash(image)
        if not digest:
            try:
                data = side.workspace.image(side.training_set_id, image)
            except (Cancelled, WrongKey):
                raise
            except ApiError as error:
                if error.can_retry:
                    raise
                unread.append((image.filename, str(error)))
                continue
            digest = hashlib.sha256(data).hexdigest()
            counter.step()
        found.setdefault(digest, {}).setdefault(str(image.label), image)
    return found
