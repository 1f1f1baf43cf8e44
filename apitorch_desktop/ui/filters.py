"""Which photos are shown: words, labels, age and size, each of which may be left open."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction, QActionGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PySide6.QtWidgets import QMenu

    from apitorch_desktop.api.types import TrainingImage

SMALL = 224
"""Pixels of the shorter side below which a photo is small: the encoder sees 224."""
AGES = ((0, "Any time"), (1, "In the last day"), (7, "In the last 7 days"))
SIZES = (("", "Any size"), ("small", f"Smaller than {SMALL} pixels"), ("big", f"{SMALL} pixels and more"))


@dataclass(slots=True)
class Filter:
    """What is asked for. `labels` empty means all of them; `days` 0 any time; `size` "small", "big" or ""."""

    words: str = ""
    labels: set[str] = field(default_factory=set)
    days: int = 0
    size: str = ""

    def chosen(self) -> int:
        """How many of the menu's criteria narrow what is shown."""
        return bool(self.labels) + bool(self.days) + bool(self.size)

    def keep(self, now: datetime) -> Callable[[TrainingImage], bool] | None:
        """A test for one photo; None where all are shown."""
        tests: list[Callable[[TrainingImage], bool]] = []
        if self.words.strip():
            tests.append(_words(self.words))
        if self.labels:
            labels = frozenset(self.labels)
            tests.append(lambda image: image.label in labels)
        if self.days:
            since = (now - timedelta(days=self.days)).isoformat()
            tests.append(lambda image: (image.created_at or "") >= since)
        if self.size:
            small = self.size == "small"
            tests.append(lambda image: (min(image.width or 0, image.height or 0) < SMALL) is small)
        if not tests:
            return None
        return lambda image: all(test(image) for test in tests)

    def sentence(self) -> str:
        """What was looked for, for when nothing is found."""
        if self.words.strip() and not self.chosen():
            return f"Nothing has “{self.words.strip()}” in its label or file name."
        return "Nothing is left by the search and the filter together. Loosen one of them."


def _words(text: str) -> Callable[[TrainingImage], bool]:
    words = text.lower().split()
    barred = [word[1:] for word in words if word.startswith("-") and len(word) > 1]
    wanted = [word for word in words if not word.startswith("-") or len(word) == 1]

    def found(image: TrainingImage) -> bool:
        name = f"{image.label or ''} {image.original_filename or image.filename}".lower()
        return all(word in name for word in wanted) and not any(word in name for word in barred)

    return found


def now() -> datetime:
    """The moment, as the service writes moments."""
    return datetime.now(UTC)


class FilterMenu(QObject):
    """Fills a menu with what can be filtered by."""

    changed = Signal()

    def __init__(self, menu: QMenu, wanted: Filter, labels: Callable[[], Sequence[str]]) -> None:
        super().__init__(menu)
        self._menu = menu
        self._filter = wanted
        self._labels = labels
        menu.aboutToShow.connect(self._fill)

    def _fill(self) -> None:
        menu, wanted = self._menu, self._filter
        menu.clear()
        below = menu.addMenu("Labels")
        for name in self._labels():
            action = QAction(name.replace("&", "&&"), below, checkable=True, checked=name in wanted.labels)
            action.toggled.connect(lambda on, name=name: self._label(name, on=on))
            below.addAction(action)
        self._choices("Added", AGES, wanted.days, self._age)
        self._choices("Shorter side", SIZES, wanted.size, self._size)
        menu.addSeparator()
        clear = QAction("Show all", menu)
        clear.setEnabled(bool(wanted.chosen()))
        clear.triggered.connect(self.clear)
        menu.addAction(clear)

    def _choices(
        self, title: str, choices: Sequence[tuple[object, str]], chosen: object, choose: Callable[[object], None]
    ) -> None:
        below = self._menu.addMenu(title)
        group = QActionGroup(below)
        for key, words in choices:
            action = QAction(words, group, checkable=True, checked=key == chosen)
            action.triggered.connect(lambda _checked=False, key=key: choose(key))
            below.addAction(action)

    def _label(self, name: str, *, on: bool) -> None:
        if on:
            self._filter.labels.add(name)
        else:
            self._filter.labels.discard(name)
        self.changed.emit()

    def _age(self, days: object) -> None:
        self._filter.days = int(str(days))
        self.changed.emit()

    def _size(self, size: object) -> None:
        self._filter.size = str(size)
        self.changed.emit()

    def clear(self) -> None:
        """Show all again."""
        self._filter.labels.clear()
        self._filter.days, self._filter.size = 0, ""
        self.changed.emit()
