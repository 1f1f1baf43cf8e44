"""Every action of the registry is driven by pointer or key in the real program, here or in a test that names it."""

import ast
import re
from pathlib import Path

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QLineEdit

from apitorch_desktop.dataset.importer.scanner import OFFERED_SUFFIXES
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.compare.controller import CompareDialog
from apitorch_desktop.ui.exporter.controller import ExportDialog
from apitorch_desktop.ui.grid.view import DEFAULT
from apitorch_desktop.ui.importer.dialog import ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.import_plan import closed, shown_plan
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import choose_in_menu_bar, to_grid, write_path

NOT_YET: frozenset[str] = frozenset()
"""Ids of actions that no test drives yet. It may only shrink: a new action comes with a test that drives it."""


def actions():
    """Ids of all actions that the sources of the window add to the registry."""
    package = Path(__file__).parents[2] / "apitorch_desktop" / "ui"
    for path in package.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        makers = [node for node in nodes if isinstance(node, ast.FunctionDef) and _is_name(node.returns, "ActionSpec")]
        made = {node for maker in makers for node in ast.walk(maker)}
        names = {"ActionSpec", *(maker.name for maker in makers)}
        for node in nodes:
            if isinstance(node, ast.Call) and node not in made and any(_is_name(node.func, name) for name in names):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: an id is a literal"
                yield node.args[0].value


def _is_name(node, name):
    return isinstance(node, ast.Name) and node.id == name


def driven():
    """Ids that tests name by `mark.action`; each such test fails unless it drives them (conftest.py)."""
    for path in Path(__file__).parent.glob("test_*.py"):
        for named in re.findall(r"^@pytest\.mark\.action\(([^)]*)\)", path.read_text("utf-8"), re.MULTILINE):
            yield from re.findall(r'"([^"]+)"', named)


def test_every_action_is_driven_by_a_test():
    known, proven = set(actions()), set(driven())
    assert known - proven - NOT_YET == set(), "actions that no end-to-end test drives by pointer or key"
    assert proven <= known, "actions that there are not"
    assert known - proven >= NOT_YET, "NOT_YET may only shrink"


