"""Conflicts with changes of other users: read after edits and on connecting, shown until the user decides."""

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
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import plural

BUDGET = 32 * 2**20
"""Bytes of decoded thumbnails kept for the page."""


class ConflictController(QObject):
    """Owns the page of conflicts and the banner, which is shown while there are any."""

    opened = Signal()
    """The page has to be shown."""
    closed = Signal()
    """The page has to be hidden."""

    def __init__(self, session: Session, edits: EditController, theme: Theme) -> None:
        super().__init__(session)
        self._session = session
        self._editing = edits
        self._refresh_number = 0
        self.views: list[ConflictView] = []
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
        """Show the conflicts of another connection, also while its service is away."""
        session = self._session
        here = session.connection.id if session.connection is not None and session.workspace is not None else ""
        if here != self._connection:
            self._connection = here
            self._show([])
            self._loader.clear()
            self.refresh()

    def refresh(self) -> None:
        """Read the conflicts."""
        if (connected := self._session.connected) is None:
            return
        conflicts, transfers = connected.stores.edits.conflicts, connected.stores.transfers
        self._refresh_number += 1
        number = self._refresh_number

        def job(_context: JobContext) -> list[ConflictView]:
            connection = connected.connection.id
            if not conflicts.all(connection):
                return []
            return conflicts.check(connected.workspace, lambda image: transfers.read_original(connection, image))

        self._session.run(
            "Looking at what others changed",
            job,
            lambda found: self._show(found) if number == self._refresh_number else None,
        )

    def _show(self, found: list[ConflictView]) -> None:
        self.views = found
        self.page.show_views(found)
        self.banner.show_count(len(found))
        if not found:
            self.close()

    def open(self) -> None:
        """Show the page."""
        self.opened.emit()
        self.page.focus()

    def close(self) -> None:
        """Hide the page."""
        self.closed.emit()

    # --- decisions

    def do_mine(self, views: Sequence[ConflictView]) -> None:
        """Apply the user's change to these photos: one undoable edit for each training set."""
        stores = self._session.stores
        if stores is None:
            return
        conflicts, transfers = stores.edits.conflicts, stores.transfers
        by_set: dict[str, list[ConflictView]] = {}
        for view in views:
            by_set.setdefault(str(view.conflict.training_set_id), []).append(view)
        for views in by_set.values():
            photos = plural(len(views), "photo")
            self._editing.do(
                f"Changing {photos} your way",
                _mine(conflicts, transfers, views),
                done=f"Changed {photos} your way",
                failed=lambda _error: self.refresh(),
            )

    def keep_theirs(self, views: Sequence[ConflictView]) -> None:
        """Keep these photos as the others left them."""
        if (connected := self._session.connected) is None:
            return
        conflicts = connected.stores.edits.conflicts
        self._session.run(
            "Keeping theirs",
            lambda _context: conflicts.keep_theirs([view.conflict for view in views]),
            lambda _none: self.refresh(),
            lane=Lane.DISK,
            owner=self,
        )

    def _thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        """Return a thumbnail, of a deleted photo from the cache; runs on a lane. Raises UnreadableImage, ApiError."""
        from apitorch_desktop.vision.images import UnreadableImage

        workspace = self._session.workspace
        found = next((view for view in self.views if _is_of(view, image)), None)
        if workspace is None or found is None:
            raise UnreadableImage("It is decided already.")
        known = workspace.cached_thumbnail(found.conflict.image_id) or workspace.cached_thumbnail(image.image_id)
        if known is None and found.current is not None:
            known = workspace.thumbnail(found.conflict.training_set_id, found.current, cancelled=cancelled)
        if known is None:
            raise UnreadableImage("It was deleted before it was seen here.")
        return known


def _mine(conflicts: ConflictResolver, transfers: TransferQueue, views: Sequence[ConflictView]) -> Act:
    def act(_edits: EditHistory, workspace: Workspace, run: EditRun) -> EditOutcome:
        connection = workspace.connection.id
        return conflicts.do_mine(workspace, views, lambda image: transfers.read_original(connection, image), run)

    return act


def _is_of(view: ConflictView, image: TrainingImage) -> bool:
    now = view.current.image_id if view.current is not None else ""
    return image.image_id in (view.conflict.image_id, now)
