"""The first run: the tour beside the welcome; and what the menu Help has, by pointer."""

import pytest
from PySide6.QtGui import QGuiApplication

from apitorch_desktop import __version__
from apitorch_desktop.ui.help import AboutDialog, HelpPage
from apitorch_desktop.ui.session.session import ConnectionState
from tests.helpers import app_runner as program
from tests.helpers import x11_pointer as pointer
from tests.helpers.widget_driver import choose_in_menu_bar, pick


@pytest.mark.action("help.documentation", "help.whats_new", "help.about")
def test_the_tour_is_left_and_not_shown_again_and_help_has_pages_and_details(monkeypatch, home):
    def first_start(made):
        program.wait(lambda: made.session.state is ConnectionState.READY, "the service")
        empty, overlay = made.central_widget.empty, made.central_widget.drop_overlay
        card = program.wait(lambda: empty.footer, "the tour")
        assert card.count.text() == "1 of 4"
        program.press(card.next)
        program.wait(lambda: card.count.text() == "2 of 4" and overlay.text() == "Labels are on the left", "the tree")
        program.press(card.skip)
        program.wait(lambda: empty.footer is None and not overlay.text(), "the tour left")
        page(made, "Documentation", "Ctrl+Shift+P")
        page(made, "What’s new", __version__)
        about(made)

    def page(made, title, words):
        choose_in_menu_bar(made, "&Help", title)
        shown = program.wait(lambda: program.dialog(HelpPage), title)
        program.wait(lambda: words in shown.text.toPlainText(), f"{words} on the page {title}")
        assert shown.windowTitle() == title
        program.press(shown.text.viewport())
        program.wait(shown.text.hasFocus, "its focus")
        pointer.key("Escape")
        program.wait(lambda: program.dialog(HelpPage) is None, "the page closed")
        made.window.activateWindow()

    def about(made):
        choose_in_menu_bar(made, "&Help", "About API Torch Desktop")
        shown = program.wait(lambda: program.dialog(AboutDialog), "the dialog")
        program.wait(lambda: shown.license.count() > 3 and shown.text.toPlainText(), "the licenses")
        pick(shown.license, "Libraries")
        program.wait(lambda: "pillow" in shown.text.toPlainText().lower(), "the libraries")
        program.press(shown.copy_details)
        details = QGuiApplication.clipboard().text()
        assert f"API Torch Desktop {__version__}" in details and "Training sets: 0" in details
        for secret in (made.embedded.key, made.embedded.url, str(home)):
            assert secret not in details
        program.press(shown.close_button)
        program.wait(lambda: program.dialog(AboutDialog) is None, "the dialog closed")

    def next_start(made):
        program.wait(lambda: made.session.sets_confirmed, "the training sets")
        for _ in range(20):
            program.turn()
        assert made.central_widget.empty.isVisible() and made.central_widget.empty.footer is None

    assert program.run(monkeypatch, first_start) == 0
    assert program.run(monkeypatch, next_start) == 0
