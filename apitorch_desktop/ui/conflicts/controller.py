"""Conflicts with changes of other users: read after edits and on connecting, shown until the user decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QModelIndex, QObject, Signal

from apitorch_desktop.api.types import TrainingImage, label_name
from apitorch_desktop.dataset.edits.conflicts import ConflictResolver, ConflictView
from apitorch_desktop.dataset.edits.history import EditHistory, EditOutcome, EditRun
from apitorch_desktop.dataset.transfers.queue import TransferQueue
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import HeadingRow, PhotoRow, Row
from apitorch_desktop.ui.photo_board.page import BoardPage, KeyHints, key_sentence
from apitorch_desktop.ui.session.edit_controller import Act, EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.banner import Banner
from apitorch_desktop.ui.widgets.controls import button, enable_unless
from apitorch_desktop.utils.text import plural

MINE, THEIRS = "mine", "theirs"
_KEYS: KeyHints = (("Return", "does yours with what is selected"), ("review.dismiss", "keeps theirs"))


class ConflictBanner(Banner):
    """Banner that is shown while there are conflicts."""

    decide_requested = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self.decide = self.add("Decide…", self.decide_requested.emit)

    def show_count(self, count: int) -> None:
        """Show the number of conflicts; 0 hides the banner."""
        was = "was" if count == 1 else "were"
        words = f"{plural(count, 'photo')} that you changed {was} deleted or moved by someone else meanwhile."
        self.decide.setAccessibleName(f"Decide what becomes of {plural(count, 'photo')}")
        self.show_message(words if count else "")


class ConflictPage(BoardPage):
    """Shows conflicts and emits the user's decisions."""

    mine_requested = Signal(list)
    """`ConflictView`s to which the user's own change is applied."""
    theirs_requested = Signal(list)
    """`ConflictView`s that stay as they are."""

    def __init__(self, theme: Theme, loader: ThumbnailLoader) -> None:
        super().__init__(theme, loader, "Photos that someone else deleted or moved")
        self._conflicts: dict[str, ConflictView] = {}
        self.mine = button("Do mine", "primary", lambda: self._decide(MINE, self._chosen()))
        self.theirs = button("Keep theirs", "", lambda: self._decide(THEIRS, self._chosen()))
        self.all_mine = button("", "", lambda: self._decide(MINE, list(self._conflicts.values())))
        self.all_theirs = button("", "", lambda: self._decide(THEIRS, list(self._conflicts.values())))
        self.lay_out(
            "Changed by someone else meanwhile",
            (self.mine, self.theirs, self.all_mine, self.all_theirs),
            "",
            why="Before your change reached the service, someone else moved or deleted these photos, so nothing was done with "
            "them. Do it anyway, or keep theirs.",
        )
        self.board.selectionModel().selectionChanged.connect(lambda *_: self._show_controls())
        self.board.action_requested.connect(self._decide_by_key)
        self.board.heading_action_requested.connect(self._decide_group)

    def show_keys(self, keys_of: Callable[[str], str]) -> None:
        """Show the keys; `keys_of` returns those of an action."""
        self.hint.setText(key_sentence(_KEYS, keys_of))

    def focus(self) -> None:
        """Focus the board, which handles the keys."""
        self.board.setFocus()

    def show_views(self, views: Sequence[ConflictView]) -> None:
        """Show the conflicts."""
        self._conflicts = {str(view.conflict.id): view for view in views}
        rows = rows_of(views)
        self.board.rows.show(rows)
        if not self.board.selected_rows():  # the selected ones are decided
            first = next((at for at, row in enumerate(rows) if isinstance(row, PhotoRow)), None)
            self.board.setCurrentIndex(QModelIndex() if first is None else self.board.rows.index(first))
        self._show_controls()

    def _show_controls(self) -> None:
        chosen, every = self._chosen(), list(self._conflicts.values())
        photos = plural(len(chosen), "photo")
        enable_unless(self.mine, _reason(chosen))
        enable_unless(self.theirs, "" if chosen else "Select photos first")
        self.mine.setText(_mine_words(chosen))
        self.mine.setAccessibleName(f"{_mine_words(chosen)}, {photos}")
        self.theirs.setAccessibleName(f"Keep theirs for {photos}")
        many = len(every) > len(chosen)
        self.all_mine.setText(f"Do mine with all {len(every):,}")
        self.all_theirs.setText(f"Keep theirs for all {len(every):,}")
        enable_unless(self.all_mine, _reason(every))
        self.all_mine.setVisible(many)
        self.all_theirs.setVisible(many)

    def _chosen(self) -> list[ConflictView]:
        return [self._conflicts[row.key] for row in self.board.selected_rows() if row.key in self._conflicts]

    def _decide(self, way: str, views: list[ConflictView]) -> None:
        if way == THEIRS and views:
            self.theirs_requested.emit(views)
        elif way == MINE:
            able = [view for view in views if not view.reason]
            if able:
                self.mine_requested.emit(able)

    def _decide_by_key(self, name: str) -> None:
        way = {"return": MINE, "dismiss": THEIRS}.get(name)
        if way is not None:
            self._decide(way, self._chosen())

    def _decide_group(self, heading: HeadingRow, way: str) -> None:
        self._decide(way, [view for view in self._conflicts.values() if _kind(view) == heading.key])


def rows_of(views: Sequence[ConflictView]) -> list[Row]:
    """Return rows for the board, grouped by what the user wanted and what was found instead."""
    kinds: dict[str, list[ConflictView]] = {}
    for view in views:
        kinds.setdefault(_kind(view), []).append(view)
    rows: list[Row] = []
    for kind, alike in kinds.items():
        first = alike[0]
        wanted = first.conflict.wanted
        you = (
            f"you chose “{label_name(wanted)}”"
            if wanted is not None
            else f"you deleted {'it' if len(alike) == 1 else 'them'}"
        )
        they = (
            "Deleted by someone else"
            if first.current is None
            else f"Now under “{label_name(str(first.current_label))}”"
        )
        if first.unknown:
            they = "Not known while the service cannot be reached"
        choices = (("Do mine", MINE), ("Keep theirs", THEIRS))
        rows.append(HeadingRow(kind, they, you, choices[1:] if all(view.reason for view in alike) else choices))
        rows += [_photo(view) for view in alike]
    return rows


def _photo(view: ConflictView) -> PhotoRow:
    conflict = view.conflict
    image = view.current or conflict.record or TrainingImage(id=conflict.image_id, filename=conflict.name, url="")
    there = "not on this computer" if view.reason and not view.unknown else f"was under “{label_name(conflict.label)}”"
    return PhotoRow(str(conflict.id), image, (conflict.name or image.filename, there))


def _kind(view: ConflictView) -> str:
    return f"{'unknown' if view.unknown else repr(view.current_label)} {view.conflict.wanted!r}"


def _mine_words(views: Sequence[ConflictView]) -> str:
    """Return the text of *Do mine*, with the action if it is the same for all."""
    changes = set()
    for view in views:
        wanted = view.conflict.wanted
        verb = "move to" if view.current is not None else "send again to"
        changes.add("delete" if wanted is None else f"{verb} “{wanted}”")
    return f"Do mine: {changes.pop()}" if len(changes) == 1 else "Do mine"


def _reason(views: Sequence[ConflictView]) -> str:
    """Return why none of these can be applied, "" where one can."""
    if not views:
        return "Select photos first"
    return views[0].reason if all(view.reason for view in views) else ""


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
            by_set.setdefault(view.conflict.training_set_id, []).append(view)
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
            raise UnreadableImage("That has been decided already.")
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
