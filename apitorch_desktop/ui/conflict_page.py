"""The view of conflicts: photos that someone else deleted or moved, what was wanted of them, what is there, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.controls import Elided, button, icon_button, label, offer, surface
from apitorch_desktop.ui.flow_layout import FlowLayout
from apitorch_desktop.ui.review_board import Board
from apitorch_desktop.ui.review_rows import Heading, Photo
from apitorch_desktop.ui.words import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QKeyEvent, QResizeEvent

    from apitorch_desktop.dataset.conflicts import Standing
    from apitorch_desktop.ui.grid.loader import ThumbnailLoader
    from apitorch_desktop.ui.review_rows import Row
    from apitorch_desktop.ui.theme import Theme

MINE, THEIRS = "mine", "theirs"


class ConflictBand(QFrame):
    """A line across the window, there until everything is decided."""

    decide_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        surface(self, "note")
        self._icon = QLabel()
        self.words = Elided()
        self.decide = button("Decide…", "link", self.decide_wanted.emit)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 4, 14, 4)
        row.setSpacing(8)
        row.addWidget(self._icon)
        row.addWidget(self.words, 1)
        row.addWidget(self.decide)
        theme.changed.connect(self._measure)
        self._measure()
        self.hide()

    def show_count(self, count: int) -> None:
        """How many photos are to be decided; 0 takes the line away."""
        was = "was" if count == 1 else "were"
        words = f"{plural(count, 'photo')} that you changed {was} deleted or moved by someone else meanwhile."
        self.words.setText(words)
        self.setAccessibleName(words)
        self.decide.setAccessibleName(f"Decide what becomes of {plural(count, 'photo')}")
        self.setVisible(count > 0)

    def _measure(self) -> None:
        size = QSize(self._theme.px(16), self._theme.px(16))
        self._icon.setPixmap(self._theme.icon("warning", "warn").pixmap(size, self.devicePixelRatioF()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt's; the icon is as sharp as the screen."""
        super().resizeEvent(event)
        self._measure()


