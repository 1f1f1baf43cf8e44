"""Random edits, to try undo and redo with."""

import random

from apitorch_desktop.api.errors import BadRequest
from tests.helpers.dataset_home import Home, import_images, picture

_LABELS = 8
_PICTURES = 30


class Dice:
    """Does one random edit after the other on a home. `whole`: the service has the extensions; `importing`: imports,
    too."""

    def __init__(self, home: Home, seed: int, whole: bool, importing: bool = True) -> None:
        self._home = home
        self._random = random.Random(seed)
        self._whole = whole
        self._importing = importing

    def throw(self) -> bool:
        """Try one edit; whether it was one."""
        acts = [self._move] * 5 + [self._delete] * 2 + [self._restore] * 3 + [self._import] * 2 * self._importing
        listing = self._home.listing()
        labels = listing.labels
        if labels:
            acts += [self._rename, self._merge, self._delete_label]
        if self._whole:
            acts.append(self._create_label)
        try:
            return self._random.choice(acts)(listing.images, labels)
        except BadRequest:  # a name that is taken, nothing to do: as a person would be told
            return False

    def _some(self, things: list, most: int) -> list:
        return self._random.sample(things, min(len(things), self._random.randint(1, most)))

    def _label(self) -> str:
        return f"l{self._random.randrange(_LABELS)}"

    def _move(self, images: list, labels: list[str]) -> bool:
        self._home.edits.move(self._home.workspace, self._home.set_id, self._some(images, 6), self._label())
        return True

    def _delete(self, images: list, labels: list[str]) -> bool:
        self._home.edits.delete(self._home.workspace, self._home.set_id, self._some(images, 4))
        return True

    def _restore(self, images: list, labels: list[str]) -> bool:
        trashed = self._some(self._home.edits.trash("c1"), 5)
        if trashed:
            self._home.edits.restore(self._home.workspace, trashed)
        return bool(trashed)

    def _rename(self, images: list, labels: list[str]) -> bool:
        label = self._random.choice(labels)
        self._home.edits.rename_label(self._home.workspace, self._home.set_id, label, self._label())
        return True

    def _merge(self, images: list, labels: list[str]) -> bool:
        label, into = self._random.choice(labels), self._random.choice(labels)
        self._home.edits.merge_labels(self._home.workspace, self._home.set_id, label, into)
        return True

    def _delete_label(self, images: list, labels: list[str]) -> bool:
        self._home.edits.delete_label(self._home.workspace, self._home.set_id, self._random.choice(labels))
        return True

    def _create_label(self, images: list, labels: list[str]) -> bool:
        self._home.edits.create_label(self._home.workspace, self._home.set_id, self._label())
        return True

    def _import(self, images: list, labels: list[str]) -> bool:
        label = self._label()
        pictures = {self._random.randrange(_PICTURES) for _ in range(self._random.randint(1, 3))}
        return import_images(self._home, [(label, picture(number)) for number in sorted(pictures)]) is not None
