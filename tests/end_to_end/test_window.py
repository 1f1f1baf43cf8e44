"""The window's own settings by pointer and keys: colors, size on the screen, connections chosen again, training sets."""

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLineEdit

from apitorch_desktop.ui.actions import CommandPalette
from apitorch_desktop.ui.session.session import ConnectionState
from apitorch_desktop.utils import paths
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.summer_set import summer
from tests.helpers.widget_driver import choose, choose_in_connection_menu, choose_in_menu_bar, popup, press_cell


def test_colors_are_chosen_by_pointer_and_kept(monkeypatch, home, capfd):
    def choose_dark(made):
        program.wait(lambda: made.session.state is ConnectionState.READY, "the embedded service")
        assert not made.theme.tokens.dark
        choose_in_connection_menu(made, "Appearance", "Dark")
        program.wait(lambda: made.theme.tokens.dark, "the dark colors")
        choose_in_connection_menu(made, "Appearance", "Light")
        program.wait(lambda: not made.theme.tokens.dark, "the light colors")
        choose_in_connection_menu(made, "Appearance", "Dark")
        program.wait(lambda: made.theme.tokens.dark, "the dark colors again")

    def next_start(made):
        assert made.theme.tokens.dark
        choose_in_connection_menu(made, "Appearance", "Light")
        program.wait(lambda: not made.theme.tokens.dark, "the light colors at the end")

    assert program.run(monkeypatch, choose_dark) == 0
    file = QSettings(str(paths.desktop_folder() / "window.ini"), QSettings.Format.IniFormat)
    assert file.value("look/scheme") == "dark"
    assert program.run(monkeypatch, next_start) == 0
    assert "Error" not in capfd.readouterr().err


def fits(window):
    """True if the window with its frame lies within the available area of its screen."""
    return window.screen().availableGeometry().contains(window.frameGeometry())


def test_the_window_fits_the_screen_at_first_and_when_it_was_kept_on_a_larger_one(monkeypatch, home):
    def first_start(made):
        program.wait(lambda: fits(made.window), "the window within the screen")
        assert made.window.width() == min(1440, made.window.screen().availableGeometry().width())

    def on_a_larger_screen(made):
        made.window.resize(2600, 1500)
        made.window.move(900, 400)
        program.wait(lambda: made.window.height() == 1500, "a window as on a larger screen")

    def next_start(made):
        program.wait(lambda: fits(made.window), "the window within the screen")
        status = made.central_widget.status
        bottom = status.mapToGlobal(status.rect().bottomLeft()).y()
        assert bottom <= made.window.screen().availableGeometry().bottom()

    for steps in (first_start, on_a_larger_screen, next_start):
        assert program.run(monkeypatch, steps) == 0


def test_the_frame_of_the_window_manager_counts(monkeypatch, home):
    def steps(made):
        window, room = made.window, made.window.screen().availableGeometry()
        monkeypatch.setattr(type(window), "frameGeometry", lambda self: self.geometry().adjusted(-4, -30, 4, 4))
        window.setGeometry(room)
        window.fit_screen()
        size = (room.width() - 8, room.height() - 34)
        program.wait(lambda: (window.width(), window.height()) == size, "room for the frame")

    assert program.run(monkeypatch, steps) == 0


def test_a_classifier_is_shown_again_when_its_connection_is_chosen_again(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 6)

    def headline(made):
        return made.central_widget.tree.card.headline()

    def ready(made):
        card = made.central_widget.tree.card
        program.wait(lambda: card.isVisible() and headline(made) == "Classifier ready", "the classifier")
        slug = made.session.open_set.classifier_status.slug
        assert made.session.workspace.client.classifier(slug).status == "ready"

    def choose_connections(made):
        ready(made)
        made.session.stores.connections.add("Elsewhere", "http://127.0.0.1:9")
        view, model = made.central_widget.tree.view, made.central_widget.tree.model
        row = model.index_of(model.top()[0])
        view.collapse(row)
        open_set, states = made.session.open_set, []
        made.session.connection_changed.connect(lambda: states.append(made.session.state))
        choose_in_connection_menu(made, "On this computer")
        for _ in range(50):
            program.turn()
        assert made.session.open_set is open_set
        assert not view.isExpanded(model.index_of(model.top()[0]))
        assert set(states) <= {ConnectionState.READY}
        view.expand(model.index_of(model.top()[0]))
        choose_in_connection_menu(made, "Elsewhere")
        program.wait(lambda: made.session.connection.name == "Elsewhere", "the other connection")
        program.wait(lambda: made.session.state is ConnectionState.REFUSED, "that it has no key")
        headlines = set()
        made.session.classifier_changed.connect(lambda: headlines.add(headline(made)))
        choose_in_connection_menu(made, "On this computer")
        program.wait(lambda: made.session.state is ConnectionState.READY, "the first connection")
        ready(made)
        assert headlines == {"Classifier ready"}
        assert view.isExpanded(model.index_of(model.top()[0]))
        assert made.session.classifiers

    assert program.run(monkeypatch, choose_connections) == 0
    assert program.run(monkeypatch, ready) == 0


