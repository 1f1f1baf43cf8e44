"""Chooses the page shown in the centre of the window: photos, one photo, a review page, a table, or the empty page."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication, QWidget

from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.review.navigation import ReviewNavigation
from apitorch_desktop.ui.session.embedded_service import EmbeddedService
from apitorch_desktop.ui.session.session import ConnectionState, Session


class PageSwitcher(QObject):
    """Chooses the page of the central stack; `show` is called whenever something it depends on has changed."""

    def __init__(
        self,
        central_widget: CentralWidget,
        session: Session,
        photos: PhotosController,
        review: ReviewNavigation,
        embedded: EmbeddedService,
    ) -> None:
        super().__init__(central_widget)
        self._session = session
        self._central_widget = central_widget
        self._photos = photos
        self._review = review
        self._embedded = embedded
        self._page: QWidget | None = None
        self._of_open_set: list[QWidget] = []
        self._nothing = ""
        self._big = False
        photos.nothing_found.connect(self._on_nothing_found)
        photos.big_shown.connect(self._on_big_shown)
        review.shown_changed.connect(self._on_review_shown)
        session.listing_changed.connect(self.show)
        session.connection_changed.connect(self.show)
        session.sets_changed.connect(self.show)
        session.open_set_changed.connect(self._on_open_set_changed)
        self.show()

    def show(self) -> None:
        """Show the page for the current state."""
        central, session = self._central_widget, self._session
        photos = session.images.total
        central.toolbar.enable_photo_controls(photos > 0, "There are no photos yet.")
        if self._page is not None:
            central.pages.setCurrentWidget(self._page)
        elif self._big:
            central.pages.setCurrentWidget(self._photos.big)
        elif self._review.shown:
            central.pages.setCurrentWidget(self._review.part)
        elif photos and not self._nothing:
            focus = QApplication.focusWidget()
            starting = focus is None or focus in (central.empty, central) or central.empty.isAncestorOf(focus)
            central.pages.setCurrentWidget(self._photos.grid)
            if starting:
                self._photos.grid.setFocus()
        else:
            central.pages.setCurrentWidget(central.empty)
            if QApplication.focusWidget() in (None, central):
                central.empty.setFocus()  # the key for pasting works there
            self._explain()

    def _explain(self) -> None:
        """Show why there are no photos, with actions."""
        session, empty = self._session, self._central_widget.empty
        open_set = session.open_set
        if self._nothing:
            empty.show_nothing_found(self._nothing)
        elif open_set is not None and open_set.loading:
            empty.show_busy(f"Looking at “{open_set.training_set.name}”…")
        elif (
            open_set is not None
            and not open_set.listed
            and not open_set.seen_at
            and session.state is not ConnectionState.READY
        ):
            empty.show_failure(
                f"“{open_set.training_set.name}” has not been loaded on this computer yet", session.state_text
            )
        elif open_set is not None:
            empty.show_empty_set(open_set.training_set.name)
        elif session.state in (ConnectionState.AWAY, ConnectionState.REFUSED) and not session.training_sets:
            title = (
                "The service does not answer" if session.state is ConnectionState.AWAY else "The service refused access"
            )
            title = "The service could not be started" if self._embedded.gave_up else title
            empty.show_failure(title, session.state_text)
        elif session.training_sets:
            empty.show_choice()
        elif session.sets_confirmed:
            can_create = session.unavailable_reason("training-sets")
            page = session.new_set_page()
            empty.show_welcome(can_create=can_create, can_import=can_create if page else "", page=page)
        else:
            empty.show_busy(session.state_text or "Starting…")

    def switch(self, part: QWidget) -> None:
        """Toggle a page in place of the photos."""
        self.show_above(None if self._page is part else part)

    def show_above(self, part: QWidget | None) -> None:
        """Show a page in place of the photos; None for the photos."""
        self._page = part
        self.show()

    def leave(self, part: QWidget) -> None:
        """Return to the photos if this page is shown in place of them."""
        if self._page is part:
            self.show_above(None)

    def show_or_leave(self, part: QWidget, shown: bool) -> None:
        """Show a page in place of the photos, or return to them if it is shown."""
        if shown:
            self.show_above(part)
        else:
            self.leave(part)

    def add_page_of_open_set(self, part: QWidget) -> None:
        """Leave this page whenever another training set or a page of Review is opened."""
        self._of_open_set.append(part)

    def _on_open_set_changed(self) -> None:
        self._nothing = ""
        self._leave_pages_of_open_set()

    def _on_review_shown(self) -> None:
        self._leave_pages_of_open_set()

    def _leave_pages_of_open_set(self) -> None:
        if self._page in self._of_open_set:
            self._page = None
        self.show()

    def _on_nothing_found(self, sentence: str) -> None:
        if sentence != self._nothing:
            self._nothing = sentence
            self.show()

    def _on_big_shown(self, shown: bool) -> None:
        self._big = shown
        self.show()
        if not shown and self._review.shown:
            self._review.part.focus()
