"""Page of the photos of all training sets that are most like one photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Signal

from apitorch_desktop.api.types import SimilarImage, TrainingImage, label_name
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import HeadingRow, PhotoRow
from apitorch_desktop.ui.photo_board.page import BoardPage
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.session.similar_photos import SimilarPhotos, SimilarTo, likeness
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import plural

BUDGET = 32 * 2**20
"""Bytes of decoded thumbnails kept for the page."""


class SimilarPage(BoardPage):
    """Lists what `SimilarPhotos` has found; opening a photo leads to it in its training set."""

    opened = Signal()
    """There is something new to show."""

    def __init__(self, similar: SimilarPhotos, session: Session, theme: Theme) -> None:
        loader = ThumbnailLoader(session.tasks, self._thumbnail, budget=BUDGET, parent=session)
        super().__init__(theme, loader, "Similar photos")
        self._similar = similar
        self._session = session
        self._found: dict[str, SimilarImage] = {}
        self.lay_out("Similar photos", (), "Return or a double click shows the photo in its training set")
        similar.listed.connect(self._show)
        session.connection_changed.connect(self._on_connection_changed)
        self.board.action_requested.connect(self._act)

    def _show(self, photo: SimilarTo, found: Sequence[SimilarImage]) -> None:
        self._found = {one.image_id: one for one in found}
        title = f"{plural(len(found), 'photo')} most like “{photo.name}”, of all training sets"
        rows: list[HeadingRow | PhotoRow] = [HeadingRow("heading", title)]
        for one in found:
            training_set = self._session.find_set(one.training_set_id)
            name = training_set.name if training_set is not None else ""
            if isinstance(one.image, TrainingImage):
                where = " · ".join(part for part in (label_name(one.label), name) if part)
                rows.append(PhotoRow(one.image_id, one.image, (where, likeness(one.similarity))))
        self.board.rows.show(rows)
        self.board.setCurrentIndex(self.board.rows.index(1))  # the nearest one, whatever had the focus before
        self.board.scrollToTop()
        self.opened.emit()
        self.board.setFocus()

    def _on_connection_changed(self) -> None:
        if self._session.connected is None:
            self.closed.emit()

    def _act(self, name: str) -> None:
        rows = self.board.selected_rows()
        if name in ("return", "open") and rows:
            found = self._found[rows[0].key]
            self.closed.emit()
            self._similar.photo_requested.emit(found.training_set_id, found.image_id)

    def _thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        workspace = self._session.workspace
        if workspace is None:
            raise RuntimeError("no service is connected")
        found = self._found[image.image_id]
        return workspace.thumbnail(found.training_set_id, image, cancelled=cancelled)
