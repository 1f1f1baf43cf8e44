"""The menu of filters: labels, age, size, what Review found, and the filters that were saved by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QInputDialog, QMenu

from apitorch_desktop.ui.photos.filters import AGES, FOUND, SIZES, Filter, of_record

_KEPT = "filters/saved"
LONGEST = 60


class SavedFilters:
    """Filters by name, in the settings."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings

    def all(self) -> dict[str, Filter]:
        """Name → filter, by name."""
        return {name: of_record(record) for name, record in sorted(self._records().items())}

    def save(self, name: str, wanted: Filter) -> None:
        """Keep a filter; one of the same name is replaced."""
        self._write({**self._records(), name: wanted.to_record()})

    def forget(self, name: str) -> None:
        """Keep it no more."""
        records = self._records()
        records.pop(name, None)
        self._write(records)

    def _records(self) -> dict[str, object]:
        try:
            kept = json.loads(str(self._settings.value(_KEPT, "{}")))
        except ValueError:
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, records: dict[str, object]) -> None:
        self._settings.setValue(_KEPT, json.dumps(records))


class FilterMenu(QObject):
    """Fills a menu with what can be filtered by."""

    changed = Signal()

    def __init__(
        self, menu: QMenu, wanted: Filter, labels: Callable[[], Sequence[str]], saved: SavedFilters | None = None
    ) -> None:
        super().__init__(menu)
        self._menu = menu
        self._filter = wanted
        self._labels = labels
        self._saved = saved
        menu.aboutToShow.connect(self._fill)

    def _fill(self) -> None:
        menu, wanted = self._menu, self._filter
        menu.clear()
        below = menu.addMenu("Labels")
        for name in self._labels():
            self._tick(below, name, name in wanted.labels, partial(self._in, wanted.labels, name))
        below.addSeparator()
        self._tick(below, "All but these", wanted.but, self._but)
        self._choices("Added", AGES, wanted.days, self._age)
        self._choices("Shorter side", SIZES, wanted.size, self._size)
        below = menu.addMenu("Found by Review")
        for key, words in FOUND:
            self._tick(below, words, key in wanted.found, partial(self._in, wanted.found, key))
        menu.addSeparator()
        self._act(menu, "Show all", self.clear, enabled=bool(wanted.chosen() or wanted.words))
        if self._saved is not None:
            self._fill_saved(self._saved)

    def _fill_saved(self, saved: SavedFilters) -> None:
        menu, kept = self._menu, saved.all()
        menu.addSeparator()
        for name, one in kept.items():
            self._act(menu, name, partial(self._take, one))
        if kept:
            menu.addSeparator()
        self._act(menu, "Save this filter…", self._ask, enabled=bool(self._filter.chosen() or self._filter.words))
        if kept:
            below = menu.addMenu("Forget")
            for name in kept:
                self._act(below, name, partial(saved.forget, name))

    def _act(self, menu: QMenu, text: str, act: Callable[[], object], *, enabled: bool = True) -> None:
        action = QAction(text.replace("&", "&&"), menu)
        action.setEnabled(enabled)
        action.triggered.connect(lambda _checked=False: act())
        menu.addAction(action)

    def _tick(self, menu: QMenu, text: str, on: bool, act: Callable[[bool], object]) -> None:
        action = QAction(text.replace("&", "&&"), menu, checkable=True, checked=on)
        action.toggled.connect(act)
        menu.addAction(action)

    def _choices(
        self, title: str, choices: Sequence[tuple[object, str]], chosen: object, choose: Callable[[object], None]
    ) -> None:
        below = self._menu.addMenu(title)
        group = QActionGroup(below)
        for key, words in choices:
            action = QAction(words, group, checkable=True, checked=key == chosen)
            action.triggered.connect(lambda _checked=False, key=key: choose(key))
            below.addAction(action)

    # --- what is chosen

    def _in(self, names: set[str], name: str, on: bool) -> None:
        (names.add if on else names.discard)(name)
        self.changed.emit()

    def _but(self, on: bool) -> None:
        self._filter.but = on
        self.changed.emit()

    def _age(self, days: object) -> None:
        self._filter.days = int(str(days))
        self.changed.emit()

    def _size(self, size: object) -> None:
        self._filter.size = str(size)
        self.changed.emit()

    def _take(self, other: Filter) -> None:
        self._filter.take(other)
        self.changed.emit()

    def clear(self) -> None:
        """Show all again."""
        self._take(Filter())

    def _ask(self) -> None:
        """Ask for a name."""
        parent = self._menu.parentWidget()
        dialog = QInputDialog(parent.window() if parent is not None else None)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Save this filter")
        dialog.setLabelText("Name")
        dialog.setOkButtonText("Save")
        dialog.setTextValue(suggestion(self._filter))
        dialog.textValueSelected.connect(self._save)
        dialog.resize(dialog.fontMetrics().averageCharWidth() * LONGEST, dialog.sizeHint().height())
        dialog.open()

    def _save(self, name: str) -> None:
        name = " ".join(name.split())[:LONGEST]
        if name and self._saved is not None:
            self._saved.save(name, self._filter)


def suggestion(wanted: Filter) -> str:
    """A name for a filter."""
    parts = [wanted.words.strip()] if wanted.words.strip() else []
    if wanted.labels:
        parts.append(("not " if wanted.but else "") + ", ".join(sorted(wanted.labels)))
    for value, choices in ((wanted.days, AGES), (wanted.size, SIZES)):
        if value:
            parts.append(dict(choices)[value].lower())
    parts += [words.partition(":")[0].lower() for key, words in FOUND if key in wanted.found]
    return " · ".join(parts)[:LONGEST]
