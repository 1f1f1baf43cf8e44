"""Trash: photos deleted from the open training set, kept on this machine until it is emptied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QMessageBox, QStackedWidget

from apitorch_desktop.api.errors import ApiError
from apitorch_desktop.api.types import TrainingImage, label_name
from apitorch_desktop.dataset.edits.history import TrashedImage
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import PhotoRow
from apitorch_desktop.ui.photo_board.page import BoardPage
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, label
from apitorch_desktop.ui.widgets.dates import date_text
from apitorch_desktop.utils.text import plural, size

BUDGET = 32 * 2**20


TrashContent = tuple[list[TrashedImage], list[TrashedImage], list[PhotoRow]]
"""All of a trash, those of the open training set, and how the board shows these."""


class TrashController(QObject):
    """Content of the trash: of the open training set (`here`), and of the whole connection (`all`)."""

    changed = Signal()

    def __init__(self, session: Session, editing: EditController) -> None:
        super().__init__(session)
        self._session = session
        self._editing = editing
        self.here: list[TrashedImage] = []
        self.rows: list[PhotoRow] = []
        """How the board shows those of `here`, in their order."""
        self.all: list[TrashedImage] = []
        session.open_set_changed.connect(self.refresh)
        editing.edited.connect(lambda _outcome: self.refresh())

    def refresh(self) -> None:
        """Read the trash."""
        session = self._session
        connected, open_set = session.connected, session.open_set
        if connected is None or open_set is None:
            self._show(([], [], []))
            return
        edits, connection_id, set_id = connected.stores.edits, connected.connection.id, open_set.training_set.id

        def read(_context: object) -> TrashContent:
            found = edits.trash(connection_id)
            here = [photo for photo in found if photo.training_set_id == set_id]
            return found, here, [_row(photo) for photo in here]

        session.run("Reading the trash", read, self._show, lane=Lane.DISK, owner=open_set)

    def _show(self, content: TrashContent) -> None:
        self.all, self.here, self.rows = content
        self.changed.emit()

    def restore(self, trashed: Sequence[TrashedImage]) -> None:
        """Restore photos under the labels they had."""
        if trashed:
            photos = plural(len(trashed), "photo")
            self._editing.do(
                f"Bringing back {photos}",
                lambda edits, workspace, run: edits.restore(workspace, trashed, run),
                done=f"Brought back {photos}",
            )

    def empty(self) -> None:
        """Delete the whole connection's trash for good."""
        session = self._session
        if (connected := session.connected) is None:
            return
        edits, connection_id, workspace = connected.stores.edits, connected.connection.id, connected.workspace

        def forget(_context: object) -> None:
            """Have the service give up the bytes too, which it has for a day otherwise."""
            if workspace.has("images.restore"):
                with suppress(ApiError):
                    workspace.client.forget_deleted_images()

        def done(freed: int) -> None:
            session.run("Emptying the trash", forget)
            session.show_message(f"The trash is empty: {size(freed)} are free again.", "muted", "trash")
            self.refresh()

        session.run(
            "Emptying the trash", lambda _context: edits.empty_trash(connection_id), done, lane=Lane.DISK, owner=self
        )

    def thumbnail(self, number: int) -> bytes:
        """Return a thumbnail of a photo in the trash; runs on a lane. Raises UnreadableImage, FileNotFoundError."""
        from apitorch_desktop.vision import images

        stores = self._session.stores
        trashed = next((photo for photo in self.all if photo.id == number), None)
        if stores is None or trashed is None:
            raise FileNotFoundError("It is not in the trash any more.")
        return images.thumbnail(stores.edits.trashed_bytes(trashed))


class TrashPage(BoardPage):
    """Page that shows the trash of the open training set."""

    def __init__(self, session: Session, editing: EditController, theme: Theme) -> None:
        loader = ThumbnailLoader(session.tasks, self._thumbnail, budget=BUDGET, parent=session)
        super().__init__(theme, loader, "Deleted photos")
        self.trash = TrashController(session, editing)
        session.open_set_changed.connect(loader.clear)
        self.restore = button("", "primary", self._restore)
        self.empty = button("Empty the trash…", "", self._empty)
        self._none = label("The trash of this training set is empty.", "base", "muted", wrap=True)
        self._none.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.board)
        self.stack.addWidget(self._none)
        hint = "Return brings back what is selected"
        self.lay_out("Trash", (self.restore, self.empty), hint, center=self.stack)
        self.trash.changed.connect(self._show)
        self.board.selectionModel().selectionChanged.connect(lambda *_: self._show_controls())
        self.board.action_requested.connect(self._act)
        self._show()

    def focus(self) -> None:
        """Focus the board, which handles the keys."""
        (self.board if self.trash.here else self).setFocus()

    def _show(self) -> None:
        self.board.rows.show(self.trash.rows)
        self.stack.setCurrentWidget(self.board if self.trash.rows else self._none)
        self.hint.setVisible(bool(self.trash.rows))
        self._show_controls()

    def _show_controls(self) -> None:
        chosen = len(self._chosen())
        self.restore.setVisible(chosen > 0)
        self.restore.setText(f"Bring back {plural(chosen, 'photo')}")
        self.empty.setVisible(bool(self.trash.all))

    def _chosen(self) -> list[TrashedImage]:
        wanted = {row.key for row in self.board.selected_rows()}
        return [photo for photo in self.trash.here if str(photo.id) in wanted]

    def _act(self, name: str) -> None:
        if name == "return":
            self._restore()

    def _restore(self) -> None:
        self.trash.restore(self._chosen())

    def _empty(self) -> None:
        photos = plural(len(self.trash.all), "photo")
        question = QMessageBox(
            QMessageBox.Icon.NoIcon,
            "Empty the trash",
            f"Delete {photos} for good? This cannot be undone, and neither can the edits they were deleted by.",
            parent=self.window(),
        )
        go = question.addButton(f"Delete {photos} for good", QMessageBox.ButtonRole.DestructiveRole)
        question.setDefaultButton(question.addButton(QMessageBox.StandardButton.Cancel))
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        go.clicked.connect(self.trash.empty)
        question.open()

    def _thumbnail(self, image: TrainingImage, _cancelled: Callable[[], bool]) -> bytes:
        return self.trash.thumbnail(int(image.image_id.removeprefix("trash:")))


def _row(trashed: TrashedImage) -> PhotoRow:
    day = date_text(datetime.fromtimestamp(trashed.deleted_at, UTC))
    record = TrainingImage(id=f"trash:{trashed.id}", filename=trashed.name, url="", label=trashed.label)
    return PhotoRow(str(trashed.id), record, (trashed.name, f"{label_name(trashed.label)} · {day}"))