def test_a_training_set_is_renamed_and_deleted_by_keys_and_menu_and_both_are_undone(
    monkeypatch, photos, tmp_path, home
):
    summer(photos, tmp_path, ("dress", "hat"), 2)

    def sets(made):
        """Name → number of photos, as the service has them."""
        return {found.name: sum(found.counts) for found in made.session.workspace.client.training_sets()}

    def row(made):
        return made.central_widget.tree.model.index_of(made.central_widget.tree.model.top()[0])

    def press_row(made):
        view = made.central_widget.tree.view
        program.press(view.viewport(), view.visualRect(row(made)))
        program.wait(view.hasFocus, "the focus in the tree")

    def rename(made, name):
        pointer.key("ctrl+a")
        pointer.write(name)
        pointer.key("Return")
        program.wait(lambda: sets(made) == {name: 4}, f"the name {name}")

    def steps(made):
        tree = made.central_widget.tree
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        press_row(made)
        pointer.key("F2")
        rename(made, "Winter")
        program.wait(lambda: tree.model.top()[0].text == "Winter", "the name in the tree")
        press_cell(tree.view, row(made), button=3)
        choose("Rename…")
        rename(made, "Autumn")
        program.wait(lambda: tree.model.top()[0].text == "Autumn", "the name in the tree")
        press_row(made)
        pointer.key("Delete")
        program.wait(lambda: sets(made) == {}, "no training set")
        pointer.key("ctrl+z")
        program.wait(lambda: sets(made) == {"Autumn": 4}, "the training set again")
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        press_cell(tree.view, row(made), button=3)
        choose("Delete training set")
        program.wait(lambda: sets(made) == {}, "no training set")
        for expected in ({"Autumn": 4}, {"Winter": 4}, {"Summer": 4}):
            pointer.key("ctrl+z")
            program.wait(lambda expected=expected: sets(made) == expected, f"{expected} again")
        rows = made.session.stores.edits.journal.rows(made.session.connection.id)
        assert len({edit.set_key for edit in rows}) <= 2, "one id for a training set, two after it was made again"

    assert program.run(monkeypatch, steps) == 0


@pytest.mark.action("help.palette", "photo.delete", "view.transfers")
def test_an_action_is_found_by_a_few_letters_and_run(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 2)

    def counts(made):
        """Label → number of photos, as the service has them."""
        groups = made.session.workspace.client.images(made.session.open_set.training_set.id).data
        return {group.label: len(group.images) for group in groups}

    def find(made, letters, text):
        made.window.activateWindow()
        program.wait(made.window.isActiveWindow, "the focus in the window")
        pointer.key("ctrl+shift+p")
        palette = program.wait(lambda: program.dialog(CommandPalette), "the palette")
        program.wait(palette.line.hasFocus, "its focus")
        pointer.write(letters)
        program.wait(lambda: palette.list.currentItem().data(Qt.ItemDataRole.AccessibleTextRole) == text, text)
        pointer.key("Return")
        program.wait(lambda: program.dialog(CommandPalette) is None, "the palette closed")

    def steps(made):
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        program.wait(made.photos.grid.isVisible, "the grid")
        find(made, "delete ph", "Delete photos Del Select photos first.")
        message = made.central_widget.status.message
        program.wait(lambda: message.current() and message.current().text == "Select photos first.", "the reason")
        made.photos.grid.setFocus()
        made.photos.grid.choose(0)
        pointer.key("2")
        program.wait(lambda: counts(made) == {"dress": 1, "hat": 3}, "the photo under the other label")
        program.wait(lambda: made.edits.undo_text() == "Undo moving 1 photo to “hat”", "what can be undone")
        find(made, "und", "Undo moving 1 photo to “hat” Ctrl+Z")
        program.wait(lambda: counts(made) == {"dress": 2, "hat": 2}, "it back")
        made.photos.grid.choose(0)
        find(made, "delete 1", "Delete 1 photo Del")
        program.wait(lambda: counts(made) == {"dress": 1, "hat": 2}, "it deleted")
        find(made, "tran", "Transfers Ctrl+J")
        program.wait(made.transfers_panel.isVisible, "the list of transfers")

    assert program.run(monkeypatch, steps) == 0


