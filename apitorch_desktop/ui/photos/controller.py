"""Photos of the open training set: the grid with search, filter, sort order and zoom, the full-size view, and their actions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET
from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QInputDialog, QMenu

from apitorch_desktop.api.types import HELD_OUT, INBOX, SPLITS, Evidence, SimilarImage, TrainingImage, label_name
from apitorch_desktop.dataset.edits.history import EditOutcome
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.dataset.workspace.listing import image_ids, image_labels, without_label
from apitorch_desktop.ui.actions import DELETE_KEYS, ActionRegistry, ActionSpec, always
from apitorch_desktop.ui.grid.filters import Filter, now, one_of
from apitorch_desktop.ui.grid.model import FlatList, GridModel
from apitorch_desktop.ui.grid.view import DEFAULT, GridView, SelectionSummary
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photos.share import ShareActions
from apitorch_desktop.ui.session import file_manager
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.messages import selection_text
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.session.similar_photos import NearPhoto, SimilarPhotos, SimilarTo
from apitorch_desktop.ui.settings import Settings, SortOrder
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.viewer.view import PhotoView
from apitorch_desktop.ui.widgets.heat_map import HeatMap
from apitorch_desktop.ui.widgets.label_menu import menus_of
from apitorch_desktop.utils.text import percent, plural, size

if TYPE_CHECKING:  # numpy comes with the first images, on a lane
    from numpy.typing import NDArray

    from apitorch_desktop.dataset.workspace.image_table import ImageTable
    from apitorch_desktop.ui.grid.groups import SortKey

SORTS = (
    ("label", "Label"),
    ("name", "File name"),
    ("newest", "Newest first"),
    ("oldest", "Oldest first"),
    ("big", "Largest photo first"),
    ("most", "Largest label first"),
    ("fewest", "Smallest label first"),
    ("proposed", "Classifier’s label"),
    ("unsure", "Least sure first"),
    ("sure", "Surest first"),
)


_LOOKED_AT = 1000
"""Photos at most of which the menu looks up the split that they have."""
NEAREST_DELAY = 250
"""Milliseconds for which a photo is shown full size until the nearest ones are looked for."""
SIMILAR = 100
"""Most similar photos that are shown at first."""
_ITSELF = 2.0
"""Stands for the similarity of the photo that others are compared with: above all others, so that it is first."""


_KEYS_OF_SORTS: dict[SortOrder, tuple[SortKey | None, bool, int]] = {
    "label": (None, False, 0),
    "name": (lambda table: table.name_rank(), False, 0),
    "newest": (lambda table: table.created, True, 0),
    "oldest": (lambda table: table.created, False, 0),
    "big": (lambda table: table.width.astype("i8") * table.height, True, 0),
    "most": (None, False, 1),
    "fewest": (None, False, -1),
    "proposed": (None, False, 0),
    "unsure": (None, False, 0),
    "sure": (None, True, 0),
}
_BY_ANSWER = ("proposed", "unsure", "sure")
"""Sort key of the photos within a label (None: as listed), whether it is reversed, and the order of labels by count.

