"""Page of conflicts: photos that another user deleted or moved, with the user's own change, and the choice between both."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, Signal

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.edits.conflicts import ConflictView
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import HeadingRow, PhotoRow, Row
from apitorch_desktop.ui.photo_board.page import BoardPage
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.banner import Banner
from apitorch_desktop.ui.widgets.controls import button, enable_unless
from apitorch_desktop.utils.text import plural

MINE, THEIRS = "mine", "theirs"


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
            "Return does yours with what is selected; D keeps theirs",
            why="When your change reached the service, these photos were no longer where you saw them, so nothing was done "
            "with them. Do what you wanted all the same, or keep what the others made of them.",
        )
        self.board.selectionModel().selectionChanged.connect(lambda *_: self._show_controls())
        self.board.action_requested.connect(self._decide_by_key)
        self.board.heading_action_requested.connect(self._decide_group)

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
        you = f"you chose “{wanted}”" if wanted is not None else f"you deleted {'it' if len(alike) == 1 else 'them'}"
        they = "Deleted by someone else" if first.current is None else f"Now under “{first.current_label}”"
        if first.unknown:
            they = "Not known while the service cannot be reached"
        choices = (("Do mine", MINE), ("Keep theirs", THEIRS))
        rows.append(HeadingRow(kind, they, you, choices[1:] if all(view.reason for view in alike) else choices))
        rows += [_photo(view) for view in alike]
    return rows


def _photo(view: ConflictView) -> PhotoRow:
    conflict = view.conflict
    image = view.current or conflict.record or TrainingImage(id=conflict.image_id, filename=conflict.name, url="")
    there = "not on this computer" if view.reason and not view.unknown else f"was under “{conflict.label}”"
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
