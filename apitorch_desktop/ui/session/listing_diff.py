"""What a listing changes in what is shown; and what it may not change, since it was asked for before the person did that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from apitorch_desktop.api.types import TrainingImage


@dataclass(slots=True)
class ListingDiff:
    """What makes one listing of another."""

    came: list[TrainingImage] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    moved: dict[str, list[str]] = field(default_factory=dict)
    """Label → ids of the images that are under it now."""

    def __bool__(self) -> bool:
        return bool(self.came or self.gone or self.moved)


def difference(where: Mapping[str, str], images: Sequence[TrainingImage]) -> ListingDiff:
    """What has to change where images lie as `where` says (id → label), for it to be as in `images`."""
    found = ListingDiff()
    ids: set[str] = set()
    for image in images:
        name, label = image.image_id, str(image.label)
        ids.add(name)
        before = where.get(name)
        if before is None:
            found.came.append(image)
        elif before != label:
            found.moved.setdefault(label, []).append(name)
    found.gone = [name for name in where if name not in ids]
    return found


class LocalChanges:
    """What was changed here since a listing was asked for, or is being changed: it may not know of that."""

    def __init__(self) -> None:
        self._images: set[str] = set()
        self._labels: set[str] = set()
        self._held: Counter[str] = Counter()

    def begin(self) -> None:
        """A listing is asked for now."""
        self._images, self._labels = set(self._held), set()

    def note(self, image_ids: Iterable[str] = (), labels: Iterable[str] = ()) -> None:
        """These are now as the person, or an answer newer than the listing, has it."""
        self._images.update(image_ids)
        self._labels.update(labels)

    def hold(self, image_ids: Iterable[str]) -> None:
        """An edit of these is shown already, and on its way to the service."""
        self._held.update(image_ids)
        self._images.update(self._held)

    def release(self, image_ids: Iterable[str]) -> None:
        """That edit has ended."""
        self._held.subtract(image_ids)
        self._held = +self._held

    def holds(self, image_id: str) -> bool:
        """Whether an edit of an image is on its way."""
        return image_id in self._held

    def has_label(self, label: str) -> bool:
        """Whether a label was made, renamed or deleted here since."""
        return label in self._labels

    def without(self, found: ListingDiff, where: Mapping[str, str]) -> tuple[ListingDiff, bool]:
        """What of a difference to `where` holds; and whether to list again, as what does not may be news by others."""
        own, left_out = self._images, set[str]()

        def holds(name: str) -> bool:
            if name in own:
                left_out.add(name)
            return name not in own

        kept = ListingDiff(
            [image for image in found.came if image.image_id in where or holds(image.image_id)],
            [name for name in found.gone if holds(name)],
            {label: [name for name in names if holds(name)] for label, names in found.moved.items()},
        )
        return kept, not left_out <= self._held.keys()
