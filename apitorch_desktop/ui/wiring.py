"""Who tells whom: the parts of the window, the session and the flows, connected in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication

from apitorch_desktop.ui.away_band import away_words
from apitorch_desktop.ui.filters import FilterMenu
from apitorch_desktop.ui.pages import NewSetPage
from apitorch_desktop.ui.photos import SORTS
from apitorch_desktop.ui.session import State
from apitorch_desktop.ui.shortcuts import Keys
from apitorch_desktop.ui.status_line import Message
from apitorch_desktop.ui.transfer_wiring import wire_transfers
from apitorch_desktop.ui.tree_model import Row
from apitorch_desktop.ui.words import plural

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from apitorch_desktop.ui.assembly import Assembly
    from apitorch_desktop.ui.grid.drops import DroppedContent
    from apitorch_desktop.ui.stores import Stores
    from apitorch_desktop.ui.tree_model import Node


class Wiring(QObject):
    """Made last in the assembly; `begin` turns to the connection that was open at the end of the last run."""

    def __init__(self, made: Assembly) -> None:
        super().__init__(made)
        self._made = made
        self._settings = made.settings
        self._session = made.session
        self._frame = made.frame
        self._photos = made.photos
        self._nothing = ""
        self._big = False
        self._reveal = ""
        self._above: QWidget | None = None
        self._wire_session()
        self._wire_tree()
        self._wire_toolbar()
        self._wire_photos()
        self._made.review.shown_changed.connect(self._show_middle)
        wire_transfers(made, self)
        self._wire_classifying()
        self._keys = Keys(made, self.open_list)
        self._show_middle()

    def begin(self, stores: Stores, arguments: list[str]) -> None:
        """Everything on disk is open: turn to the connection, work on transfers, take in what the command named."""
        made = self._made
        if stores.connections.note:
            self._session.said.emit(Message(stores.connections.note, "warn", "connections"))
        stores.clients.set_embedded(made.embedded.url, made.embedded.key)  # it may be up by now
        self._turn_to(stores, stores.connections.current.id)
        if made.embedded.gave_up:
            self._service_changed()
        made.desk.start(stores.transfers)
        self.take_in(arguments)

    def take_in(self, arguments: list[str]) -> None:
        """Import what a command line named."""
        if arguments:
            self._made.importing.begin(_content(arguments))

    def save(self) -> None:
        """Keep what is open for the next start."""
        opened = self._session.opened
        if opened is not None and self._session.connection is not None:
            self._settings.setValue("open/connection", self._session.connection.id)
            self._settings.setValue("open/training_set", str(opened.training_set.id))

    # --- the session

    def _wire_session(self) -> None:
        made, session, status = self._made, self._session, self._frame.status
        session.said.connect(status.message.say)
        session.over.connect(status.message.ended)
        session.sets_changed.connect(self._show_sets)
        session.opened_changed.connect(self._opened_changed)
        session.listing_changed.connect(self._listing_changed)
        session.classifier_changed.connect(self._show_classifier)
        session.connection_changed.connect(self._connection_changed)
        made.tasks.failures.connect(lambda fault: session.failed(fault))
        made.embedded.changed.connect(self._service_changed)
        menu = made.connection_menu
        menu.chosen.connect(self._choose_connection)
        menu.retry_wanted.connect(self._try_again)
        band = self._frame.away
        band.again_wanted.connect(self._try_again)
        band.change_wanted.connect(lambda: menu.open_dialog(session.connection))
        made.editing.waiting_changed.connect(self._show_away)

    def _turn_to(self, stores: Stores, connection_id: str) -> None:
        connection = stores.connections.get(connection_id)
        wish = None
        if self._settings.value("open/connection") == connection_id:
            wish = str(self._settings.value("open/training_set", ""))
        if connection.embedded:
            self._made.embedded.start()
        self._session.use(stores, connection, wish)

    def _choose_connection(self, connection_id: str) -> None:
        stores = self._session.stores
        if stores is None:
            return
        self.save()
        try:
            stores.connections.choose(connection_id)
        except OSError as fault:  # the choice is not kept for the next start; that is said, not in the way
            self._session.failed(fault, "Keeping the choice")
        self._turn_to(stores, connection_id)

    def _try_again(self) -> None:
        connection = self._session.connection
        if connection is not None and connection.embedded and self._made.embedded.gave_up:
            self._made.embedded.start()
        else:
            self._session.connect_service()

    def _service_changed(self) -> None:
        embedded, stores = self._made.embedded, self._session.stores
        if stores is not None:
            stores.clients.set_embedded(embedded.url, embedded.key)
        self._session.service_changed(bool(embedded.url), embedded.sentence)

    def _connection_changed(self) -> None:
        self._show_middle()
        self._show_away()

    def _show_away(self) -> None:
        """Mark what is seen as what was last seen, while the service is away."""
        session, band = self._session, self._frame.away
        connection, opened = session.connection, session.opened
        if connection is not None and session.state is State.AWAY and session.training_sets:
            seen_at = opened.seen_at if opened is not None else 0.0
            name = "The service on this computer" if connection.embedded else connection.name
            band.show_words(away_words(name, seen_at, self._made.editing.waiting), session.sentence)
        elif connection is not None and session.state is State.REFUSED:
            can_change = not (connection.embedded or connection.from_environment)
            band.show_words(f"“{connection.name}”: {session.sentence}", "", can_change=can_change)
        else:
            band.show_words("", "")

    # --- the middle

    def _opened_changed(self) -> None:
        self._nothing = self._reveal = ""
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
        self._show_middle()

    def _listing_changed(self) -> None:
        self._show_middle()
        self._show_away()
        if self._reveal and self._photos.grid.reveal_label(self._reveal):
            self._reveal = ""

    def _show_middle(self) -> None:
        frame, session, empty = self._frame, self._session, self._frame.empty
        photos = session.images.total
        opened = session.opened
        frame.toolbar.set_photos_at_hand(photos > 0, "There are no photos yet.")
        if self._above is not None:
            frame.middle.setCurrentWidget(self._above)
            return
        if self._big:
            frame.middle.setCurrentWidget(self._photos.big)
            return
        if self._made.review.shown:
            frame.middle.setCurrentWidget(self._made.review.part)
            return
        if photos and not self._nothing:
            focus = QApplication.focusWidget()
            begun = focus is None or focus in (empty, frame) or empty.isAncestorOf(focus)
            frame.middle.setCurrentWidget(self._photos.grid)
            if begun:
                self._photos.grid.setFocus()
            return
        frame.middle.setCurrentWidget(empty)
        if self._nothing:
            empty.show_nothing_found(self._nothing)
        elif opened is not None and opened.loading:
            empty.show_busy(f"Looking at “{opened.training_set.name}”…")
        elif opened is not None and not opened.listed and not opened.seen_at and session.state is not State.READY:
            empty.show_failure(f"“{opened.training_set.name}” was never looked at from here", session.sentence)
        elif opened is not None:
            empty.show_empty_set(opened.training_set.name)
        elif session.state in (State.AWAY, State.REFUSED) and not session.training_sets:
            title = "The service does not answer" if session.state is State.AWAY else "The service refuses"
            title = "The service could not be started" if self._made.embedded.gave_up else title
            empty.show_failure(title, session.sentence)
        elif session.training_sets:
            empty.show_choice()
        elif session.heard:
            can_create = session.why_not("training-sets")
            page = session.new_set_page()
            empty.show_welcome(can_create=can_create, can_import=can_create if page else "", page=page)
        else:
            empty.show_busy(session.sentence or "Starting…")

    def _show_sets(self) -> None:
        tree, session = self._frame.tree, self._session
        tree.model.set_training_sets(session.shown_sets())
        if session.opened is not None:
            tree.view.set_open(session.opened.training_set.id)
        self._show_classifier()
        self._show_middle()

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
        self.show_above(None)
        self._session.open_set(set_id)

    def _choose_label(self, set_id: str, label: str) -> None:
        self._choose_set(set_id)
        if not self._photos.grid.reveal_label(label):
            self._reveal = label  # as soon as it is listed

    def _make_node(self, above: Node | None, name: str) -> None:
        if above is None:
            self._made.editing.create_training_set(name, then=lambda set_id: self._open_when_there(str(set_id)))
        else:
            self._made.editing.create_label(above.key, name)

    def _open_when_there(self, set_id: str) -> None:
        self._session.open_set(set_id)  # else it is opened as soon as it is listed

    def _rename_node(self, node: Node, name: str) -> None:
        if node.row is Row.LABEL and node.parent is not None:
            self._made.editing.rename_label(node.parent.key, node.key, name)
        else:
            self._made.editing.rename_training_set(node.key, name)

    def _delete_node(self, node: Node) -> None:
        if node.row is Row.LABEL and node.parent is not None:
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
        self._filters = FilterMenu(toolbar.filter_menu, photos.filter, self._label_names)
        self._filters.changed.connect(self._filter_changed)
        empty = self._frame.empty
        empty.import_wanted.connect(self._made.importing.choose_folder)
        empty.new_set_wanted.connect(lambda: self._frame.tree.view.name_new(None))
        empty.again_wanted.connect(self._try_again)
        empty.sample_wanted.connect(self._made.importing.open_sample)

    def _label_names(self) -> list[str]:
        return self._session.opened.labels if self._session.opened is not None else []

    def _filter_changed(self) -> None:
        self._photos.apply_filter()
        self._frame.toolbar.set_filtered(self._photos.filter.chosen())

    # --- the photos

    def _wire_photos(self) -> None:
        photos, frame = self._photos, self._frame
        photos.selection_said.connect(frame.status.set_selection)
        photos.nothing_found.connect(self._nothing_found)
        photos.big_shown.connect(self._big_shown)
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

    def _nothing_found(self, what: str) -> None:
        if what != self._nothing:
            self._nothing = what
            self._show_middle()

    def _big_shown(self, shown: bool) -> None:
        self._big = shown
        self._show_middle()
        if not shown and self._made.review.shown:
            self._made.review.part.focus()

    # --- classification

    def _wire_classifying(self) -> None:
        panel, classifying, frame = self._made.panel, self._made.classifying, self._frame
        panel.drag_said.connect(lambda words: frame.hint.aim(panel, words))
        classifying.add_wanted.connect(self._made.importing.begin)
        batching, table = self._made.batching, self._made.batch_panel
        classifying.batch_wanted.connect(batching.begin)
        batching.shown.connect(lambda shown: self.show_above(table) if shown else self.leave(table))
        batching.add_wanted.connect(self._made.importing.add)
        batching.one_wanted.connect(classifying.begin)
        self._made.connection_menu.message_wanted.connect(panel.message_wanted)

    def open_list(self) -> None:
        """Show the list of transfers, or what was there before."""
        self.show_above(None if self._above is self._made.transfers else self._made.transfers)

    def show_above(self, part: QWidget | None) -> None:
        """Show something else in the place of the photos; None shows the photos again."""
        self._above = part
        self._show_middle()

    def leave(self, part: QWidget) -> None:
        """Take a part away, if it is the one that is shown in the place of the photos."""
        if self._above is part:
            self.show_above(None)


def _content(arguments: list[str]) -> DroppedContent:
    from apitorch_desktop.ui.grid.drops import DroppedContent

    urls = tuple(one for one in arguments if "://" in one)
    return DroppedContent(paths=tuple(Path(one).absolute() for one in arguments if "://" not in one), urls=urls)
