"""Menus of labels, and of training sets with their labels."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final

from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import Id, TrainingSet, label_name

_MOST: Final = 20
"""Most labels of one menu: more would fill a small screen."""
_LONGEST: Final = 24
"""Most letters of a label in the title of a menu."""


def menus_of(menu: QMenu, names: Sequence[str], first: Container[str] = ()) -> Iterator[tuple[QMenu, str]]:
    """Yield labels, in their order, each with the menu for it: `menu`, or where they are many one below it for some of them.

    Of many, those in `first` stay in `menu`.
    """
    if len(names) <= _MOST:
        yield from ((menu, name) for name in names)
        return
    yield from ((menu, name) for name in names if name in first)
    others = [name for name in names if name not in first]
    step = max(_MOST, -(-len(others) // _MOST))
    for start in range(0, len(others), step):
        part = others[start : start + step]
        title = f"{_short(label_name(part[0]))} – {_short(label_name(part[-1]))}"
        yield from menus_of(menu.addMenu(title.replace("&", "&&")), part)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def fill_label_menu(
    menu: QMenu, sets: Sequence[TrainingSet], first: Sequence[str], chosen: Callable[[Id, str], object]
) -> None:
    """Replace the entries of a menu; labels in `first` come first. `chosen` receives a training set's id and a label."""
    menu.clear()
    for training_set in sets:
        submenu = menu.addMenu(training_set.name.replace("&", "&&"))
        labels = training_set.classes
        names = sorted(labels, key=lambda name: (name not in first, name))
        for below, name in menus_of(submenu, names, first):
            action = below.addAction(name.replace("&", "&&"))
            action.triggered.connect(lambda _checked=False, set_id=training_set.id, name=name: chosen(set_id, name))
        if not labels:
            submenu.addAction("It has no labels yet").setEnabled(False)
    if menu.isEmpty():
        menu.addAction("There is no training set yet").setEnabled(False)
