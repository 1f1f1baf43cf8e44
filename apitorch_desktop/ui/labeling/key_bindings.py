"""Keys of the labels: assigned in alphabetical order until a key is used or chosen, fixed after that."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.dataset.edits.history import EditOutcome
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings

KEYS = "1234567890"


class LabelKeys(QObject):
    """The keys of the open training set's labels."""

    changed = Signal()

    def __init__(self, session: Session, edits: EditController, settings: Settings) -> None:
        super().__init__(session)
        self._session = session
        self._settings = settings
        self._fixed: dict[str, str] = {}
        """Key → label as used or chosen; a missing label keeps its key until another label needs that."""
        self._shown: dict[str, str] = {}
        session.open_set_changed.connect(self._open)
        session.listing_changed.connect(self._show)
        edits.edited.connect(self._edited)

    # --- look-up

    def label(self, key: str) -> str | None:
        """Return the label of a key."""
        return self._shown.get(key)

    def key(self, label: str) -> str:
        """Return the key of a label, "" for none."""
        return next((key for key, name in self._shown.items() if name == label), "")

    def shown(self) -> dict[str, str]:
        """Return key → label, in the order of the keyboard."""
        return dict(self._shown)

    def labels(self) -> list[str]:
        """Return the labels of 1 … 9 and 0, "" for a key without one."""
        return [self._shown.get(key, "") for key in KEYS]

    # --- change

    def use(self, key: str) -> str | None:
        """Return the label of a pressed key; from now on the keys stay fixed when labels are added."""
        if not self._fixed and self._shown:
            self._fixed = dict(self._shown)
            self._save()
        return self.label(key)

    def bind(self, key: str, label: str) -> None:
        """Assign a key to a label; the label that had it gets the other's key."""
        fixed = {**self._fixed, **self._shown}
        before = next((one for one, name in fixed.items() if name == label), None)
        other = fixed.get(key)
        if before is not None:
            del fixed[before]
            if other is not None and before != key:
                fixed[before] = other
        fixed[key] = label
        self._fixed = fixed
        self._save()
        self._show()

    def _edited(self, outcome: EditOutcome) -> None:
        open_set = self._session.open_set
        if outcome.renamed and open_set is not None and str(open_set.training_set.id) == str(outcome.training_set_id):
            taken = set(self._fixed.values())
            for key, label in self._fixed.items():
                new = outcome.renamed.get(label, label)
                if new not in taken:  # merged into a label with a key: this key is free
                    self._fixed[key] = new
            self._show()

    # --- display

    def _open(self) -> None:
        self._fixed = dict(self._settings.label_keys.get(self._session.open_set_key(), {}))
        self._show()

    def _show(self) -> None:
        open_set = self._session.open_set
        labels = open_set.labels if open_set is not None else []
        shown = assign(self._fixed, labels)
        if self._fixed and open_set is not None and open_set.listed and not shown.items() <= self._fixed.items():
            self._fixed |= shown
            self._save()
        if shown != self._shown:
            self._shown = shown
            self.changed.emit()

    def _save(self) -> None:
        self._settings.keep_newest(self._settings.label_keys, self._session.open_set_key(), dict(self._fixed))
        self._settings.save()


def assign(fixed: dict[str, str], labels: list[str]) -> dict[str, str]:
    """Return key → label for existing labels: fixed keys first, then the other labels, on unused keys if any is left."""
    existing = set(labels)
    shown = {key: name for key, name in fixed.items() if name in existing}
    has_key = set(shown.values())
    free = sorted((key for key in KEYS if key not in shown), key=lambda key: (key in fixed, KEYS.index(key)))
    shown |= dict(zip(free, [name for name in labels if name not in has_key], strict=False))
    return {key: shown[key] for key in KEYS if key in shown}