@pytest.mark.action(
    "view.training_sets", "view.classify_panel", "view.refresh", "label.auto_advance", "photo.select_all", "photo.open",
    "photo.invert", "view.zoom_in", "view.zoom_out", "view.zoom_reset", "view.actual_size",
    "file.import_folder", "file.import_files", "file.import_clipboard", "file.new_set", "set.export", "set.compare",
    "classifier.classify_file", "file.quit",
)  # fmt: skip
def test_actions_of_the_menu_bar(monkeypatch, photos, tmp_path, home):
    folder = summer(photos, tmp_path, ("dress", "hat"), 2)

    listed, classifiers = [], Workspace.classifiers  # that of the set is not listed at first
    monkeypatch.setattr(
        Workspace, "classifiers", lambda self: [one for one in classifiers(self) if one.slug != "summer" or listed]
    )

    def sets(made):
        return {found.name: found.labels for found in made.session.workspace.client.training_sets()}

    def back(made):
        made.window.activateWindow()
        program.wait(made.window.isActiveWindow, "the focus in the window")

    def steps(made):
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        program.wait(made.photos.grid.isVisible, "the grid")
        back(made)
        sides(made)
        refresh(made)
        photos_chosen(made)
        import_by_dialogs(made)
        dialogs_of_the_set(made)
        classify(made)
        new_set(made)
        pointer.key("ctrl+q")
        program.wait(lambda: not made.window.isVisible(), "the window closed")

    def sides(made):
        tree, panel = made.central_widget.tree, made.classify_panel
        for key, side in (("F8", tree), ("F9", panel)):
            shown = side.isVisible()
            for expected in (not shown, shown):
                pointer.key(key)
                program.wait(lambda side=side, expected=expected: side.isVisible() == expected, f"{key}: {expected}")
        advance = made.labeling.strip.advance
        pointer.key("F4")
        program.wait(advance.isChecked, "auto-advance")
        pointer.key("F4")
        program.wait(lambda: not advance.isChecked(), "no auto-advance")

    def refresh(made):
        client, set_id = made.session.workspace.client, made.session.open_set.training_set.id
        client.create_label(set_id, "scarf")  # by another window
        pointer.key("F5")
        program.wait(lambda: "scarf" in made.session.open_set.labels, "the label that another window made")

    def photos_chosen(made):
        choose_in_menu_bar(made, "&Edit", "Select all")
        program.wait(lambda: len(made.model.selection) == 4, "all selected")
        grid, big = made.photos.grid, made.photos.big
        to_grid(made)
        pointer.key("ctrl+shift+i")
        program.wait(lambda: not made.model.selection, "none, by the inverted selection")
        before = grid.cell_size()
        pointer.key("ctrl+plus")
        program.wait(lambda: grid.cell_size() > before, "larger thumbnails")
        pointer.key("ctrl+minus", "ctrl+minus")
        program.wait(lambda: grid.cell_size() < before, "smaller ones")
        pointer.key("ctrl+0")
        program.wait(lambda: grid.cell_size() == DEFAULT, "those of the first size")
        grid.choose(1)
        choose_in_menu_bar(made, "&View", "Open")
        program.wait(made.photos.big.isVisible, "full size")
        assert made.photos.big.image().image_id == made.model.image(1).image_id
        program.wait(lambda: big.hasFocus() and big.canvas.zoom() > 0, "the photo")
        fitted = big.canvas.zoom()
        pointer.key("ctrl+1")
        program.wait(lambda: big.canvas.zoom() == 1, "pixel for pixel")
        pointer.key("ctrl+0")
        program.wait(lambda: big.canvas.zoom() == fitted, "all of it")
        pointer.key("Escape")
        program.wait(made.photos.grid.hasFocus, "the grid")

    def import_by_dialogs(made):
        pointer.key("ctrl+shift+o")
        write_path(program.wait(lambda: program.dialog(QFileDialog), "the dialog for a folder"), folder)
        assert len(shown_plan().plan.items) == 4
        closed(made)
        pointer.key("ctrl+o")
        files = program.wait(lambda: program.dialog(QFileDialog), "the dialog for files")
        assert all(f"*{suffix}" in files.nameFilters()[0] for suffix in OFFERED_SUFFIXES)
        write_path(files, photo := a_photo())
        assert [item.name for item in shown_plan().plan.items] == [photo.name]
        closed(made)
        QGuiApplication.clipboard().setText("https://example.invalid/a.jpg\nhttps://example.invalid/b.jpg\n")
        choose_in_menu_bar(made, "&File", "Import from the clipboard")
        assert [item.name for item in shown_plan().plan.items] == ["a.jpg", "b.jpg"]
        closed(made)

    def a_photo():
        return min((photos / "test" / "hat").iterdir())

    def dialogs_of_the_set(made):
        for text, kind in (("Export…", ExportDialog), ("Compare…", CompareDialog)):
            choose_in_menu_bar(made, "&Training set", text)
            shown = program.wait(lambda kind=kind: program.dialog(kind), text)
            assert "Summer" in shown.windowTitle()
            program.wait(shown.isActiveWindow, "its focus")
            pointer.key("Escape")
            program.wait(lambda kind=kind: program.dialog(kind) is None, f"{text} closed")
            back(made)

    def classify(made):
        choose_in_menu_bar(made, "&Classifier", "Classify a photo…")
        write_path(program.wait(lambda: program.dialog(QFileDialog), "the dialog for photos"), a_photo())
        back(made)
        cards = made.classify_panel.cards
        program.wait(lambda: cards and all(card.answer is not None for card in cards.values()), "answers")
        assert "summer" not in cards
        listed.append("summer")
        made.session.refresh_classifiers()
        program.wait(
            lambda: "summer" in cards and cards["summer"].answer is not None, "that of the set, once it is there"
        )
        assert cards["summer"].classifier.full_text() == "Summer"

    def new_set(made):
        pointer.key("ctrl+n")
        program.wait(lambda: isinstance(made.window.focusWidget(), QLineEdit), "the field of its name")
        pointer.write("Winter")
        pointer.key("Return")
        program.wait(lambda: sets(made) == {"Summer": ["dress", "hat", "scarf"], "Winter": []}, "the training set")
        program.wait(lambda: made.session.open_set.training_set.name == "Winter", "it open")

    assert program.run(monkeypatch, steps) == 0
    assert program.dialog(ImportDialog) is None
