"""Comparison dialog: differences between two training sets, shown before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QHeaderView, QTreeView, QVBoxLayout, QWidget

from apitorch_desktop.api.types import TrainingImage, TrainingSet
from apitorch_desktop.dataset.compare import Comparison
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, ProgressBar, button, enable_unless, label
from apitorch_desktop.ui.widgets.table_model import Column, TableModel
from apitorch_desktop.utils.text import plural

Difference = tuple[str, str, str]
"""(photo, label here, label there)"""


class CompareDialog(QDialog):
    """Shows a comparison and emits what the user requests. `here` names the training set it was opened for."""

    other_chosen = Signal(str)
    """Id of the connection whose training sets have to be listed."""
    compare_requested = Signal(object)
    """Id of the other training set, None for a new one."""
    push_requested = Signal(bool)
    """Send what is only here; True to relabel the others there as here."""
    pull_requested = Signal(bool)
    """Fetch what is only there; True to relabel the others here as there."""

    def __init__(
        self, theme: Theme, here: str, connections: Sequence[Connection], current: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._here = here
        self.setWindowTitle(f"Compare “{here}”")
        self.connection = ComboBox(theme, "Connection")
        for connection in connections:
            self.connection.addItem(connection.name, connection.id)
        self.connection.setCurrentIndex(max(0, self.connection.findData(current)))
        self.connection.currentIndexChanged.connect(lambda _index: self._choose())
        self.target = ComboBox(theme, "Training set")
        self.compare = button("Compare", "primary", self._compare)
        self.compare.setDefault(True)
        self.meter = ProgressBar(None, thin=True)
        self.meter.hide()
        self.text = label("", "base", wrap=True)
        self.model: TableModel[Difference] = TableModel([])
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
        buttons = QHBoxLayout()
        buttons.addWidget(self.labels)
        buttons.addStretch(1)
        for control in (self.cancel, self.pull, self.push):
            buttons.addWidget(control)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(8))
        rows.addLayout(top)
        rows.addWidget(self.meter)
        rows.addWidget(self.text)
        rows.addWidget(self.table, 1)
        rows.addLayout(buttons)
        self.resize(px(680), px(460))

    def _choose(self) -> None:
        self.show_sets([], "")
        self.other_chosen.emit(str(self.connection.currentData()))

    def show_sets(self, sets: Sequence[TrainingSet], suggestion: str, no_new: str = "") -> None:
        """Offer the other connection's training sets, `suggestion` chosen; `no_new` is why none can be created, or ""."""
        self.target.clear()
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        if not no_new:
            self.target.addItem(f"A new one, “{self._here}”", None)
        self.target.setCurrentIndex(max(0, self.target.findText(suggestion)))
        self.compare.setEnabled(self.target.count() > 0)
        self.show_comparison(None)

    def show_working(self, text: str, share: float | None) -> None:
        """Show what is under way, and how far it is."""
        self.text.setText(text)
        self.meter.show()
        self.meter.set_share(share)
        for control in (self.compare, self.push, self.pull):
            control.setEnabled(False)

    def show_failure(self, text: str) -> None:
        """Show an error."""
        self.show_comparison(None)
        self.text.setText(text)

    def show_comparison(self, found: Comparison | None) -> None:
        """Show what differs; None before anything was compared."""
        self._found = found
        self.meter.hide()
        self.compare.setEnabled(self.target.count() > 0)
        titles = ("Photo", f"{self._here} (here)", f"{self.target.currentText()} (there)")
        columns: list[Column[Difference]] = [
            Column(title=title, text=itemgetter(at)) for at, title in enumerate(titles)
        ]
        self.model.show(_differences(found) if found is not None else [], columns)
        if found is None:
            self.text.setText("Nothing is sent before you have seen what would change.")
        elif found.equal:
            self.text.setText(f"Both are the same: {plural(found.same, 'photo')} under the same labels.")
        else:
            parts = [
                f"{len(found.only_here):,} only here",
                f"{len(found.only_there):,} only there",
                f"{len(found.relabelled):,} labelled otherwise",
                f"{found.same:,} the same",
            ]
            unread = f" {plural(len(found.unread), 'photo')} could not be read." if found.unread else ""
            self.text.setText(f"{' · '.join(parts)}.{unread}")
        self._update_controls()

    def _relabel(self) -> bool:
        return bool(self.labels.currentData())

    def _update_controls(self) -> None:
        found = self._found
        moves = len(found.relabelled) if found is not None and self._relabel() else 0
        there = (len(found.only_here) if found is not None else 0) + moves
        here = (len(found.only_there) if found is not None else 0) + moves
        reason = "Compare first" if found is None else "There is nothing to change"
        enable_unless(self.push, "" if there else reason)
        enable_unless(self.pull, "" if here else reason)
        self.push.setText(f"Send {there:,} there" if there else "Send there")
        self.pull.setText(f"Fetch {here:,} from there" if here else "Fetch from there")

    def _compare(self) -> None:
        self.compare_requested.emit(self.target.currentData())


def _differences(found: Comparison) -> list[Difference]:
    rows = [(_name(mine), str(mine.label), str(theirs.label)) for mine, theirs in found.relabelled]
    rows += [(_name(image), str(image.label), "—") for image in found.only_here]
    return rows + [(_name(image), "—", str(image.label)) for image in found.only_there]


def _name(image: TrainingImage) -> str:
    return image.original_filename if isinstance(image.original_filename, str) else image.filename
