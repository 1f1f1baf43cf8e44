"""The leave to classify local files by way of the scratch label: asked for once a connection, and kept with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from apitorch_desktop.api.types import Id
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme

REFUSED = "This service classifies photos by their address only. Drop a URL, or give leave."


class ScratchPermission(QObject):
    """Asks the person, and keeps what they allow."""

    def __init__(self, session: Session, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._theme = theme
        self._window = window

    @property
    def missing(self) -> bool:
        """Whether local files cannot be classified before the person has given leave."""
        workspace = self._session.workspace
        return (
            workspace is not None
            and not workspace.has("classify.upload")
            and workspace.connection.scratch_training_set is None
        )

    def ask(self, agreed: Callable[[], object], refused: Callable[[], object]) -> None:
        """Ask for a training set in which files may lie for a moment; calls one of the two."""
        from apitorch_desktop.ui.classify.scratch_dialog import ScratchPermissionDialog

        session = self._session
        name = session.connection.name if session.connection is not None else "This service"
        dialog = ScratchPermissionDialog(self._theme, name, session.training_sets, self._window)
        dialog.agreed.connect(lambda set_id: self._keep(set_id, agreed))
        dialog.rejected.connect(refused)
        dialog.open()

    def _keep(self, set_id: Id, agreed: Callable[[], object]) -> None:
        session = self._session
        stores, connection, workspace = session.stores, session.connection, session.workspace
        if stores is None or connection is None or workspace is None:
            return
        changed = replace(connection, scratch_training_set=set_id)
        workspace.connection = session.connection = changed
        connections = stores.connections

        def not_kept(error: Exception) -> None:  # for the next start; it holds for this run
            session.show_error(error, "Keeping the leave")
            agreed()

        session.tasks.run(
            Lane.DISK,
            lambda _context: connections.update(changed),
            done=lambda _changed: agreed(),
            failed=not_kept,
            owner=session.connection_scope,
            title="Keep the leave",
        )
