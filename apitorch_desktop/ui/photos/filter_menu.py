"""Filter menu: labels, age, size, the classifier's answer, findings of Review, and filters saved by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QInputDialog, QMenu

from apitorch_desktop.api.types import label_name, label_order
from apitorch_desktop.ui.grid.filters import AGES, ANSWERS, FOUND, SIZES, SPLIT_CHOICES, Filter
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.widgets.label_menu import menus_of

LONGEST = 60


class FilterMenu(QObject):
    """Fills a menu with the criteria of a filter when it opens, and changes the filter."""

    changed = Signal()

    def __init__(self, menu: QMenu, wanted: Filter, labels: Callable[[], Sequence[str]], settings: Settings) -> None:
        super().__init__(menu)
        self._menu = menu
        self._filter = wanted
        self._labels = labels
        self._settings = settings
        menu.aboutToShow.connect(self._fill)

    def _fill(self) -> None:
        menu, wanted = self._menu, self._filter
        menu.clear()
        below = menu.addMenu("Labels")
        self._tick(below, "All but these", wanted.but, self._but)  # first: there may be hundreds of labels
        below.addSeparator()
        for place, name in menus_of(below, self._labels(), wanted.labels):
            self._tick(place, label_name(name), name in wanted.labels, partial(self._in, wanted.labels, name))
        self._choices("Added", AGES, wanted.days, self._age)
        self._choices("Shorter side", SIZES, wanted.size, self._size)
        self._choices("Classifier’s answer", ANSWERS, wanted.answer, self._answer)
        self._choices("Split", SPLIT_CHOICES, wanted.split, self._split)
        below = menu.addMenu("Found by Review")
        for key, words in FOUND:
            self._tick(below, words, key in wanted.found, partial(self._in, wanted.found, key))
        menu.addSeparator()
        self._act(menu, "Show all", self.clear, enabled=bool(wanted.chosen() or wanted.words))
        self._fill_saved()

    def _fill_saved(self) -> None:
        menu, kept = self._menu, dict(sorted(self._settings.saved_filters.items()))
        menu.addSeparator()
        for name, saved in kept.items():
            self._act(menu, name, partial(self._take, saved))
        if kept:
            menu.addSeparator()
        self._act(menu, "Save this filter…", self._ask, enabled=bool(self._filter.chosen() or self._filter.words))
        if kept:
            below = menu.addMenu("Forget")
            for name in kept:
                self._act(below, name, partial(self._forget, name))

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
        self, title: str, choices: Sequence[tuple[object, str]], chosen: object, choose: Callable[[Any], None]
    ) -> None:
        below = self._menu.addMenu(title)
        group = QActionGroup(below)
        for key, words in choices:
            action = QAction(words, group, checkable=True, checked=key == chosen)
            action.triggered.connect(lambda _checked=False, key=key: choose(key))
            below.addAction(action)

    # --- what is chosen

    def _in(self, names: set[Any], name: str, on: bool) -> None:
        (names.add if on else names.discard)(name)
        self.changed.emit()

    def _but(self, on: bool) -> None:
        self._filter.but = on
        self.changed.emit()

    def _age(self, days: Any) -> None:
        self._filter.days = days
        self.changed.emit()

    def _size(self, size: Any) -> None:
        self._filter.size = size
        self.changed.emit()

    def _answer(self, answer: Any) -> None:
        self._filter.answer = answer
        self.changed.emit()

    def _split(self, split: Any) -> None:
        self._filter.split = split
        self.changed.emit()

    def _take(self, other: Filter) -> None:
        self._filter.take(other)
        self.changed.emit()

    def clear(self) -> None:
        """Reset all criteria."""
        self._take(Filter())

    def _ask(self) -> None:
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
        if name:
            saved = self._settings.saved_filters[name] = Filter()
            saved.take(self._filter)
            self._settings.save()

    def _forget(self, name: str) -> None:
        self._settings.saved_filters.pop(name, None)
        self._settings.save()


def suggestion(wanted: Filter) -> str:
    """Return a name for a filter."""
    parts = [wanted.words.strip()] if wanted.words.strip() else []
    if wanted.labels:
        parts.append(
            ("not " if wanted.but else "") + ", ".join(map(label_name, sorted(wanted.labels, key=label_order)))
        )
    for value, choices in (
        (wanted.days, AGES),
        (wanted.size, SIZES),
        (wanted.answer, ANSWERS),
        (wanted.split, SPLIT_CHOICES),
    ):
        if value:
            parts.append(dict(choices)[value].lower())
    parts += [words.partition(":")[0].lower() for key, words in FOUND if key in wanted.found]
    return " · ".join(parts)[:LONGEST]
