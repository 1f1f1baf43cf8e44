"""Conflicts in the window: looked at when an edit was sent or a connection is opened, shown until they are decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.edits.conflicts import ConflictResolver, ConflictView
from apitorch_desktop.dataset.edits.history import EditHistory, EditOutcome, EditRun
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.conflicts.page import ConflictBanner, ConflictPage
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.session.edit_controller import Act, EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import plural

BUDGET = 32 * 2**20
"""Bytes of decoded thumbnails kept for the page."""


class ConflictController(QObject):
    """Made once; `page` is shown in the middle, `banner` above it as long as something is to be decided."""

    opened = Signal()
    """The page is wanted in the centre."""
    closed = Signal()
    """The photos are wanted back."""

    def __init__(self, session: Session, edits: EditController, theme: Theme) -> None:
        super().__init__(session)
        self._session = session
        self._editing = edits
        self._refresh_number = 0
        self.statuses: list[ConflictView] = []
        self._loader = ThumbnailLoader(session.tasks, self._thumbnail, budget=BUDGET, parent=self)
        self.page = ConflictPage(theme, self._loader)
        self.banner = ConflictBanner(theme)
        self.banner.decide_requested.connect(self.open)
        self.page.closed.connect(self.close)
        self.page.mine_requested.connect(self.do_mine)
        self.page.theirs_requested.connect(self.keep_theirs)
        session.sets_changed.connect(self._connection_changed)
        session.service_connected.connect(self.refresh)
        edits.edited.connect(lambda _outcome: self.refresh())
        edits.refused.connect(self.refresh)
        self._connection = ""

    def _connection_changed(self) -> None:
        """Another connection has conflicts of its own, also while its service is away."""
        session = self._session
        here = session.connection.id if session.connection is not None and session.workspace is not None else ""
        if here != self._connection:
            self._connection = here
            self._show([])
            self._loader.clear()
            self.refresh()

    def refresh(self) -> None:
        """Look at what is to be decided."""
        session = self._session
        stores, workspace = session.stores, session.workspace
        if stores is None or workspace is None:
            return
        conflicts, transfers = stores.edits.conflicts, stores.transfers
        self._refresh_number += 1
        mine = self._refresh_number

        def look() -> list[ConflictView]:
            connection = workspace.connection.id
            if not conflicts.all(connection):
                return []
            return conflicts.check(workspace, lambda one: transfers.read_original(connection, one))

        session.tasks.run(
            Lane.INTERACTIVE,
            lambda _context: look(),
            done=lambda found: self._show(found) if mine == self._refresh_number else None,
            failed=lambda error: session.show_error(error, "Looking at what others changed"),
            owner=session.connection_scope,
            title="Look at what others changed",
        )

    def _show(self, found: list[ConflictView]) -> None:
        self.statuses = found
        self.page.show_statuses(found)
        self.banner.show_count(len(found))
        if not found:
            self.close()

    def open(self) -> None:
        """Show the page in the middle."""
        self.opened.emit()
        self.page.focus()

    def close(self) -> None:
        """Back to the photos."""
        self.closed.emit()

    # --- decisions

    def do_mine(self, statuses: Sequence[ConflictView]) -> None:
        """Do what was wanted of these: one edit for each training set, with its undo."""
        stores = self._session.stores
        if stores is None:
            return
        conflicts, transfers = stores.edits.conflicts, stores.transfers
        by_set: dict[str, list[ConflictView]] = {}
        for one in statuses:
            by_set.setdefault(str(one.conflict.training_set_id), []).append(one)
        for ones in by_set.values():
            photos = plural(len(ones), "photo")
            self._editing.do(
                f"Changing {photos} your way",
                _mine(conflicts, transfers, ones),
                done=f"Changed {photos} your way",
                failed=lambda _fault: self.refresh(),
            )

    def keep_theirs(self, statuses: Sequence[ConflictView]) -> None:
        """Leave these as they are."""
        session = self._session
        stores = session.stores
        if stores is None:
            return
        conflicts = stores.edits.conflicts
        session.tasks.run(
            Lane.DISK,
            lambda _context: conflicts.keep_theirs([one.conflict for one in statuses]),
            done=lambda _none: self.refresh(),
            failed=lambda error: session.show_error(error, "Keeping theirs"),
            owner=self,
            title="Keep what others made",
        )

    def _thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        """A thumbnail: what was seen of a photo that is gone; on a worker. Raises UnreadableImage, ApiError."""
        from apitorch_desktop.vision.images import UnreadableImage

        workspace = self._session.workspace
        found = next((one for one in self.statuses if _is_of(one, image)), None)
        if workspace is None or found is None:
            raise UnreadableImage("It is decided already.")
        known = workspace.cached_thumbnail(found.conflict.image_id) or workspace.cached_thumbnail(image.image_id)
        if known is None and found.current is not None:
            known = workspace.thumbnail(found.conflict.training_set_id, found.current, cancelled=cancelled)
        if known is None:
            raise UnreadableImage("It was deleted before it was seen here.")
        return known


def _mine(conflicts: ConflictResolver, transfers: TransferQueue, statuses: Sequence[ConflictView]) -> Act:
    def act(_edits: EditHistory, workspace: Workspace, run: EditRun) -> EditOutcome:
        connection = workspace.connection.id
        return conflicts.do_mine(workspace, statuses, lambda image: transfers.read_original(connection, image), run)

    return act


def _is_of(status: ConflictView, image: TrainingImage) -> bool:
    now = status.current.image_id if status.current is not None else ""
    return image.image_id in (status.conflict.image_id, now)
