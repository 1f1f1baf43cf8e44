"""Review in the window: its entries in the sidebar, its pages, and the grid narrowed to findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QObject, QSize, Signal
from PySide6.QtWidgets import QFrame

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.review.controller import ReviewController
from apitorch_desktop.ui.review.panel import LABELS, PAGES, ReviewPanel
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.sidebar.model import FindingEntry
from apitorch_desktop.ui.sidebar.panel import TreePanel
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.trash import TrashPage
from apitorch_desktop.ui.widgets.controls import ElidedLabel, button, in_row, surface
from apitorch_desktop.utils.text import percent

TRASH = "trash"
BUDGET = 96 * 2**20
"""Bytes of decoded thumbnails kept for the board."""


class NarrowedBar(QFrame):
    """Bar over the grid: names the photos that are shown, and leads back to all."""

    all_requested = Signal()
    review_requested = Signal()

    def __init__(self, photos: PhotosController, theme: Theme) -> None:
        super().__init__(photos.grid)
        self._theme = theme
        self._grid = photos.grid
        surface(self, "card")
        self._words = ElidedLabel("", "base")
        self.back = button("To Review", "link", self.review_requested.emit)
        self.all = button("Show all", "link", self.all_requested.emit)
        in_row(self._words, self.back, self.all, on=self, margins=(14, 4, 6, 4))
        photos.grid.installEventFilter(self)
        photos.only_shown.connect(self._set_progress)
        self.hide()

    def _set_progress(self, words: str) -> None:
        self._words.setText(words)
        self.back.hide()
        self.setVisible(bool(words))
        self._place()

    def offer_back(self) -> None:
        """Offer the way back to the page of Review that showed these photos."""
        self.back.show()
        self._place()

    def words(self) -> str:
        """Return the text about the photos that are shown."""
        return self._words.full_text()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the size of the grid."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        grid, gap = self._grid, self._theme.px(12)
        room = max(0, grid.width() - 2 * gap)
        size = self.sizeHint().boundedTo(QSize(room, grid.height()))
        self.setGeometry(
            (grid.width() - size.width()) // 2, grid.height() - size.height() - gap, size.width(), size.height()
        )
        self.raise_()


class ReviewNavigation(QObject):
    """Owns the review pages; `shown` is True while one of them should be visible."""

    shown_changed = Signal()

    def __init__(
        self,
        session: Session,
        editing: EditController,
        photos: PhotosController,
        tree: TreePanel,
        theme: Theme,
        settings: Settings,
        trash_page: TrashPage,
    ) -> None:
        super().__init__(tree)
        self._session = session
        self._photos = photos
        self._tree = tree
        self.shown = False
        self.labels_by_key: Callable[[], Sequence[str]] = tuple
        """Returns the labels of the keys 1 … 9 and 0, "" for a key without."""
        self.review = ReviewController(session, editing, photos.model, settings)
        self._loader = ThumbnailLoader(session.tasks, self._thumbnail, budget=BUDGET, parent=self)
        self.panel = ReviewPanel(self.review, theme, self._loader, self._labels)
        self.only = NarrowedBar(photos, theme)
        self.trash = trash_page.trash
        self.trash_page = trash_page
        self.part: ReviewPanel | TrashPage = self.panel
        """Page to show while `shown` is True."""
        self._wire()
        session.classifier_changed.connect(self.panel.show_metrics)

    def _wire(self) -> None:
        review, panel, tree = self.review, self.panel, self._tree
        review.changed.connect(self._update_sidebar)
        self._photos.found_ids = review.ids_of
        review.changed.connect(self._photos.found_changed)
        review.progressed.connect(self._update_sidebar)
        tree.view.finding_chosen.connect(self.open_page)
        panel.closed.connect(self.close)
        self.trash_page.closed.connect(self.close)
        self.trash.changed.connect(self._update_sidebar)
        panel.open_requested.connect(self._photos.show_big)
        panel.grid_requested.connect(self._show_in_grid)
        panel.label_requested.connect(self._show_label)
        self.only.all_requested.connect(lambda: self._photos.show_only((), ""))
        self.only.review_requested.connect(self._back)
        self._photos.model.ids_replaced.connect(self._loader.rename_ids)
        self._session.open_set_changed.connect(self._opened_changed)
        self._session.sets_changed.connect(self._update_sidebar)

    def open_page(self, page: str) -> None:
        """Show one of the pages."""
        if page not in PAGES and page not in (LABELS, TRASH):
            return
        self.shown = True
        self._photos.close_big()
        self.part = self.trash_page if page == TRASH else self.panel
        if page != TRASH:
            self.panel.show_page(page)
        self.shown_changed.emit()
        self.part.focus()

    def close(self) -> None:
        """Return to the photos."""
        if self.shown:
            self.shown = False
            self.shown_changed.emit()
            self._photos.grid.setFocus()

    def _back(self) -> None:
        self._photos.show_only((), "")
        self.open_page(self.panel.page)

    def _show_in_grid(self, ids: list[str], words: str) -> None:
        self._photos.show_only(ids, words)
        self.only.offer_back()
        self.close()

    def _show_label(self, label: str) -> None:
        self._photos.show_only((), "")
        self.close()
        self._photos.grid.reveal_label(label)

    def _opened_changed(self) -> None:
        self._loader.clear()
        self.close()

    def _labels(self) -> Sequence[str]:
        return self.labels_by_key()

    def _thumbnail(self, image: TrainingImage, cancelled: Callable[[], bool]) -> bytes:
        workspace, open_set = self._session.workspace, self._session.open_set
        if workspace is None or open_set is None:
            raise RuntimeError("no training set is open")
        return workspace.thumbnail(open_set.training_set.id, image, cancelled=cancelled)

    # --- the sidebar

    def _update_sidebar(self) -> None:
        open_set, found, review = self._session.open_set, self.review.found, self.review
        model = self._tree.model
        if open_set is None or not (self._photos.model.total or found is not None or self.trash.here):
            model.set_findings("", [])
            return
        known = found is not None
        counts: dict[str, int | None] = dict.fromkeys((*PAGES, LABELS))
        if found is not None:
            counts["duplicates"] = len(review.surplus()) if found.groups is not None else None
            counts["suspects"] = (
                sum(issue.suspect for issue in found.label_issues) if found.label_issues is not None else None
            )
            counts["quality"] = len(found.flagged) + len(found.unreadable) if found.flagged is not None else None
            counts["unsure"] = len(found.unsure) if found.unsure is not None else None
            counts[LABELS] = len(found.advice) or None
        icons = {
            "duplicates": "duplicates",
            "suspects": "flag",
            "quality": "quality",
            "unsure": "target",
            LABELS: "tag",
        }
        titles = {key: page.title for key, page in PAGES.items()} | {LABELS: "Labels"}
        heading = f"Review · {open_set.training_set.name}"
        if review.busy and (review.share is not None or not known):
            heading += f" · {percent(review.share)}" if review.share is not None else " · …"
        rows = [FindingEntry(key, titles[key], icons[key], counts[key]) for key in titles]
        if self.trash.here or (self.shown and self.part is self.trash_page):
            rows.append(FindingEntry(TRASH, "Trash", "trash", len(self.trash.here)))
        model.set_findings(heading, rows)