class ConflictPage(QWidget):
    """Shows what it is told; says what is wanted."""

    mine_wanted = Signal(list)
    """Standings: do what was wanted."""
    theirs_wanted = Signal(list)
    """Standings: leave what is there."""
    closed = Signal()

    def __init__(self, theme: Theme, loader: ThumbnailLoader) -> None:
        super().__init__()
        surface(self, "canvas")
        self._standings: dict[str, Standing] = {}
        self.board = Board(theme, loader)
        self.board.setAccessibleName("Photos that someone else deleted or moved")
        self.mine = button("Do mine", "primary", lambda: self._decide(MINE, self._chosen()))
        self.theirs = button("Keep theirs", "", lambda: self._decide(THEIRS, self._chosen()))
        self.all_mine = button("", "", lambda: self._decide(MINE, list(self._standings.values())))
        self.all_theirs = button("", "", lambda: self._decide(THEIRS, list(self._standings.values())))
        close = icon_button(theme, "close", "Back to the photos (Esc)")
        close.clicked.connect(self.closed)
        self._lay_out(close)
        self.board.selectionModel().selectionChanged.connect(lambda *_: self._show_controls())
        self.board.act_wanted.connect(self._act)
        self.board.heading_act_wanted.connect(self._heading_act)

    def _lay_out(self, close: QWidget) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(16, 8, 8, 0)
        head.addWidget(label("Changed by someone else meanwhile", "title"), 1)
        head.addWidget(close)
        why = label(
            "You changed these photos while the service was away. When it was back they were no longer where you saw them, "
            "so nothing was done with them. Do what you wanted all the same, or keep what the others made of them.",
            "base",
            "muted",
            wrap=True,
        )
        controls = QWidget()
        flow = FlowLayout(controls)
        for control in (self.mine, self.theirs, self.all_mine, self.all_theirs):
            flow.addWidget(control)
        below = QVBoxLayout()
        below.setContentsMargins(16, 4, 16, 4)
        below.setSpacing(8)
        below.addWidget(why)
        below.addWidget(controls)
        foot = QHBoxLayout()
        foot.setContentsMargins(16, 4, 16, 8)
        foot.addWidget(label("Return does yours with what is selected; D keeps theirs", "small", "muted", wrap=True))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addLayout(below)
        column.addWidget(self.board, 1)
        column.addLayout(foot)

    def focus(self) -> None:
        """Put the focus where the keys are heard."""
        self.board.setFocus()

    def show_standings(self, standings: Sequence[Standing]) -> None:
        """What is to be decided, as it stands now."""
        self._standings = {str(one.conflict.id): one for one in standings}
        rows = rows_of(standings)
        self.board.rows.show(rows)
        if not self.board.chosen():  # what was chosen is decided
            first = next((at for at, row in enumerate(rows) if isinstance(row, Photo)), None)
            self.board.setCurrentIndex(QModelIndex() if first is None else self.board.rows.index(first))
        self._show_controls()

    def _show_controls(self) -> None:
        chosen, every = self._chosen(), list(self._standings.values())
        photos = plural(len(chosen), "photo")
        offer(self.mine, _reason(chosen))
        offer(self.theirs, "" if chosen else "Select photos first")
        self.mine.setText(_mine_words(chosen))
        self.mine.setAccessibleName(f"{_mine_words(chosen)}, {photos}")
        self.theirs.setAccessibleName(f"Keep theirs for {photos}")
        many = len(every) > len(chosen)
        self.all_mine.setText(f"Do mine with all {len(every):,}")
        self.all_theirs.setText(f"Keep theirs for all {len(every):,}")
        offer(self.all_mine, _reason(every))
        self.all_mine.setVisible(many)
        self.all_theirs.setVisible(many)

    def _chosen(self) -> list[Standing]:
        return [self._standings[row.key] for row in self.board.chosen() if row.key in self._standings]

    def _decide(self, way: str, standings: list[Standing]) -> None:
        if way == THEIRS and standings:
            self.theirs_wanted.emit(standings)
        elif way == MINE:
            able = [one for one in standings if not one.reason]
            if able:
                self.mine_wanted.emit(able)

    def _act(self, name: str) -> None:
        way = {"return": MINE, "dismiss": THEIRS}.get(name)
        if way is not None:
            self._decide(way, self._chosen())

    def _heading_act(self, heading: Heading, act: str) -> None:
        self._decide(act, [one for one in self._standings.values() if _kind(one) == heading.key])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape goes back to the photos."""
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)


def rows_of(standings: Sequence[Standing]) -> list[Row]:
    """Rows for the board: those of one kind below a heading that says what was wanted and what is there."""
    kinds: dict[str, list[Standing]] = {}
    for standing in standings:
        kinds.setdefault(_kind(standing), []).append(standing)
    rows: list[Row] = []
    for kind, ones in kinds.items():
        first = ones[0]
        wanted = first.conflict.wanted
        you = f"you chose “{wanted}”" if wanted is not None else f"you deleted {'it' if len(ones) == 1 else 'them'}"
        they = "Deleted by someone else" if first.now is None else f"Now under “{first.now_label}”"
        acts = [(verb, act) for verb, act in (("Do mine", MINE), ("Keep theirs", THEIRS))]
        if all(one.reason for one in ones):
            acts = acts[1:]
        rows.append(Heading(kind, they, you, tuple(acts)))
        rows += [_photo(one) for one in ones]
    return rows


def _photo(standing: Standing) -> Photo:
    conflict = standing.conflict
    image = standing.now or conflict.record or TrainingImage(id=conflict.image_id, filename=conflict.name, url="")
    there = "not on this computer" if standing.reason else f"was under “{conflict.label}”"
    return Photo(str(conflict.id), image, (conflict.name or image.filename, there))


def _kind(standing: Standing) -> str:
    return f"{standing.now_label!r} {standing.conflict.wanted!r}"


def _mine_words(standings: Sequence[Standing]) -> str:
    """What doing mine would do, where it is the same for all of these."""
    acts = set()
    for one in standings:
        wanted = one.conflict.wanted
        verb = "move to" if one.now is not None else "send again to"
        acts.add("delete" if wanted is None else f"{verb} “{wanted}”")
    return f"Do mine: {acts.pop()}" if len(acts) == 1 else "Do mine"


def _reason(standings: Sequence[Standing]) -> str:
    """Why none of these can be done; "" where one can."""
    if not standings:
        return "Select photos first"
    return standings[0].reason if all(one.reason for one in standings) else ""
