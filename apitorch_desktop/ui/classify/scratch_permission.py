"""Permission to upload local files for a moment, on a service that classifies web addresses only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QDialog, QWidget

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, button, in_column, in_row, label

REFUSED = "This service classifies photos by their web address only. Drop an address, or allow uploads."


class ScratchPermission(QObject):
    """Asks once for each connection in which training set files may lie for a moment, and stores the answer."""

    def __init__(self, session: Session, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._theme = theme
        self._window = window

    @property
    def missing(self) -> bool:
        """True if local files cannot be classified before the user has permitted it."""
        workspace = self._session.workspace
        return (
            workspace is not None
            and not workspace.has("classify.upload")
            and workspace.connection.scratch_training_set is None
        )

    def ask(self, agreed: Callable[[], object], refused: Callable[[], object]) -> None:
        """Ask the user for a training set; calls one of the two."""
        session = self._session
        name = session.connection.name if session.connection is not None else "This service"
        dialog = ScratchPermissionDialog(self._theme, name, session.training_sets, self._window)
        dialog.agreed.connect(lambda set_id: self._store(set_id, agreed))
        dialog.rejected.connect(refused)
        dialog.open()

    def _store(self, set_id: Id, agreed: Callable[[], object]) -> None:
        session = self._session
        if (connected := session.connected) is None:
            return
        changed = replace(connected.connection, scratch_training_set=set_id)
        connected.workspace.connection = session.connection = changed

        def failed(error: Exception) -> None:  # lost at the next start, but valid for this run
            session.show_error(error, "Keeping the permission")
            agreed()

        session.run(
            "Keeping the permission",
            lambda _context: connected.stores.connections.update(changed),
            lambda _changed: agreed(),
            failed=failed,
            lane=Lane.DISK,
        )


class ScratchPermissionDialog(QDialog):
    """Explains what would be done with a local file, and lets the user choose the training set for it."""

    agreed = Signal(object)
    """The id of the training set."""

    def __init__(self, theme: Theme, service: str, sets: Sequence[TrainingSet], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Classify files from this computer")
        self.target = ComboBox(theme, "Training set")
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        self.cancel = button("Cancel", "", self.reject)
        self.allow = button("Allow", "primary", self._allow)
        self.allow.setEnabled(bool(sets))
        self.allow.setToolTip("" if sets else "There is no training set there yet")
        title = label(f"“{service}” classifies photos by their address only", "answer", wrap=True)
        text = (
            "To classify a file from this computer, it is uploaded to the label “desktop_scratch” of a training set of yours "
            "for a moment, and deleted again. Which training set may be used? You are asked once."
        )
        why = label(text, "base", "muted", wrap=True)
        buttons = in_row(1, self.cancel, self.allow)
        in_column(title, why, self.target, buttons, on=self, margins=theme.px(16), spacing=theme.px(8))
        self.resize(theme.px(440), self.sizeHint().height())

    def _allow(self) -> None:
        self.accept()
        self.agreed.emit(self.target.currentData())
