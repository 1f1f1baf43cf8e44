"""New training sets from folders, files, clipboard and addresses; what was opened last; a second start with a folder."""

import subprocess
import sys

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog

from apitorch_desktop.ui.actions import CommandPalette
from apitorch_desktop.ui.importer.dialog import AddressesDialog, ImportDialog
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.import_plan import closed, shown_plan
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import choose, choose_in_menu_bar, write_path


@pytest.mark.action(
    "file.import_addresses", "file.new_from_folder", "file.new_from_files", "file.new_from_clipboard",
    "file.new_from_addresses", "file.open_recent",
)  # fmt: skip
def test_new_sets_and_what_was_opened_last(monkeypatch, photos, tmp_path, home):
    folder = summer(photos, tmp_path, ("dress", "hat"), 2)
    other = folder.rename(tmp_path / "Winter")

    def steps(made):
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        addresses(made)
        clipboard_and_files(made)
        new_from_folder(made)
        recent(made)
        second_start(made)
        forget_all(made)

    def next_start(made):
        program.wait(lambda: made.session.open_set and made.session.open_set.listed, "the training set")
        assert list(made.settings.recent.values()) == ["Summer"], "what is open, and nothing from before"

    def target(plan):
        return plan.target.currentText()

    def addresses(made):
        for text, expected in (
            ("Import from addresses…", "Summer"),
            ("New training set from addresses…", "A new training set"),
        ):
            program.press(made.central_widget.toolbar.import_button)
            choose(text)
            asked = program.wait(lambda: program.dialog(AddressesDialog), text)
            assert not asked.start.isEnabled()
            program.press(asked.text)
            pointer.write("www.example.invalid/a.jpg")
            pointer.key("Return")
            pointer.write("https://example.invalid/b.jpg")
            program.wait(lambda asked=asked: asked.note.text() == "2 addresses", "both addresses")
            program.press(asked.start)
            plan = shown_plan()
            assert [item.name for item in plan.plan.items] == ["a.jpg", "b.jpg"]
            assert target(plan) == expected
            closed(made)

    def clipboard_and_files(made):
        QGuiApplication.clipboard().setText("https://example.invalid/c.jpg")
        choose_in_menu_bar(made, "&File", "New training set from the clipboard")
        plan = shown_plan()
        assert ([item.name for item in plan.plan.items], target(plan)) == (["c.jpg"], "A new training set")
        closed(made)
        choose_in_menu_bar(made, "&File", "New training set from files…")
        write_path(program.wait(lambda: program.dialog(QFileDialog), "the dialog"), next((other / "hat").iterdir()))
        plan = shown_plan()
        assert (len(plan.plan.items), target(plan)) == (1, "A new training set")
        closed(made)

    def new_from_folder(made):
        choose_in_menu_bar(made, "&File", "New training set from a folder…")
        write_path(program.wait(lambda: program.dialog(QFileDialog), "the dialog"), other)
        plan = shown_plan()
        assert (plan.name.text(), target(plan)) == ("Winter", "A new training set")
        program.press(plan.start)
        program.wait(lambda: {found.name for found in sets(made)} == {"Summer", "Winter"}, "the new training set")
        program.wait(lambda: made.session.open_set.training_set.name == "Winter", "it open")
        program.wait(lambda: made.model.total == 4, "its photos")

    def sets(made):
        return made.session.workspace.client.training_sets()

    def by_palette(made):
        made.window.activateWindow()
        pointer.key("ctrl+shift+p")
        palette = program.wait(lambda: program.dialog(CommandPalette), "the palette")
        program.wait(palette.line.hasFocus, "its focus")
        pointer.write("open rec")
        pointer.key("Return")

    def recent(made):
        by_palette(made)
        choose("Summer")
        program.wait(lambda: made.session.open_set.training_set.name == "Summer" and made.model.total == 4, "the set")
        choose_in_menu_bar(made, "&File", "Open recent", str(other))
        assert len(shown_plan().plan.items) == 4
        closed(made)
        other.rename(tmp_path / "Elsewhere")
        choose_in_menu_bar(made, "&File", "Open recent", str(other))
        message = made.central_widget.status.message
        words = "“Winter” is not there any more."
        program.wait(lambda: message.current() and message.current().text == words, words)
        assert [key for key in made.settings.recent if key.startswith("path:")] == []
        assert list(made.settings.recent.values()) == ["Winter", "Summer"]

    def forget_all(made):
        choose_in_menu_bar(made, "&File", "Open recent", "Clear the list")
        program.wait(lambda: made.settings.recent == {}, "an empty list")
        by_palette(made)
        message = made.central_widget.status.message
        words = "Nothing was opened yet."
        program.wait(lambda: message.current() and message.current().text == words, words)

    def second_start(made):
        second = subprocess.Popen([sys.executable, "-m", "apitorch_desktop", "Elsewhere/hat"], cwd=tmp_path)
        try:
            program.wait(lambda: second.poll() is not None, "the end of the second start")
        finally:  # else one that hangs, or has a window of its own, would outlive the test and keep the keyboard
            second.kill()
            second.wait()
        assert second.returncode == 0
        plan = shown_plan()
        assert {item.name for item in plan.plan.items} == {one.name for one in (tmp_path / "Elsewhere/hat").iterdir()}
        closed(made)

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0
    assert program.dialog(ImportDialog) is None
