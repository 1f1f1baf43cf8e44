"""Connects the signals of the window's parts, the session and the features in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from apitorch_desktop import CLASSIFY_OPTION
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.app_data import AppData
from apitorch_desktop.dataset.transfers.queue import TransferStatus
from apitorch_desktop.ui.actions import ActionRegistry, ActionSpec
from apitorch_desktop.ui.batch.controller import BatchController
from apitorch_desktop.ui.batch.panel import BatchPanel
from apitorch_desktop.ui.camera.controller import CameraController
from apitorch_desktop.ui.camera.page import CameraPage
from apitorch_desktop.ui.classify.controller import ClassifyController
from apitorch_desktop.ui.classify.panel import ClassifyPanel
from apitorch_desktop.ui.compare.controller import CompareController
from apitorch_desktop.ui.conflicts.controller import ConflictController
from apitorch_desktop.ui.connections.controller import ConnectionController
from apitorch_desktop.ui.connections.menu import ConnectionMenu
from apitorch_desktop.ui.exporter.controller import ExportController
from apitorch_desktop.ui.importer.controller import ImportController
from apitorch_desktop.ui.labeling.controller import LabelingController, LabelTarget
from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.main_window.main_window import MainWindow
from apitorch_desktop.ui.main_window.page_switcher import PageSwitcher
from apitorch_desktop.ui.main_window.toolbar import FilterMenu
from apitorch_desktop.ui.map.page import MapPage
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.photos.similar_page import SimilarPage
from apitorch_desktop.ui.places import RecentItems, ViewState
from apitorch_desktop.ui.review.navigation import ReviewNavigation
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.embedded_service import EmbeddedService
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.session.similar_photos import SimilarPhotos
from apitorch_desktop.ui.set_page.page import SetPage
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.shortcuts import MENUS, WIDGET_KEYS, MenuBar, add_set_actions, add_window_actions
from apitorch_desktop.ui.sidebar.model import RowType, TreeNode
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.ui.transfers.panel import TransfersPanel
from apitorch_desktop.ui.transfers.status_text import WorkStatus
from apitorch_desktop.ui.versions.controller import VersionsController
from apitorch_desktop.ui.watch.controller import WatchController
from apitorch_desktop.ui.watch.panel import WatchPanel
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent
from apitorch_desktop.utils.text import plural


@dataclass(frozen=True)
class WindowParts:
    """The parts of the window, made by the bootstrap and connected here."""

    window: MainWindow
    actions: ActionRegistry
    theme: Theme
    settings: Settings
    embedded: EmbeddedService
    central_widget: CentralWidget
    session: Session
    edits: EditController
    transfers: TransferController
    photos: PhotosController
    similar: SimilarPhotos
    similar_page: SimilarPage
    review: ReviewNavigation
    set_page: SetPage
    map: MapPage
    versions: VersionsController
    labeling: LabelingController
    imports: ImportController
    exports: ExportController
    comparisons: CompareController
    connection_menu: ConnectionMenu
    transfers_panel: TransfersPanel
    classify: ClassifyController
    classify_panel: ClassifyPanel
    batch: BatchController
    batch_panel: BatchPanel
    watches: WatchController
    watch_panel: WatchPanel
    camera: CameraController
    camera_page: CameraPage


class Wiring(QObject):
    """Connects the parts; `begin` opens the connection of the last run."""

    def __init__(self, parts: WindowParts) -> None:
        super().__init__(parts.window)
        self._parts = parts
        self._settings = parts.settings
        self._session = parts.session
        self._central_widget = parts.central_widget
        self._photos = parts.photos
        self._reveal = self._reveal_image = ""
        self._back_from_big: Callable[[], None] | None = None
        self.connections = ConnectionController(
            parts.session,
            parts.edits,
            parts.embedded,
            parts.connection_menu,
            parts.central_widget.offline_banner,
            parts.settings,
        )
        self.pages = PageSwitcher(parts.central_widget, parts.session, parts.photos, parts.review, parts.embedded)
        self._to_classify: list[DroppedContent] = []
        self.recent = RecentItems(parts.session, self.connections, parts.imports, parts.settings)
        self._wire_session()
        if not parts.settings.tour_seen:
            from apitorch_desktop.ui.help import offer_tour

            offer_tour(parts.session, parts.central_widget, parts.settings, parts.theme)
        self._wire_connections()
        self._wire_tree()
        self._wire_toolbar()
        self._wire_photos()
        self._wire_conflicts()
        self._wire_transfers()
        self._wire_classify()
        self._wire_versions()
        self._wire_map()
        self.view_state = ViewState(parts.session, parts.photos, parts.settings, self._filter_changed)
        self._add_actions()
        self._menu_bar = MenuBar(parts.actions, parts.window, parts.settings)
        self._bind_buttons()

    def _add_actions(self) -> None:
        """Add the actions that need several parts, and name their keys where sentences do."""
        parts = self._parts
        parts.actions.unavailable.connect(lambda reason: parts.session.show_message(reason, "muted"))
        add_window_actions(
            parts.actions,
            parts.window,
            parts.central_widget,
            parts.session,
            parts.photos,
            parts.edits,
            parts.imports,
            parts.labeling,
            parts.theme,
            lambda: self.pages.switch(parts.transfers_panel),
        )
        tree = parts.central_widget.tree
        add_set_actions(
            parts.actions,
            parts.session,
            tree.view,
            tree.model,
            parts.edits,
            parts.exports,
            parts.comparisons,
            self._switch_set_page,
        )
        parts.actions.add(
            ActionSpec("classifier.classify_file", "Classify a photo…", parts.classify.choose_file, icon="target"),
            ActionSpec(
                "classifier.find_similar", "Find photos like the dropped one", parts.classify.find_similar,
                reason=parts.classify.similar_reason,
            ),
            ActionSpec(
                "classifier.find_similar_everywhere", "Find them in all training sets",
                lambda: parts.classify.find_similar(everywhere=True),
                reason=lambda: parts.classify.similar_reason(everywhere=True),
            ),
            ActionSpec(
                "set.map", "Map", lambda: self._show_map(not parts.map.isVisible()), "Ctrl+Shift+M",
                "The photos as a plane on which those that look alike lie together",
                reason=lambda: "" if parts.session.images.total else "There are no photos to lay out.",
            ),
            ActionSpec(
                "view.menu_bar", "Menu bar", lambda: self._menu_bar.toggle(), "Ctrl+M", "Show or hide the menu bar",
                checked=lambda: parts.settings.menu_bar_shown,
                reason=lambda: "macOS keeps the menu bar at the top of the screen." if sys.platform == "darwin" else "",
            ),
        )  # fmt: skip
        opens = {page.board: ("review.open",) for page in (parts.versions.page, parts.similar_page)}
        parts.review.panel.add_actions(parts.actions, {self.conflicts.page.board: ("review.dismiss",), **opens})
        parts.actions.add(
            ActionSpec("edit.preferences", "Preferences…", self._open_preferences, "Ctrl+,", "Preferences"),
            ActionSpec("help.documentation", "Documentation", lambda: self._open_page("Documentation"), icon="info"),
            ActionSpec("help.whats_new", "What’s new", lambda: self._open_page("What’s new")),
            ActionSpec("help.about", "About API Torch Desktop", self._open_about),
            ActionSpec("file.open_recent", "Open recent", str, submenu=self.recent.fill, reason=self.recent.reason),
        )
        parts.actions.extend(parts.map.view, "photo.delete", "photo.select_all", "photo.invert")
        parts.actions.keys_changed.connect(lambda _action_id: self._show_keys())
        self._show_keys()

    def _bind_buttons(self) -> None:
        """Give buttons of the window and menus below them their actions."""
        parts = self._parts
        parts.actions.fill(
            parts.classify_panel.similar_menu, "classifier.find_similar", "classifier.find_similar_everywhere"
        )
        toolbar = parts.central_widget.toolbar
        parts.actions.fill(toolbar.import_menu, *MENUS["&File"][:11])
        parts.actions.bind_button(toolbar.tree, "view.training_sets", "Show or hide the training sets")
        strip = parts.labeling.strip
        next_photo = "Select the next photo after each label"
        parts.actions.bind_button(strip.advance, "label.auto_advance", next_photo, runs=False)
        next_suspect = "Go to the next photo whose label looks wrong"
        parts.actions.bind_button(strip.suspect, "label.next_suspect", next_suspect, runs=False)
        parts.actions.bind_button(toolbar.classify, "view.classify_panel", "Show or hide the classify panel")

    def _show_keys(self) -> None:
        """Name the keys of actions, as they are now, where sentences of other parts do."""
        keys = self._parts.actions.keys
        self.conflicts.page.show_keys(keys)
        self._parts.labeling.show_keys_of_proposals(keys("label.accept_proposals"))

    def begin(self, stores: AppData) -> None:
        """Open the connection, resume the transfers."""
        self.connections.begin(stores)
        self._parts.transfers.start(stores.transfers)
        self._parts.batch.start(stores)
        self._parts.watches.start(stores)

    def open_arguments(self, arguments: list[str]) -> None:
        """Import the files and addresses of a command line, or classify those after its option."""
        if arguments[:1] == [CLASSIFY_OPTION]:
            self._to_classify.append(_content(arguments[1:]))
            self._central_widget.show_side("right", True)
            self._classify_waiting()
        elif arguments:
            self._parts.imports.begin(_content(arguments))

    def _classify_waiting(self) -> None:
        """Classify what came by command lines, once there are classifiers to ask."""
        session = self._parts.session
        if self._to_classify and not session.classifiers:
            session.show_message("The photos are classified as soon as the service runs.", "muted", "to classify")
            return
        while self._to_classify:
            session.message_expired.emit("to classify")
            self._parts.classify.begin(self._to_classify.pop(0))

    def _open_preferences(self) -> None:
        from apitorch_desktop.ui.preferences import open_preferences

        parts = self._parts
        open_preferences(
            parts.theme,
            parts.settings,
            parts.session,
            parts.actions,
            parts.labeling,
            parts.photos.loader,
            parts.embedded,
            self._menu_bar.toggle,
            [pair for pairs in WIDGET_KEYS.values() for pair in pairs],
            parts.window,
        )

    def _open_page(self, title: str) -> None:
        from apitorch_desktop.ui.help import HelpPage, changes, documentation

        file = documentation() if title == "Documentation" else changes()
        page = HelpPage(title, file, self._session, self._parts.theme, self._parts.window)
        page.show()
        page.activateWindow()

    def _open_about(self) -> None:
        from apitorch_desktop.ui.help import AboutDialog

        AboutDialog(self._session, self._parts.theme, self._parts.window).open()

    # --- the session

    def _wire_session(self) -> None:
        session, status = self._session, self._central_widget.status
        session.message.connect(status.message.show_message)
        session.message_expired.connect(status.message.expire)
        session.sets_changed.connect(self._show_sets)
        session.open_set_changed.connect(self._show_open_set)
        session.listing_changed.connect(self._listing_changed)
        session.classifier_changed.connect(self._show_classifier)
        session.tasks.failures.connect(lambda error: session.show_error(error))

    # --- what is open

    def _show_open_set(self) -> None:
        self._reveal = self._reveal_image = ""
        open_set = self._session.open_set
        self._central_widget.toolbar.search.clear()
        self._filters.clear()
        self._central_widget.tree.view.set_open(open_set.training_set.id if open_set is not None else None)
        self._parts.window.setWindowTitle(
            f"{open_set.training_set.name} – API Torch Desktop" if open_set is not None else "API Torch Desktop"
        )
        self._central_widget.drop_text = (
            f"Drop to add to “{open_set.training_set.name}”"
            if open_set is not None
            else "Drop to make a training set of it"
        )
        self._show_classifier()

    def _listing_changed(self) -> None:
        if self._reveal and self._photos.grid.reveal_label(self._reveal):
            self._reveal = ""
        self._show_revealed()

    def _show_sets(self) -> None:
        tree, session = self._central_widget.tree, self._session
        tree.model.set_training_sets(session.training_sets)
        if session.open_set is not None:
            tree.view.set_open(session.open_set.training_set.id)
        self._show_classifier()

    def _show_classifier(self) -> None:
        session, card = self._session, self._central_widget.tree.card
        open_set = session.open_set
        if open_set is None or not open_set.classifier_status.known or session.unavailable_reason("training"):
            card.show_state(None, None)
            return
        shown = session.find_set(open_set.training_set.id) or open_set.training_set
        card.show_state(shown, open_set.classifier_status.classifier)

    # --- versions of the classifier

    def _wire_versions(self) -> None:
        versions, photos = self._parts.versions, self._photos
        self._parts.actions.add(
            ActionSpec(
                "classifier.versions", "Versions", self._switch_versions, "Ctrl+Shift+V",
                "Versions of the classifier: what changed in each, and which one is in use", reason=versions.reason,
            )
        )  # fmt: skip
        versions.shown.connect(self._show_versions)
        versions.photo_requested.connect(lambda image: self._show_big(image, self._back_to_versions))
        photos.big_shown.connect(self._big_shown)
        self._central_widget.tree.card.opened.connect(lambda: self._parts.actions.trigger("classifier.versions"))
        self.pages.add_page_of_open_set(versions.page)

    def _switch_versions(self) -> None:
        if self._parts.versions.page.isVisible():
            self._show_versions(False)
        else:
            self._parts.versions.open()

    def _show_versions(self, shown: bool) -> None:
        self._show_page(self._parts.versions.page, shown)

    def _show_page(self, page: QWidget, shown: bool) -> None:
        """Show a page in place of the photos, or return to them with the focus if it is shown."""
        visible = page.isVisible()
        self.pages.show_or_leave(page, shown)
        if visible and not shown:
            self._photos.grid.setFocus()

    def _show_big(self, image: TrainingImage, back: Callable[[], None]) -> None:
        """Show a photo full size; `back` returns to the page that it was opened from."""
        self.pages.show_above(None)
        self._photos.show_big(image)
        self._back_from_big = back

    def _big_shown(self, big: bool) -> None:
        if self._back_from_big is not None and not big:
            back, self._back_from_big = self._back_from_big, None
            back()

    def _back_to_versions(self) -> None:
        self._show_versions(True)
        self._parts.versions.page.board.setFocus()

    def _wire_map(self) -> None:
        page = self._parts.map
        page.closed.connect(lambda: self._show_map(False))
        page.open_requested.connect(lambda image: self._show_big(image, lambda: self._show_map(True)))
        review = self._parts.review.review
        review.progressed.connect(lambda: None if review.busy else page.follow_review())
        self.pages.add_page_of_open_set(page)

    def _show_map(self, shown: bool) -> None:
        self._show_page(self._parts.map, shown)
        if shown:
            self._parts.map.focus()

    # --- the connection

    def _wire_connections(self) -> None:
        menu, toolbar = self._parts.connection_menu, self._central_widget.toolbar
        menu.display_changed.connect(toolbar.set_connection)
        menu.refresh()
        self._central_widget.empty.again_wanted.connect(self.connections.try_again)

    # --- the tree

    def _wire_tree(self) -> None:
        tree, session = self._central_widget.tree, self._session
        view = tree.view
        view.set_chosen.connect(self._choose_set)
        view.label_chosen.connect(self._choose_label)
        view.content_dropped.connect(self._dropped_on_tree)
        view.images_dropped.connect(lambda ids, _set, label: self._photos.move(ids, label))
        view.drag_over.connect(lambda words: self._central_widget.drop_overlay.aim(tree, words, framed=False))
        view.refused.connect(lambda reason: session.show_message(reason, "muted"))
        view.delete_requested.connect(self._delete_node)
        view.new_set_page = session.new_set_page
        view.page_requested.connect(self.connections.open_new_set_page)
        tree.model.renamed.connect(self._rename_node)
        page = self._parts.set_page
        page.closed.connect(self._leave_set_page)
        page.label_requested.connect(self._show_label)
        self.pages.add_page_of_open_set(page)
        tree.model.drafted.connect(self._make_node)

    def _choose_set(self, set_id: Id) -> None:
        """Open a training set; if its photos are shown already, show its page."""
        central, open_set = self._central_widget, self._session.open_set
        photos = central.pages.currentWidget() in (self._photos.grid, central.empty)
        if photos and open_set is not None and open_set.training_set.id == set_id:
            self.pages.show_above(self._parts.set_page)
        else:
            self._open_set(set_id)

    def _switch_set_page(self) -> None:
        page, session = self._parts.set_page, self._session
        self.pages.switch(page)
        if page.isVisible():
            page.focus()
        elif session.images.total:
            self._photos.grid.setFocus()

    def _leave_set_page(self) -> None:
        if self._parts.set_page.isVisible():
            self._switch_set_page()

    def _open_set(self, set_id: Id) -> None:
        self._photos.close_big()
        self._parts.review.close()
        self.pages.show_above(None)
        self._session.open(set_id)

    def _choose_label(self, set_id: Id, label: str) -> None:
        self._open_set(set_id)
        self._photos.show_groups()
        if not self._photos.grid.reveal_label(label):
            self._reveal = label  # once it is listed

    def _show_label(self, label: str) -> None:
        if (open_set := self._session.open_set) is not None:
            self._choose_label(open_set.training_set.id, label)
            self._photos.grid.setFocus()

    def _make_node(self, above: TreeNode | None, name: str) -> None:
        if above is None:
            self._parts.edits.create_training_set(name, then=self._open_once_listed)
        else:
            self._parts.edits.create_label(above.set_id, name)

    def _open_once_listed(self, set_id: Id) -> None:
        self._session.open(set_id)  # if it is not listed yet, it is opened then

    def _rename_node(self, node: TreeNode, name: str) -> None:
        if node.row_type is RowType.LABEL:
            self._parts.edits.rename_label(node.set_id, node.key, name)
        else:
            self._parts.edits.rename_training_set(node.set_id, name)

    def _delete_node(self, node: TreeNode) -> None:
        if node.row_type is RowType.LABEL:
            self._parts.edits.delete_label(node.set_id, node.key)
        else:
            self._parts.edits.delete_training_set(node.set_id, node.text)

    # --- the toolbar

    def _wire_toolbar(self) -> None:
        toolbar, photos = self._central_widget.toolbar, self._photos
        toolbar.searched.connect(photos.search)
        toolbar.search_left.connect(photos.grid.setFocus)
        toolbar.sort_chosen.connect(photos.set_sort)
        toolbar.zoom_moved.connect(photos.grid.set_cell_size)
        photos.sorted.connect(lambda key: toolbar.set_sorts(photos.sorts(), key))
        photos.zoomed.connect(toolbar.set_zoom)
        toolbar.set_sorts(photos.sorts(), photos.sort)
        toolbar.set_zoom(photos.grid.cell_size())
        self._filters = FilterMenu(toolbar.filter_menu, photos.filter, self._label_names, self._settings)
        self._filters.changed.connect(self._filter_changed)
        empty = self._central_widget.empty
        empty.import_wanted.connect(self._parts.imports.choose_folder)
        empty.new_set_wanted.connect(lambda: self._central_widget.tree.view.start_naming(None))
        empty.sample_wanted.connect(self._parts.imports.open_sample)

    def _label_names(self) -> list[str]:
        return list(self._session.open_set.all_counts) if self._session.open_set is not None else []

    def _filter_changed(self) -> None:
        self._photos.apply_filter()
        self._central_widget.toolbar.search.show_words(self._photos.filter.words)
        self._central_widget.toolbar.set_filtered(self._photos.filter.chosen())

    # --- the photos

    def _wire_photos(self) -> None:
        photos, frame = self._photos, self._central_widget
        photos.selection_changed.connect(frame.status.set_selection)
        grid, session = photos.grid, self._session
        grid.content_dropped.connect(self._dropped_on_grid)
        grid.drag_over.connect(lambda words: frame.drop_overlay.aim(grid, words, framed=False))
        grid.drop_refused.connect(lambda reason: session.show_message(reason, "warn", "drop"))
        grid.drag_incomplete.connect(
            lambda ready, of: session.show_message(
                f"{ready:,} of {plural(of, 'photo')} were ready for the other program. Drag again for all.", "warn"
            )
        )
        frame.content_dropped.connect(self._parts.imports.begin)
        photos.classify_requested.connect(self._classify_with)
        photos.export_requested.connect(self._parts.exports.ask_selection)
        photos.copy_requested.connect(self._parts.imports.copy)
        page = self._parts.similar_page
        page.opened.connect(lambda: self.pages.show_above(page))
        page.closed.connect(lambda: self.pages.leave(page))
        self._parts.similar.photo_requested.connect(self._reveal_photo)

    def _reveal_photo(self, set_id: Id, image_id: str) -> None:
        """Show a photo in the grid of its training set, once that is listed."""
        self._open_set(set_id)
        self._reveal_image = image_id
        self._show_revealed()

    def _show_revealed(self) -> None:
        photos, image_id = self._photos, self._reveal_image
        if image_id and photos.model.record(image_id) is not None:
            self._reveal_image = ""
            if photos.model.row_of(image_id) is None:  # hidden by search or filter
                photos.show_only((), "")
                self._filters.clear()
            photos.grid.reveal(image_id)
            if (row := photos.model.row_of(image_id)) is not None:
                photos.grid.choose(row)
            photos.grid.setFocus()

    def _classify_with(self, ids: list[str], slug: str) -> None:
        self._central_widget.show_side("right", True)
        self._parts.classify.begin(DroppedContent(image_ids=tuple(ids)), [slug])

    def _dropped_on_tree(self, content: DroppedContent, set_id: Id | None, label: str | None) -> None:
        self._parts.imports.begin(content, set_id, label, new_set=set_id is None)

    def _dropped_on_grid(self, content: DroppedContent, label: str | None) -> None:
        open_set = self._session.open_set
        self._parts.imports.begin(content, open_set.training_set.id if open_set is not None else None, label)

    # --- conflicts

    def _wire_conflicts(self) -> None:
        self.conflicts = ConflictController(self._session, self._parts.edits, self._parts.theme)
        self._central_widget.add_page(self.conflicts.page)
        self._central_widget.add_banner(self.conflicts.banner)
        self.conflicts.opened.connect(self._open_conflicts)
        self.conflicts.closed.connect(self._close_conflicts)

    def _open_conflicts(self) -> None:
        self._photos.close_big()
        self.pages.show_above(self.conflicts.page)

    def _close_conflicts(self) -> None:
        self._show_page(self.conflicts.page, False)

    # --- transfers

    def _wire_transfers(self) -> None:
        transfers, panel, part = (
            self._parts.transfers,
            self._parts.transfers_panel,
            self._central_widget.status.transfer,
        )
        batch, watches = self._parts.batch, self._parts.watches

        def current() -> WorkStatus | None:
            return transfers.current() or batch.current() or watches.current()

        def show_all() -> None:
            panel.show_statuses([*watches.statuses, *transfers.statuses, *batch.statuses])
            part.show_transfer(current())

        def is_of(work: BatchController | WatchController, work_id: int) -> bool:
            return any(status.id == work_id for status in work.statuses)

        def command(verb: str, work_id: int) -> None:
            owner = next((work for work in (watches, batch) if is_of(work, work_id)), transfers)
            owner.command(verb, work_id)

        def show_failures(one: int) -> None:
            if is_of(watches, one):
                panel.show_failures(one, watches.failures(one))
            else:
                transfers.failures(one, lambda failures: panel.show_failures(one, failures))

        transfers.listed.connect(lambda _all: show_all())
        batch.changed.connect(show_all)
        watches.changed.connect(show_all)
        watches.added.connect(transfers.reload)
        watches.added.connect(self._session.refresh)
        transfers.changed.connect(lambda _one: part.show_transfer(current()))
        transfers.changed.connect(panel.show_status)
        transfers.failed.connect(self._session.show_error)
        transfers.changed.connect(self._note_service_answered)
        self._session.service_connected.connect(lambda _back: self._retry_transfers())
        panel.command_requested.connect(command)
        panel.failures_requested.connect(show_failures)
        panel.summary_requested.connect(self._save_summary)
        panel.closed.connect(lambda: self.pages.leave(panel))
        part.pause_wanted.connect(lambda one: command("pause", one))
        part.resume_wanted.connect(lambda one: command("resume", one))
        part.cancel_wanted.connect(lambda one: command("cancel", one))
        part.retry_wanted.connect(lambda one: command("retry_failed", one))
        part.dismissed.connect(transfers.dismiss)
        part.list_wanted.connect(lambda: self.pages.switch(panel))

    def _note_service_answered(self, status: TransferStatus) -> None:
        """Count a transfer that moves bytes as an answer of the service, so that no ping is needed."""
        connected = self._session.connected
        moves = bool(status.rate) and not status.note
        if moves and connected is not None and status.connection_id == connected.connection.id:
            connected.workspace.mark_reachable()

    def _retry_transfers(self) -> None:
        if self._session.connection is not None:
            self._parts.transfers.retry_now(self._session.connection.id)

    def _save_summary(self, transfer_id: int) -> None:
        def save(name: str) -> None:
            session = self._session
            self._parts.transfers.save_summary(
                transfer_id, Path(name), lambda path: session.show_message(f"Saved “{path.name}”.", "muted")
            )

        target = str(Path.home() / "import summary.txt")
        dialog = QFileDialog(self._parts.window, "Save the summary", target, "Text (*.txt)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.selectFile(target)
        dialog.fileSelected.connect(save)
        dialog.open()

    # --- classification

    def _wire_classify(self) -> None:
        panel, classify, central = self._parts.classify_panel, self._parts.classify, self._central_widget
        panel.drop_hint_changed.connect(lambda text: central.drop_overlay.aim(panel, text))
        classify.add_requested.connect(self._parts.imports.begin)
        batch, table, pages = self._parts.batch, self._parts.batch_panel, self.pages
        classify.batch_requested.connect(batch.begin)
        # connected after the panel, which by then offers the classifiers
        self._parts.session.classifiers_changed.connect(self._classify_waiting)
        batch.shown.connect(lambda shown: pages.show_or_leave(table, shown))
        batch.add_requested.connect(self._parts.imports.add)
        watches, page = self._parts.watches, self._parts.watch_panel
        watches.shown.connect(lambda shown: pages.show_or_leave(page, shown))
        watches.photo_requested.connect(classify.begin)
        batch.photo_requested.connect(classify.begin)
        camera, live = self._parts.camera, self._parts.camera_page
        camera.shown.connect(lambda shown: self._show_page(live, shown))
        camera.photos_taken.connect(self._parts.imports.begin)
        pages.add_page_of_open_set(live)
        labeling = self._parts.labeling
        batch.key_of = labeling.keys.key
        target = LabelTarget(table.table, lambda: len(table.selected()), batch.put, table.select_next)
        table.table.label_key.connect(lambda text: labeling.typed(text, target))
        self._parts.connection_menu.message_wanted.connect(panel.message_requested)


def _content(arguments: list[str]) -> DroppedContent:
    urls = tuple(one for one in arguments if "://" in one)
    return DroppedContent(paths=tuple(Path(one).absolute() for one in arguments if "://" not in one), urls=urls)
