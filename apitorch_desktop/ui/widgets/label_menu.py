"""A menu of training sets with their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import TrainingSet


def fill_label_menu(
    menu: QMenu, sets: Sequence[TrainingSet], first: Sequence[str], chosen: Callable[[str, str], object]
) -> None:
    """Fill a menu anew; labels named in `first` come first. `chosen` gets the training set's id and the label."""
    menu.clear()
    for one in sets:
        below = menu.addMenu(one.name.replace("&", "&&"))
        labels = list(one.labels or ())
        for name in sorted(labels, key=lambda name: (name not in first, name)):
            action = below.addAction(name)
            action.triggered.connect(lambda _checked=False, set_id=str(one.id), name=name: chosen(set_id, name))
        if not labels:
            below.addAction("It has no labels yet").setEnabled(False)
    if menu.isEmpty():
        menu.addAction("There is no training set yet").setEnabled(False)
