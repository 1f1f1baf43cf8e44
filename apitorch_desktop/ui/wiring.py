"""Who tells whom: the parts of the window, the session and the flows, connected in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.ui.conflicts.controller import ConflictController
from apitorch_desktop.ui.connections.controller import ConnectionController
from apitorch_desktop.ui.connections.web_pages import NewSetPage
from apitorch_desktop.ui.main_window.page_switcher import PageSwitcher
from apitorch_desktop.ui.photos.controller import SORTS
from apitorch_desktop.ui.photos.filter_menu import FilterMenu, SavedFilters
from apitorch_desktop.ui.session.messages import Message
from apitorch_desktop.ui.shortcuts import Shortcuts
from apitorch_desktop.ui.sidebar.model import RowType, TreeNode
from apitorch_desktop.ui.transfer_wiring import wire_transfers
from apitorch_desktop.ui.view_state import ViewState
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from apitorch_desktop.utils.text import plural

if TYPE_CHECKING:
    from apitorch_desktop.ui.bootstrap import Bootstrap


class Wiring(QObject):
    """Made last in the assembly; `begin` turns to the connection that was open at the end of the last run."""

    def __init__(self, made: Bootstrap) -> None:
        super().__init__(made)
        self._made = made
        self._settings = made.settings
        self._session = made.session
        self._frame = made.frame
        self._photos = made.photos
        self._reveal = ""
        self.turning = ConnectionController(made)
        self.middle = PageSwitcher(made)
        self._wire_session()
        self._wire_tree()
        self._wire_toolbar()
        self._wire_photos()
        self.conflicts = ConflictController(made, self.middle)
        wire_transfers(made, self.middle)
        self._wire_classifying()
        self.restoring = ViewState(made.session, made.photos, made.settings, self._filter_changed)
        self._keys = Shortcuts(made, lambda: self.middle.switch(made.transfers))

    def begin(self, stores: AppData, arguments: list[str]) -> None:
        """Everything on disk is open: turn to the connection, work on transfers, take in what the command named."""
        self.turning.begin(stores)
        self._made.desk.start(stores.transfers)
        self.take_in(arguments)

    def take_in(self, arguments: list[str]) -> None:
        """Import what a command line named."""
        if arguments:
            self._made.importing.begin(_content(arguments))

    # --- the session

    def _wire_session(self) -> None:
        made, session, status = self._made, self._session, self._frame.status
        session.said.connect(status.message.say)
        session.over.connect(status.message.ended)
        session.sets_changed.connect(self._show_sets)
        session.opened_changed.connect(self._opened_changed)
        session.listing_changed.connect(self._listing_changed)
        session.classifier_changed.connect(self._show_classifier)
        made.tasks.failures.connect(lambda fault: session.failed(fault))

    # --- what is open

    def _opened_changed(self) -> None:
        self._reveal = ""
        opened = self._session.opened
        self._frame.toolbar.search.clear()
        self._filters.clear()
        self._frame.tree.view.set_open(opened.training_set.id if opened is not None else None)
        self._made.window.setWindowTitle(
            f"{opened.training_set.name} – API Torch Desktop" if opened is not None else "API Torch Desktop"
        )
        self._frame.drop_words = (
            f"Drop to add to “{opened.training_set.name}”"
            if opened is not None
            else "Drop to make a training set of it"
        )
        self._show_classifier()

    def _listing_changed(self) -> None:
        if self._reveal and self._photos.grid.reveal_label(self._reveal):
            self._reveal = ""

    def _show_sets(self) -> None:
        tree, session = self._frame.tree, self._session
        tree.model.set_training_sets(session.shown_sets())
        if session.opened is not None:
            tree.view.set_open(session.opened.training_set.id)
        self._show_classifier()

    def _show_classifier(self) -> None:
        session, card = self._session, self._frame.tree.card
        opened = session.opened
        if opened is None or session.workspace is None or not session.workspace.has("training"):
            card.show_state(None, None)
            return
        shown = next((one for one in session.shown_sets() if one.id == opened.training_set.id), opened.training_set)
        card.show_state(shown, opened.learning.classifier)

    # --- the tree

    def _wire_tree(self) -> None:
        tree, made, session = self._frame.tree, self._made, self._session
        view, editing = tree.view, made.editing
        view.set_chosen.connect(self._choose_set)
        view.label_chosen.connect(self._choose_label)
        view.content_dropped.connect(made.importing.begin)
        view.images_dropped.connect(lambda ids, _set, label: self._photos.move(ids, label))
        view.drag_over.connect(lambda words: self._frame.hint.aim(tree, words, framed=False))
        view.refused.connect(lambda reason: session.said.emit(Message(reason, "muted")))
        view.delete_wanted.connect(self._delete_node)
        view.merge_wanted.connect(lambda node, into: editing.merge_labels(node.parent.key, node.key, into))
        view.export_wanted.connect(lambda node: self._made.exporting.ask(node.key))
        page = NewSetPage(session, self)
        view.new_set_page = session.new_set_page
        view.page_wanted.connect(page.open)
        view.compare_wanted.connect(lambda node: self._made.comparing.open(node.key))
        tree.model.renamed.connect(self._rename_node)
        tree.model.drafted.connect(self._make_node)

    def _choose_set(self, set_id: str) -> None:
        self._photos.close_big()
        self._made.review.close()
        self.middle.show_above(None)
        self._session.open_set(set_id)

    def _choose_label(self, set_id: str, label: str) -> None:
        self._choose_set(set_id)
        if not self._photos.grid.reveal_label(label):
            self._reveal = label  # as soon as it is listed

    def _make_node(self, above: TreeNode | None, name: str) -> None:
        if above is None:
            self._made.editing.create_training_set(name, then=lambda set_id: self._open_when_there(str(set_id)))
        else:
            self._made.editing.create_label(above.key, name)

    def _open_when_there(self, set_id: str) -> None:
        self._session.open_set(set_id)  # else it is opened as soon as it is listed

    def _rename_node(self, node: TreeNode, name: str) -> None:
        if node.row is RowType.LABEL and node.parent is not None:
            self._made.editing.rename_label(node.parent.key, node.key, name)
        else:
            self._made.editing.rename_training_set(node.key, name)

    def _delete_node(self, node: TreeNode) -> None:
        if node.row is RowType.LABEL and node.parent is not None:
            self._made.editing.delete_label(node.parent.key, node.key)
        else:
            self._made.editing.delete_training_set(node.key, node.text)

    # --- the toolbar

    def _wire_toolbar(self) -> None:
        toolbar, photos = self._frame.toolbar, self._photos
        toolbar.import_wanted.connect(self._made.importing.choose_files)
        toolbar.searched.connect(photos.search)
        toolbar.search_left.connect(photos.grid.setFocus)
        toolbar.sort_chosen.connect(photos.set_sort)
        toolbar.zoom_moved.connect(photos.grid.setCellSize)
        photos.sorted.connect(lambda key: toolbar.set_sorts(SORTS, key))
        photos.zoomed.connect(toolbar.set_zoom)
        toolbar.set_sorts(SORTS, photos.sort)
        toolbar.set_zoom(photos.grid.cellSize())
        self._filters = FilterMenu(toolbar.filter_menu, photos.filter, self._label_names, SavedFilters(self._settings))
        self._filters.changed.connect(self._filter_changed)
        empty = self._frame.empty
        empty.import_wanted.connect(self._made.importing.choose_folder)
        empty.new_set_wanted.connect(lambda: self._frame.tree.view.name_new(None))
        empty.sample_wanted.connect(self._made.importing.open_sample)

    def _label_names(self) -> list[str]:
        return self._session.opened.labels if self._session.opened is not None else []

    def _filter_changed(self) -> None:
        self._photos.apply_filter()
        self._frame.toolbar.search.show_words(self._photos.filter.words)
        self._frame.toolbar.set_filtered(self._photos.filter.chosen())

    # --- the photos

    def _wire_photos(self) -> None:
        photos, frame = self._photos, self._frame
        photos.selection_said.connect(frame.status.set_selection)
        grid, said = photos.grid, self._session.said
        grid.contentDropped.connect(self._dropped_on_grid)
        grid.dragOver.connect(lambda words: frame.hint.aim(grid, words, framed=False))
        grid.dropRefused.connect(lambda reason: said.emit(Message(reason, "warn", "drop")))
        grid.dragFellShort.connect(
            lambda ready, of: said.emit(
                Message(
                    f"{ready:,} of {plural(of, 'photo')} were ready for the other program. Drag again for all.", "warn"
                )
            )
        )
        frame.content_dropped.connect(self._made.importing.begin)

    def _dropped_on_grid(self, content: DroppedContent, label: str | None) -> None:
        opened = self._session.opened
        self._made.importing.begin(content, str(opened.training_set.id) if opened is not None else None, label)

    # --- classification

    def _wire_classifying(self) -> None:
        panel, classifying, frame = self._made.panel, self._made.classifying, self._frame
        panel.drag_said.connect(lambda words: frame.hint.aim(panel, words))
        classifying.add_wanted.connect(self._made.importing.begin)
        batching, table, middle = self._made.batching, self._made.batch_panel, self.middle
        classifying.batch_wanted.connect(batching.begin)
        batching.shown.connect(lambda shown: middle.show_above(table) if shown else middle.leave(table))
        batching.add_wanted.connect(self._made.importing.add)
        batching.one_wanted.connect(classifying.begin)
        self._made.connection_menu.message_wanted.connect(panel.message_wanted)


def _content(arguments: list[str]) -> DroppedContent:
    from apitorch_desktop.ui.widgets.drag_drop import DroppedContent

    urls = tuple(one for one in arguments if "://" in one)
    return DroppedContent(paths=tuple(Path(one).absolute() for one in arguments if "://" not in one), urls=urls)
