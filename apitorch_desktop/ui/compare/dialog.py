"""Two training sets side by side, of one connection or of two: what would change is shown before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QHeaderView, QTreeView, QVBoxLayout, QWidget

from apitorch_desktop.api.types import TrainingImage, TrainingSet
from apitorch_desktop.dataset.compare import Comparison
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, ProgressBar, button, label, offer
from apitorch_desktop.utils.text import plural

_Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


class DifferencesModel(QAbstractTableModel):
    """A row for each photo that differs: its name, its label here, its label there."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[str, str, str]] = []
        self._names = ("here", "there")

    def show(self, found: Comparison | None, here: str, there: str) -> None:
        """Show a comparison."""
        self.beginResetModel()
        self._names = (here, there)
        rows: list[tuple[str, str, str]] = []
        if found is not None:
            rows += [(_name(one), str(one.label), str(other.label)) for one, other in found.relabelled]
            rows += [(_name(one), str(one.label), "—") for one in found.only_here]
            rows += [(_name(one), "—", str(one.label)) for one in found.only_there]
        self._rows = rows
        self.endResetModel()

    def rowCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else 3

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return ("Photo", *self._names)[section]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return self._rows[index.row()][index.column()]
        return None


class CompareDialog(QDialog):
    """Shows what it is told; says what is wanted. `here` names the training set it was opened for."""

    other_chosen = Signal(str)
    """Id of a connection whose training sets are to be listed."""
    compare_requested = Signal(object)
    """The other training set's id, None for one that is to be made there."""
    push_requested = Signal(bool)
    """Send there what only is here; True: and label there as here."""
    pull_requested = Signal(bool)
    """Fetch what only is there; True: and label here as there."""

    def __init__(
        self, theme: Theme, here: str, connections: Sequence[Connection], current: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._here = here
        self.setWindowTitle(f"Compare “{here}”")
        self.connection = ComboBox(theme, "Connection")
        for one in connections:
            self.connection.addItem(one.name, one.id)
        self.connection.setCurrentIndex(max(0, self.connection.findData(current)))
        self.connection.currentIndexChanged.connect(lambda _index: self._choose())
        self.target = ComboBox(theme, "Training set")
        self.compare = button("Compare", "primary", self._compare)
        self.compare.setDefault(True)
        self.meter = ProgressBar(None, thin=True)
        self.meter.hide()
        self.words = label("", "base", wrap=True)
        self.model = DifferencesModel()
        self.table = QTreeView(rootIsDecorated=False, uniformRowHeights=True)
        self.table.setModel(self.model)
        self.table.setProperty("kind", "table")
        self.table.setAccessibleName("Differences")
        self.table.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.table.setColumnWidth(0, theme.px(260))
        self.table.setColumnWidth(1, theme.px(150))
        self.labels = ComboBox(theme, "Photos that are labelled otherwise")
        self.labels.addItem("Leave labels as they are", False)
        self.labels.addItem("Label them as on the side that sends", True)
        self.push = button("Send there", "", lambda: self.push_requested.emit(self._relabel()))
        self.pull = button("Fetch from there", "", lambda: self.pull_requested.emit(self._relabel()))
        self.cancel = button("Close", "", self.reject)
        self._found: Comparison | None = None
        self.labels.currentIndexChanged.connect(lambda _index: self._update_controls())
        self._lay_out()
        self._update_controls()

    def _lay_out(self) -> None:
        px = self._theme.px
        top = QHBoxLayout()
        top.addWidget(label("With"))
        top.addWidget(self.connection)
        top.addWidget(self.target, 1)
        top.addWidget(self.compare)
        verbs = QHBoxLayout()
        verbs.addWidget(self.labels)
        verbs.addStretch(1)
        for control in (self.cancel, self.pull, self.push):
            verbs.addWidget(control)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(8))
        rows.addLayout(top)
        rows.addWidget(self.meter)
        rows.addWidget(self.words)
        rows.addWidget(self.table, 1)
        rows.addLayout(verbs)
        self.resize(px(680), px(460))

    def _choose(self) -> None:
        self.show_sets([], "")
        self.other_chosen.emit(str(self.connection.currentData()))

    def show_sets(self, sets: Sequence[TrainingSet], suggestion: str, no_new: str = "") -> None:
        """The other connection's training sets; `suggestion` names the one to begin with, `no_new`: why none can be made."""
        self.target.clear()
        for one in sets:
            self.target.addItem(one.name, one.id)
        if not no_new:
            self.target.addItem(f"A new one, “{self._here}”", None)
        at = self.target.findText(suggestion)
        self.target.setCurrentIndex(max(0, at))
        self.compare.setEnabled(self.target.count() > 0)
        self.show_comparison(None)

    def show_working(self, words: str, share: float | None) -> None:
        """Something is under way."""
        self.words.setText(words)
        self.meter.show()
        self.meter.set_share(share)
        for control in (self.compare, self.push, self.pull):
            control.setEnabled(False)

    def show_failure(self, words: str) -> None:
        """It failed."""
        self.show_comparison(None)
        self.words.setText(words)

    def show_comparison(self, found: Comparison | None) -> None:
        """What differs."""
        self._found = found
        self.meter.hide()
        self.compare.setEnabled(self.target.count() > 0)
        self.model.show(found, f"{self._here} (here)", f"{self.target.currentText()} (there)")
        if found is None:
            self.words.setText("Nothing is sent before you have seen what would change.")
        elif found.equal:
            self.words.setText(f"Both are the same: {plural(found.same, 'photo')} under the same labels.")
        else:
            parts = [
                f"{len(found.only_here):,} only here",
                f"{len(found.only_there):,} only there",
                f"{len(found.relabelled):,} labelled otherwise",
                f"{found.same:,} the same",
            ]
            unread = f" {plural(len(found.unread), 'photo')} could not be read." if found.unread else ""
            self.words.setText(f"{' · '.join(parts)}.{unread}")
        self._update_controls()

    def _relabel(self) -> bool:
        return bool(self.labels.currentData())

    def _update_controls(self) -> None:
        found = self._found
        moves = len(found.relabelled) if found is not None and self._relabel() else 0
        there = (len(found.only_here) if found is not None else 0) + moves
        here = (len(found.only_there) if found is not None else 0) + moves
        reason = "Compare first" if found is None else "There is nothing to change"
        offer(self.push, "" if there else reason)
        offer(self.pull, "" if here else reason)
        self.push.setText(f"Send {there:,} there" if there else "Send there")
        self.pull.setText(f"Fetch {here:,} from there" if here else "Fetch from there")

    def _compare(self) -> None:
        self.compare_requested.emit(self.target.currentData())


def _name(image: TrainingImage) -> str:
    return image.original_filename if isinstance(image.original_filename, str) else image.filename
