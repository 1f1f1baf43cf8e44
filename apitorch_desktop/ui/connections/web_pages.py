"""A service's own pages, in the person's browser: what a service cannot be asked to do is done there."""

from __future__ import annotations

from urllib.parse import urlsplit

from PySide6.QtCore import QObject, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication

from apitorch_desktop.ui.session.session import Session


class NewSetPage(QObject):
    """Opens the page, and lists the training sets again when the person comes back."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._opened = False
        app = QGuiApplication.instance()
        assert isinstance(app, QGuiApplication)  # noqa: S101 - for mypy: there is a window
        app.applicationStateChanged.connect(self._state_changed)

    def open(self) -> None:
        """Open it, and say what happens there."""
        page = self._session.new_set_page()
        if not page:
            return
        self._opened = True
        host = urlsplit(page).netloc
        if QDesktopServices.openUrl(QUrl(page)):
            text = f"New training sets are made on {host}. Yours is listed here when you come back."
            self._session.show_message(text, "muted", "page", (("Look now", self._session.refresh),))
        else:
            text = f"No web browser could be started. Make the training set at {page}, then come back."
            self._session.show_message(text, "warn", "page", (("Look now", self._session.refresh),))

    def _state_changed(self, state: Qt.ApplicationState) -> None:
        if self._opened and state == Qt.ApplicationState.ApplicationActive:
            self._opened = False
            self._session.refresh_sets()