@pytest.mark.action("set.rename", "set.new_label", "set.delete", "view.menu_bar")
def test_the_menu_bar_works_by_pointer_is_hidden_and_stays_so(monkeypatch, photos, tmp_path, home):
    summer(photos, tmp_path, ("dress", "hat"), 2)

    def names(made):
        return [found.name for found in made.session.workspace.client.training_sets()]

    def labels(made):
        return made.session.workspace.client.training_sets()[0].labels

    def steps(made):
        tree = made.central_widget.tree
        program.wait(lambda: made.session.open_set and made.session.open_set.listed and made.model.total == 4, "photos")
        choose_in_menu_bar(made, "&Training set", "Rename…")
        program.wait(lambda: isinstance(made.window.focusWidget(), QLineEdit), "the name's field")
        pointer.key("ctrl+a")
        pointer.write("Winter")
        pointer.key("Return")
        program.wait(lambda: names(made) == ["Winter"] and tree.model.top()[0].text == "Winter", "the new name")
        choose_in_menu_bar(made, "&Training set", "New label…")
        program.wait(lambda: isinstance(made.window.focusWidget(), QLineEdit), "the label's field")
        field = made.window.focusWidget()
        pointer.write("Scarf")
        program.wait(lambda: field.accessibleDescription() == "Stored as “scarf”.", "how it will be stored")
        pointer.key("Return")
        program.wait(lambda: "scarf" in labels(made), "the new label")
        message = made.central_widget.status.message
        program.wait(lambda: message.current() and message.current().text == "Made the label “scarf”.", "as stored")
        choose_in_menu_bar(made, "&Edit", "edit.undo")
        program.wait(lambda: "scarf" not in labels(made), "the label gone")
        choose_in_menu_bar(made, "&Training set", "Delete training set")
        program.wait(lambda: names(made) == [], "the training set gone")
        program.wait(lambda: made.session.open_set is None, "no open training set")
        rename = next(action for action in made.actions.findChildren(QAction) if action.objectName() == "set.rename")
        bar = made.window.menuBar()
        program.press(bar, bar.actionGeometry(bar.actions()[3]))
        program.wait(lambda: not rename.isEnabled() and rename.toolTip() == "No training set is open.", "the reason")
        pointer.key("Escape", "Escape")
        choose_in_menu_bar(made, "&Edit", "edit.undo")
        program.wait(lambda: names(made) == ["Winter"], "the training set again")
        choose_in_menu_bar(made, "&View", "Menu bar")
        program.wait(lambda: not made.window.menuBar().isVisible(), "the menu bar hidden")

    def next_start(made):
        program.wait(lambda: made.session.state is ConnectionState.READY, "the embedded service")
        bar = made.window.menuBar()
        assert not bar.isVisible()
        pointer.key("Alt_L")
        program.wait(bar.isVisible, "the menu bar while Alt calls it up")
        pointer.key("Escape")
        program.wait(lambda: not bar.isVisible(), "the menu bar hidden again")
        pointer.key("Alt_L")
        program.wait(bar.isVisible, "the menu bar once more")
        pointer.key("Right", "Right", "Down")
        menu = program.wait(popup, "a menu of it")
        assert menu.actions()[0].text() == "Open"
        program.press(menu, menu.actionGeometry(next(one for one in menu.actions() if one.text() == "Classify panel")))
        program.wait(lambda: not made.classify_panel.isVisible(), "the panel hidden")
        program.wait(lambda: not bar.isVisible(), "the menu bar hidden after the choice")
        program.press(made.central_widget.toolbar.classify)
        program.wait(made.classify_panel.isVisible, "the panel by its button")
        pointer.key("ctrl+m")
        program.wait(made.window.menuBar().isVisible, "the menu bar")

    assert program.run(monkeypatch, steps) == 0
    assert program.run(monkeypatch, next_start) == 0