Those of `_BY_ANSWER` sort by the classifier's answers, as they were when the order was chosen: photos must not change their
places after each label that is given."""


def _by_answer(key: SortOrder, answers: Mapping[str, OutOfFoldAnswer]) -> SortKey:
    """Return the sort key for an order of `_BY_ANSWER`; images without an answer are last."""

    def by(table: ImageTable) -> NDArray[Any]:
        given = table.answers(answers)
        if key != "proposed":
            return given.confidence_or(2.0 if key == "unsure" else -1.0)
        rank = {name: place for place, name in enumerate(sorted(given.labels))}
        return given.number_of_label(
            [2.0 * rank[name] for name in given.labels], 2.0 * len(rank)
        ) - given.confidence_or(0.0)

    return by


def _by_similarity(ranking: Mapping[str, float]) -> SortKey:
    """Return the sort key for similarity; images without one are last."""
    return lambda table: table.numbers(ranking, -2.0)


class PhotosController(QObject):
    """Connects grid and full-size view to the open training set."""

    selection_changed = Signal(str)
    """The text of the selection."""
    nothing_found = Signal(str)
    """A sentence if no photo passes search and filter, "" if any does."""
    only_shown = Signal(str)
    """Only certain photos are shown, on top of the filter: their description, "" once all are shown again."""
    big_shown = Signal(bool)
    classify_requested = Signal(list, str)
    """Ids of photos, and the slug of the classifier to ask."""
    export_requested = Signal(list)
    """The `TrainingImage`s to export."""
    copy_requested = Signal(list, object, str)
    """The `TrainingImage`s to copy, a `TrainingSet` or the name of a new one, and a label, "" for their own."""
    zoomed = Signal(int)
    sorted = Signal(str)

    def __init__(
        self,
        session: Session,
        edits: EditController,
        model: GridModel,
        actions: ActionRegistry,
        theme: Theme,
        settings: Settings,
        local_copy: Callable[[TrainingImage, Callable[[], bool]], Path],
        similar: SimilarPhotos,
        origin: Callable[[TrainingImage], str] = lambda _image: "",
    ) -> None:
        super().__init__()
        self._session = session
        self._edits = edits
        self._settings = settings
        self.model = model
        self._actions = actions
        self.filter = Filter()
        self.only: frozenset[str] | None = None
        self._answers: Mapping[str, OutOfFoldAnswer] = {}
        self._sorted_by: Mapping[str, OutOfFoldAnswer] = {}
        self.found_ids: Callable[[str], Collection[str]] = lambda _key: ()
        """Returns the ids of the photos of a key of `filters.FOUND`."""
        self._found: frozenset[str] = frozenset()
        self.sort: SortOrder | Literal["similar"] = settings.sort
        self._similar = similar
        self._nearest: Sequence[NearPhoto] = ()
        self._nearest_timer = QTimer(self, interval=NEAREST_DELAY, singleShot=True)
        self._nearest_timer.timeout.connect(self._show_nearest)
        self._explaining = False
        self._theme = theme
        self._ranking: dict[str, float] = {}
        tasks = session.tasks
        self.loader = ThumbnailLoader(tasks, session.read_thumbnail, large=session.read_image, parent=self)
        self.grid = GridView(model, self.loader, theme, tasks=tasks, local_copy=local_copy)
        self.big = PhotoView(tasks, session.read_image, model.neighbor, theme, loader=self.loader)
        self.share: ShareActions[TrainingImage] = ShareActions(session, local_copy, origin)
        self.key_of: Callable[[str], str] = lambda _label: ""
        """Returns the key of a label, "" for none."""
        self._add_edit_actions()
        self._add_view_actions()
        self._add_sharing_actions()
        self._add_classifier_actions()
        actions.bind_button(self.big.fit, "view.zoom_reset", "The whole photo", runs=False)
        actions.bind_button(self.big.actual, "view.actual_size", "Pixel for pixel", runs=False)
        self._wire()
        self.set_sort(self.sort)
        self.grid.set_cell_size(DEFAULT if settings.thumbnail_size is UNSET else settings.thumbnail_size)

    def _wire(self) -> None:
        grid, big = self.grid, self.big
        grid.summary_changed.connect(self._show_selection)
        grid.zoom_changed.connect(self.zoomed)
        grid.images_dropped.connect(self.move)
        grid.image_activated.connect(self.show_big)
        grid.context_menu_requested.connect(lambda place, label: self._menu(label).popup(place))
        big.closed.connect(self.close_big)
        big.image_changed.connect(self._show_origin)
        big.image_changed.connect(lambda _image: self._show_selection(grid.summary()))
        big.drag_requested.connect(lambda image: self.grid.start_drag([image]))
        big.context_menu_requested.connect(lambda place: self._menu(None).popup(place))
        self.model.counts_changed.connect(self._show_found)
        self.model.ids_replaced.connect(self._follow)
        self.grid.left.connect(self._leave_part)
        big.image_changed.connect(lambda _image: self._nearest_timer.start())
        big.nearest.chosen.connect(self._show_near_photo)
        big.image_changed.connect(lambda _image: self._show_evidence())
        self._similar.ranked.connect(self._show_similar)
        self._session.open_set_changed.connect(self._on_open_set_changed)
        self._edits.taken_back.connect(self._reveal_changed)
        self._edits.edited.connect(self._follow_splits)
        self._session.connection_changed.connect(self._on_connection_changed)

    def _on_open_set_changed(self) -> None:
        self.close_big()
        self.loader.clear()
        self._sorted_by = {}
        self._ranking = {}
        self._leave_part()

    def _on_connection_changed(self) -> None:
        if self._session.state.value == "ready":
            self.loader.retry()

    # --- search and filter

    def search(self, text: str) -> None:
        """Show only photos whose label or file name contains all the words, and none after a minus."""
        self.filter.words = text
        self.apply_filter()

    def apply_filter(self, *, again: bool = False) -> None:
        """Show the photos that pass the filter; `again` if the filter itself has not changed."""
        self._found = self._ids_found()
        keep, only = self.filter.keep(now(), self.found_ids, self.model.answers), self.only
        if only is None:
            self.model.set_filter(keep, again=again)
        else:
            self.model.set_filter(
                lambda table: one_of(table, only) if keep is None else one_of(table, only) & keep(table), again=again
            )
        self._show_answers()
        self._show_found()

    def found_changed(self) -> None:
        """Apply a filter by findings again after Review has found something else; show the classifier's new answers."""
        answers = self.model.answers
        if answers is not self._answers:
            self._answers = answers
            self.big.set_answer(self._answer_text(self.big.image()))
            if self.filter.asks_classifier:
                self.apply_filter(again=True)
            if answers and not self._sorted_by and self.sort in _BY_ANSWER:
                self.set_sort(self.sort)
        if self.filter.found and self._ids_found() != self._found:
            self.apply_filter(again=True)

    def _answer_text(self, image: TrainingImage | None) -> str:
        answer = self.model.answers.get(image.image_id) if image is not None else None
        return answer.text if answer is not None else ""

    def _show_answers(self) -> None:
        self.model.show_answers(self.sort in _BY_ANSWER or self.filter.asks_classifier)

    def _ids_found(self) -> frozenset[str]:
        return frozenset(one for key in self.filter.found for one in self.found_ids(key))

    def show_only(self, ids: Collection[str], words: str) -> None:
        """Show only these photos, described by `words`; no ids: all again."""
        self.only = frozenset(ids) or None
        self.apply_filter()
        if self.only is not None:
            self.grid.scrollToTop()
        self.only_shown.emit(words if self.only is not None else "")

    def _leave_part(self) -> None:
        if self.only is not None:
            self.show_only((), "")
        if self.sort == "similar":
            self.set_sort(self._settings.sort)

    def show_groups(self) -> None:
        """Show the photos by label, if they are listed by likeness."""
        if self.sort == "similar":
            self._leave_part()

    def _follow(self, new_ids: dict[str, str]) -> None:
        self._ranking.update({new: self._ranking[old] for old, new in new_ids.items() if old in self._ranking})
        if self.only is not None:
            self.only = frozenset(new_ids.get(one, one) for one in self.only)
            self.apply_filter(again=True)

    # --- similar photos

    def find_similar(self, *, everywhere: bool = False) -> None:
        """Find photos similar to the selected one, in the open training set or in all."""
        image = self.selected()[0]
        self._similar.find(SimilarTo(image.display_name, image_id=image.image_id), everywhere=everywhere)

    def _show_nearest(self) -> None:
        """Show the training photos nearest to the one at full size."""
        image, row = self.big.image(), self.big.nearest
        if image is None:
            return

        def done(found: Sequence[NearPhoto]) -> None:
            if (shown := self.big.image()) is not None and shown.image_id == image.image_id:
                self._nearest = found
                row.show_images([(near.thumbnail, near.text) for near in found])

        edge = round(row.edge * row.devicePixelRatioF())
        self._similar.nearest(SimilarTo(image.display_name, image_id=image.image_id), edge, done, self)

    def _switch_evidence(self) -> None:
        """Show over the photo at full size where the evidence for the classifier's answer lies, or hide that."""
        self._explaining = not self._explaining
        self._show_evidence()

    def _show_evidence(self) -> None:
        image, workspace, canvas = self.big.image(), self._session.workspace, self.big.canvas
        canvas.show_heat_map(None)
        self._session.message_expired.emit("evidence")
        if image is None or workspace is None or not self._explaining:
            return
        answer = self.model.answers.get(image.image_id)

        def done(evidence: Evidence) -> None:
            if self._explaining and self.big.image() is image:
                heat_map = HeatMap(evidence, self._theme.color("accent"))
                canvas.show_heat_map(heat_map)
                self._session.show_message(heat_map.text, "muted", "evidence")

        def failed(error: Exception) -> None:
            self._explaining = False  # rather than the same sentence for each photo
            self._session.show_error(error, "Explaining the label")

        self._session.run(
            "Explaining the label",
            lambda context: workspace.run(
                lambda: workspace.client.evidence(
                    image_id=image.image_id, label=answer.label if answer else None, cancelled=context.cancelled
                )
            ),
            done,
            failed=failed,
            owner=self,
        )

    def _show_near_photo(self, at: int) -> None:
        image = self._nearest[at].image
        self._similar.photo_requested.emit(image.training_set_id, image.image_id)

    def _show_similar(self, photo: SimilarTo, found: Sequence[SimilarImage]) -> None:
        """List the photos by similarity, whatever their labels: the most similar ones only, until all are wanted."""
        self._ranking = {one.image_id: one.similarity for one in found}
        first = [one.image_id for one in found[:SIMILAR]]
        if photo.image_id:
            self._ranking[photo.image_id] = _ITSELF
            first = [photo.image_id, *first]
        self.close_big()
        self.set_sort("similar")
        self.show_only(first, f"{plural(len(found[:SIMILAR]), 'photo')} most like “{photo.name}”")

    def sorts(self) -> list[tuple[str, str]]:
        """Return the orders that can be chosen, as (key, text)."""
        return [*SORTS, *([("similar", "Most similar first")] if self._ranking else [])]

    def set_sort(self, key: SortOrder | Literal["similar"]) -> None:
        """Sort the photos within their labels, or the labels by their counts."""
        if key == "similar":
            ranking, self.sort = self._ranking, key

            def caption(image_id: str) -> str:
                similarity = ranking.get(image_id, _ITSELF)
                return percent(similarity) if similarity < _ITSELF else ""

            self.model.set_sort(_by_similarity(ranking), reverse=True, flat=FlatList("Most similar first", caption))
            self._show_answers()
            self.sorted.emit(key)
            return
        by, reverse, by_count = _KEYS_OF_SORTS[key]
        if key in _BY_ANSWER:
            answers = self._sorted_by = self.model.answers
            by = _by_answer(key, answers)
        self.sort = key
        self._settings.sort = key
        self._settings.save()
        self.model.set_sort(by, reverse=reverse, by_count=by_count)
        self._show_answers()
        self.sorted.emit(key)

    def _show_found(self) -> None:
        nothing = self.model.total > 0 and self.model.shown == 0
        if nothing and self.only is not None:  # the last of them was deleted
            self.show_only((), "")
            return
        self.nothing_found.emit(self.filter.sentence() if nothing else "")
        self._show_selection(self.grid.summary())

    def _show_selection(self, summary: SelectionSummary) -> None:
        shown = self.big.image()
        if shown is not None and (row := self.model.row_of(shown.image_id)) is not None:
            self.selection_changed.emit(f"Photo {row + 1:,} of {self.model.shown:,}")
            return
        words = size(summary.bytes) if summary.bytes else ""
        self.selection_changed.emit(selection_text(summary.images, words, summary.shown, summary.total))

    # --- edits

    def selected(self) -> Sequence[TrainingImage]:
        """Return the photo in the full-size view, else the selected ones."""
        shown = self.big.image() if self.big.isVisible() else None
        if shown is None:
            return self.model.selected_images()
        return [self.model.record(shown.image_id) or shown]  # its label may have changed

    def move(self, image_ids: Sequence[str], label: str) -> None:
        """Move photos to a label."""
        self._edits.move(self.model.records_of(image_ids), label)

    def delete(self, image_ids: Sequence[str]) -> None:
        """Delete photos; the full-size view shows the next."""
        if self.big.isVisible() and image_ids:
            following = self.model.neighbor(image_ids[0], 1) or self.model.neighbor(image_ids[0], -1)
            if following is None:
                self.close_big()
            else:
                self.big.show_image(following)
        self._edits.delete(self.model.records_of(image_ids))

    def _reveal_changed(self, outcome: EditOutcome) -> None:
        """Scroll to a photo that an undo or redo has changed, unless one of them is in sight."""
        open_set = self._session.open_set
        if open_set is None or open_set.training_set.id != outcome.training_set_id:
            return
        self._follow(outcome.changed)  # photos that came back from the trash have new ids
        others = {*outcome.changed.values(), *(image.image_id for image in outcome.added)}
        in_sight = map(self.model.id_at, self.grid.rows_in_sight())
        if not any(one in outcome.moved or one in others for one in in_sight):
            rows = self.model.rows_of({*outcome.moved, *others})
            if rows:
                self.grid.scrollTo(self.model.index(rows[0], 0))

    def _follow_splits(self, outcome: EditOutcome) -> None:
        """Apply a filter that asks for splits again; show the new one at full size."""
        if outcome.splits and (self.filter.split or self.filter.words):
            self.apply_filter(again=True)
        shown = self.big.image()
        if shown is not None and shown.image_id in outcome.splits and (image := self.model.record(shown.image_id)):
            self.big.show_image(image)

    # --- one photo

    def show_big(self, image: TrainingImage) -> None:
        """Show one photo full size."""
        self.big.show_image(image)
        self.big_shown.emit(True)
        self.big.setFocus()

    def close_big(self) -> None:
        """Return to the grid, at the photo that was shown."""
        image = self.big.image()
        if image is None:
            return
        self.big.show_image(None)
        self.big_shown.emit(False)
        self._show_selection(self.grid.summary())
        self.grid.reveal(image.image_id)
        if self.grid.isVisible():  # it may have been opened from elsewhere
            self.grid.setFocus()

    # --- actions

    def _no_selection(self) -> str:
        return "" if self.selected() else "Select photos first."

    def _no_big(self) -> str:
        return "" if self.big.isVisible() else "Open a photo first."

    def _unavailable(self) -> str:
        return self._no_selection() or self._session.unavailable_reason("")

    def _counted(self) -> str:
        return plural(len(self.selected()), "photo") if self.selected() else "photos"

    def _chosen(self) -> str:
        return "the photo" if len(self.selected()) == 1 else self._counted()

    def _add_edit_actions(self) -> None:
        def no_photos() -> str:
            return "" if self.model.shown else "There are no photos."

        def no_unlabel() -> str:
            workspace = self._session.workspace
            if workspace is not None and not workspace.has_inbox:
                return "This service cannot keep photos without a label."
            waiting = not without_label(self.selected(), INBOX)
            return self._no_selection() or ("They have no label." if waiting else "")

        self._actions.add(
            ActionSpec(
                "photo.delete", lambda: f"Delete {self._counted()}",
                lambda: self.delete(image_ids(self.selected())),
                DELETE_KEYS, "Delete what is selected; Undo brings it back", "Photos", reason=self._no_selection,
                within=(self.grid, self.big), applies=always, icon="trash",
            ),
            ActionSpec(
                "photo.unlabel", "Remove label", lambda: self._edits.move(self.selected(), INBOX),
                "Ctrl+U", "Remove the label: the photo waits under “No label yet”", "Photos", reason=no_unlabel,
                within=(self.grid, self.big), icon="tag",
            ),
            ActionSpec("photo.split", "Split", submenu=self._fill_splits, reason=self._no_selection, icon="split"),
            ActionSpec(
                "photo.select_all", "Select all", self.grid.selectAll, "Ctrl+A", "Select all", "Photos",
                reason=no_photos, within=(self.grid,), applies=always, icon="select-all",
            ),
            ActionSpec(
                "photo.invert", "Invert selection", self.grid.invert_selection, "Ctrl+Shift+I", "Select the others", "Photos",
                reason=no_photos, within=(self.grid,), applies=always, icon="invert",
            ),
        )  # fmt: skip

    def _add_view_actions(self) -> None:
        def focused() -> TrainingImage | None:
            return self.grid.focused_image() if self.grid.hasFocus() else None

        def open_photo() -> None:
            self.show_big(focused() or self.selected()[0])

        def zoom(steps: int) -> None:
            if self.big.isVisible():
                self.big.canvas.step(steps)
            else:
                self.grid.zoom_steps(steps)

        def reset_zoom() -> None:
            if self.big.isVisible():
                self.big.canvas.fit()
            else:
                self.grid.set_cell_size(DEFAULT)

        self._actions.add(
            ActionSpec(
                "view.zoom_in", "Zoom in", lambda: zoom(1), "Ctrl++, Ctrl+=", "Larger thumbnails, or a larger photo", "Photos",
                within=(self.grid, self.big), applies=always,
            ),
            ActionSpec(
                "view.zoom_out", "Zoom out", lambda: zoom(-1), "Ctrl+-", "Smaller thumbnails, or a smaller photo", "Photos",
                within=(self.grid, self.big), applies=always,
            ),
            ActionSpec(
                "view.zoom_reset", "Reset zoom", reset_zoom, "Ctrl+0", "Thumbnails of the first size, or the whole photo",
                "Photos", within=(self.grid, self.big), applies=always,
            ),
            ActionSpec(
                "view.actual_size", "Pixel for pixel", lambda: self.big.canvas.set_zoom(1), "Ctrl+1",
                "A pixel of the photo for each of the screen", "Full size", reason=self._no_big,
                within=(self.big,), applies=always,
            ),
            ActionSpec(
                "photo.open", "Open", open_photo, "Return, Enter", "Show the photo full size", "Photos",
                reason=lambda: "" if focused() is not None else self._no_selection(),
                within=(self.grid,), applies=always, icon="image",
            ),
        )  # fmt: skip

    def _add_sharing_actions(self) -> None:
        def copy_text() -> str:
            return "Copy photo" if len(self.selected()) == 1 else f"Copy {self._counted()}"

        self._actions.add(
            ActionSpec(
                "photo.copy", copy_text, lambda: self.share.copy(self.selected()),
                "Ctrl+C", "Copy photos", "Photos", reason=self._no_selection, within=(self.grid, self.big), icon="copy",
            ),
            ActionSpec(
                "photo.copy_paths", lambda: "Copy path" if len(self.selected()) == 1 else "Copy paths",
                lambda: self.share.copy_paths(self.selected()),
                "Ctrl+Shift+C", "Copy their paths", "Photos", reason=self._no_selection,
                within=(self.grid, self.big), icon="link",
            ),
            ActionSpec(
                "photo.show_in_file_manager", f"Show in {file_manager.NAME}",
                lambda: self.share.show_in_folder(self.selected()[0]),
                reason=lambda: "" if len(self.selected()) == 1 else "Select one photo to show it.", icon="folder",
            ),
            ActionSpec(
                "photo.export", lambda: f"Export {self._chosen()}…", lambda: self.export_requested.emit(list(self.selected())),
                reason=self._unavailable, icon="export",
            ),
            ActionSpec(
                "photo.copy_to_set", lambda: f"Copy {self._chosen()} to training set", submenu=self._fill_sets,
                reason=self._unavailable, icon="copy-to",
            ),
        )  # fmt: skip

    def _add_classifier_actions(self) -> None:
        def one() -> str:
            return "" if len(self.selected()) == 1 else "Select one photo to find others like it."

        self._actions.add(
            ActionSpec(
                "photo.classify_with", lambda: f"Classify {self._chosen()} with", submenu=self._fill_classifiers,
                reason=self._unavailable, icon="sparkle",
            ),
            ActionSpec(
                "photo.find_similar", "Find similar", self.find_similar, "Ctrl+Shift+F",
                "Find photos like the selected one", "Photos", reason=lambda: one() or self._similar.reason(),
                within=(self.grid, self.big), icon="search",
            ),
            ActionSpec(
                "photo.find_similar_everywhere", "Find similar in all training sets",
                lambda: self.find_similar(everywhere=True),
                reason=lambda: one() or self._similar.reason(everywhere=True), icon="globe",
            ),
            ActionSpec(
                "photo.evidence", "Explain the label", self._switch_evidence, "Ctrl+E",
                "Show where the evidence for the classifier’s answer lies, or hide it", "Full size",
                reason=lambda: self._no_big() or self._session.unavailable_reason("evidence"),
                checked=lambda: self._explaining, within=(self.grid, self.big), icon="eye",
            ),
        )  # fmt: skip

    # --- the menu

    def _menu(self, label: str | None) -> QMenu:
        menu = QMenu(self.grid)
        chosen = self.selected()
        open_set = self._session.open_set

        if label is not None:
            action = menu.addAction(f"Select all of “{label.replace('&', '&&')}”")
            action.triggered.connect(lambda: self.grid.select_label(label))
        if chosen and open_set is not None:
            if len(chosen) == 1:
                self._actions.fill(menu, "photo.evidence" if self.big.isVisible() else "photo.open", icons=True)
            move = menu.addMenu(self._theme.icon("tag"), f"Move {plural(len(chosen), 'photo')} to")
            for below, name in menus_of(move, open_set.labels):
                action = below.addAction(name.replace("&", "&&"))
                action.triggered.connect(lambda _checked=False, name=name: self._edits.move(chosen, name))
                action.setShortcut(QKeySequence(self.key_of(name)))
            move.addSeparator()
            self._actions.fill(move, "photo.unlabel")
            self._actions.fill(
                menu, "photo.split", "photo.copy_to_set", "", "photo.classify_with",
                "photo.find_similar", "photo.find_similar_everywhere", "",
                "photo.copy", "photo.copy_paths", "photo.show_in_file_manager", "photo.export", "", "photo.delete",
                icons=True,
            )  # fmt: skip
        elif label is None:
            self._actions.fill(menu, "photo.select_all", icons=True)
        menu.aboutToHide.connect(menu.deleteLater)
        return menu

    def _fill_classifiers(self, menu: QMenu) -> None:
        ids = image_ids(self.selected())
        for found in self._session.classifiers:
            if isinstance(found.slug, str):
                action = menu.addAction(found.name.replace("&", "&&") or found.slug)
                action.triggered.connect(
                    lambda _checked=False, slug=found.slug: self.classify_requested.emit(ids, slug)
                )
        if menu.isEmpty():
            menu.addAction("There is none yet").setEnabled(False)

    def _fill_splits(self, menu: QMenu) -> None:
        images = self.selected()
        present = {image.known_split for image in images} if len(images) <= _LOOKED_AT else set()
        workspace = self._session.workspace
        ours = workspace is not None and workspace.has("splits")  # others may learn all of them
        for split in (*SPLITS, ""):
            hint = " – not learned, but measured" if ours and split in HELD_OUT else ""
            action = menu.addAction((split.capitalize() or "None") + hint)
            action.setCheckable(True)
            action.setChecked(present == {split})
            action.triggered.connect(lambda _checked=False, split=split: self._edits.set_split(images, split))

    def _fill_sets(self, menu: QMenu) -> None:
        images, open_set = self.selected(), self._session.open_set
        here = open_set.training_set.id if open_set is not None else ""
        others = [found for found in self._session.training_sets if found.id != here]
        for found in others:
            below = menu.addMenu(found.name.replace("&", "&&"))
            labels = found.classes
            own = list(dict.fromkeys(image_labels(images)))
            title = "Under their own labels" if len(own) > 1 else f"Under “{label_name(own[0])}”"
            others_of = [name for name in sorted(labels) if [name] != own]
            for place, name in [(below, ""), *menus_of(below, others_of)]:
                action = place.addAction((name or title).replace("&", "&&"))
                action.triggered.connect(
                    lambda _checked=False, found=found, name=name: self.copy_requested.emit(images, found, name)
                )
        menu.addSeparator()
        new = menu.addAction("New training set…")
        new.setEnabled(not self._session.unavailable_reason("training-sets"))
        new.setToolTip(self._session.unavailable_reason("training-sets"))
        new.triggered.connect(lambda _checked=False: self._name_new_set(images))

    def _name_new_set(self, images: Sequence[TrainingImage]) -> None:
        dialog = QInputDialog(self.grid.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Copy to a new training set")
        dialog.setLabelText("Name")
        dialog.setOkButtonText("Copy")
        dialog.resize(dialog.fontMetrics().averageCharWidth() * 60, dialog.sizeHint().height())  # the title has room
        dialog.textValueSelected.connect(
            lambda name: self.copy_requested.emit(images, name.strip(), "") if name.strip() else None
        )
        dialog.open()

    def _show_origin(self, image: TrainingImage) -> None:
        self.big.set_answer(self._answer_text(image))

        def found(origin: str) -> None:
            if origin:
                self.big.add_detail(image.image_id, f"from {origin}")

        self.share.look_up(image, found)

    def save(self) -> None:
        """Keep the size of the thumbnails for the next start."""
        self._settings.thumbnail_size = self.grid.cell_size()
        self._settings.save()
