"""Flow of the versions page: lists versions, compares two, and lets the user choose the one in use, undoably."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import ClassificationChange, ClassifierVersion, TrainingImage
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.versions.page import ComparedVersions, VersionsPage, changed_rows

BUDGET = 32 * 2**20
"""Bytes of decoded thumbnails kept for the page."""


class VersionsController(QObject):
    """Versions of the classifier of the open training set."""

    shown = Signal(bool)
    """The page has to be shown, or left."""
    photo_requested = Signal(object)
    """The `TrainingImage` to open full size."""

    def __init__(self, session: Session, edits: EditController, theme: Theme) -> None:
        super().__init__(session)
        self._session = session
        self._edits = edits
        loader = ThumbnailLoader(session.tasks, self._thumbnail, budget=BUDGET, parent=self)
        self.page = VersionsPage(theme, loader)
        self._compared: tuple[int, int] | None = None
        self._listed: object = None
        page = self.page
        page.closed.connect(lambda: self.shown.emit(False))
        page.pair_chosen.connect(self._compare)
        page.use_requested.connect(self.use)
        page.keep_requested.connect(self.keep)
        page.open_requested.connect(self.photo_requested)
        session.classifier_changed.connect(self._classifier_changed)
        session.open_set_changed.connect(self._clear)
        session.open_set_changed.connect(loader.clear)
        session.images.ids_replaced.connect(loader.rename_ids)

    def reason(self) -> str:
        """Return why there are no versions to show, "" if there are."""
        session, open_set = self._session, self._session.open_set
        if open_set is None:
            return "No training set is open."
        if reason := session.unavailable_reason("versions"):
            return reason
        classifier = open_set.classifier_status.classifier
        known = classifier is not None and classifier.version is not UNSET
        return "" if known else "It has no classifier yet."

    def open(self) -> None:
        """Show the page, at the version that waits or the newest one."""
        self._clear()
        self.shown.emit(True)
        self._list()
        self.page.focus()

    # --- listing and comparing

    def _clear(self) -> None:
        self._compared = self._listed = None
        self.page.show_versions([])

    def _classifier_changed(self) -> None:
        open_set = self._session.open_set
        classifier = open_set.classifier_status.classifier if open_set is not None else None
        state = classifier and (classifier.version, classifier.waiting_version, classifier.trained_at)
        if self.page.isVisible() and state != self._listed:
            self._listed = state
            self._list()

    def _list(self) -> None:
        connected, open_set = self._session.connected, self._session.open_set
        if connected is None or open_set is None:
            return
        workspace, slug = connected.workspace, open_set.classifier_status.slug

        def job(_context: JobContext) -> list[ClassifierVersion]:
            return workspace.run(lambda: workspace.client.versions(slug))

        def done(versions: list[ClassifierVersion]) -> None:
            if versions != self.page.versions or not versions:
                self.page.show_versions(versions, "There is no version yet.")

        self._session.run("Listing the versions", job, done, owner=open_set)

    def _compare(self, pair: ComparedVersions | None) -> None:
        connected, open_set = self._session.connected, self._session.open_set
        numbers = (pair.older.version, pair.newer.version) if pair is not None else None
        if numbers == self._compared and numbers is not None:
            return
        self._compared = numbers
        if connected is None or open_set is None or numbers is None:
            self.page.show_changes([], "There is no version before it to compare it with.")
            return
        workspace, slug = connected.workspace, open_set.classifier_status.slug

        def job(_context: JobContext) -> list[ClassificationChange]:
            return workspace.run(lambda: workspace.client.changes(slug, *numbers))

        def done(changes: list[ClassificationChange]) -> None:
            if self._compared == numbers:
                rows = changed_rows(changes, self._session.images.record)
                self.page.show_changes(rows, "Both answer every photo alike.")

        def failed(error: Exception) -> None:
            if self._compared == numbers:
                self.page.show_changes([], error_message(error).text)

        self.page.show_changes([], "Comparing…")
        self._session.run("Comparing the versions", job, done, failed=failed, owner=open_set)

    def _thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        return self._session.read_thumbnail(image, cancelled)

    # --- choosing

    def use(self, version: int) -> None:
        """Use a version, undoably."""
        self._choose(version, f"Version {version} is in use")

    def keep(self) -> None:
        """Keep the version in use, and let the one that waits wait no more."""
        if current := next((each.version for each in self.page.versions if each.current), None):
            self._choose(current, f"Version {current} stays in use")

    def _choose(self, version: int, done: str) -> None:
        open_set = self._session.open_set
        if open_set is None:
            return
        set_id, versions = open_set.training_set.id, self.page.versions
        current = next((each.version for each in versions if each.current), version)
        waiting = next((each.version for each in versions if each.waiting is True), 0)
        self._edits.do(
            "Choosing the version",
            lambda edits, workspace, _run: edits.choose_version(workspace, set_id, version, current, waiting),
            done=done,
        )
