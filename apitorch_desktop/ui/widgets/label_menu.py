"""Menu of training sets with their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import Id, TrainingSet


def fill_label_menu(
    menu: QMenu, sets: Sequence[TrainingSet], first: Sequence[str], chosen: Callable[[Id, str], object]
) -> None:
    """Replace the entries of a menu; labels in `first` come first. `chosen` receives a training set's id and a label."""
    menu.clear()
    for training_set in sets:
        submenu = menu.addMenu(training_set.name.replace("&", "&&"))
        labels = training_set.classes
        for name in sorted(labels, key=lambda name: (name not in first, name)):
            action = submenu.addAction(name)
            action.triggered.connect(lambda _checked=False, set_id=training_set.id, name=name: chosen(set_id, name))
        if not labels:
            submenu.addAction("It has no labels yet").setEnabled(False)
    if menu.isEmpty():
        menu.addAction("There is no training set yet").setEnabled(False)
