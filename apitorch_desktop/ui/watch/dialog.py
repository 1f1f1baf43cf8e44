"""Dialog of a watched folder: which folder, by which classifier, and what is done about the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDialog, QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QSizePolicy, QWidget

from apitorch_desktop.api.types import Id, TrainingSet
from apitorch_desktop.dataset.watch.task import WatchTask
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, button, label, lay_out_dialog, spin_box

_LEAST = 80
"""Percent from which an answer is acted on, at first."""
_HOW = (
    ("Under their answer", (True, False)),
    ("Under their answer, the less sure without a label", (True, True)),
    ("Without a label", (False, True)),
)


class PathLine(QWidget):
    """A line for a path, with a button that lets the user choose it."""

    def __init__(self, theme: Theme, name: str, choose: Callable[[QLineEdit], object]) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.line.setAccessibleName(name)
        self.button = button("Choose…", "", lambda: choose(self.line))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.px(8))
        row.addWidget(self.line, 1)
        row.addWidget(self.button)

    def path(self) -> Path | None:
        """Return the path that was entered, None for none."""
        text = self.line.text().strip()
        return Path(text).expanduser().absolute() if text else None


class WatchDialog(QDialog):
    """Chooses folder, classifier and acts; `problem(task)` returns why a folder cannot be watched, "" if it can."""

    agreed = Signal(object)
    """The `WatchTask`."""

    def __init__(
        self,
        theme: Theme,
        connection_id: str,
        classifiers: Sequence[str],
        sets: Sequence[TrainingSet],
        chosen: TrainingSet | None,
        no_inbox: str,
        problem: Callable[[WatchTask], str],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Watch a folder")
        self._connection_id = connection_id
        self._problem = problem
        self.folder = PathLine(theme, "Folder", self._choose_folder)
        self.classifier = ComboBox(theme, "Classifier")
        self.classifier.addItems(list(classifiers))
        if chosen is not None:
            self.classifier.setCurrentIndex(max(0, self.classifier.findText(str(chosen.slug))))
        self.adds = QCheckBox("Add the photos to")
        self.target = ComboBox(theme, "Training set")
        for training_set in sets:
            self.target.addItem(training_set.name, training_set.id)
        self.target.setCurrentIndex(max(0, self.target.findData(chosen.id if chosen is not None else None)))
        self.adds.setEnabled(bool(sets))
        self.how = ComboBox(theme, "How they are added")
        for text, data in _HOW:
            if not (data[1] and no_inbox):
                self.how.addItem(text, data)
        self.writes = QCheckBox("Write the answers into a table")
        self.table = PathLine(theme, "Table", self._choose_table)
        self.moves = QCheckBox("Move the photos into folders by label in")
        self.destination = PathLine(theme, "Folder for folders by label", self._choose_folder)
        self.least = spin_box(theme, "Least confidence", _LEAST, 0, 100, " %")
        self.least.setSingleStep(5)
        self.least.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.note = label("", "small", "bad", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Watch", "primary", self._confirm)
        self.start.setDefault(True)
        for box in (self.adds, self.writes, self.moves):
            box.toggled.connect(lambda _on: self._update())
        for line in (self.folder.line, self.table.line, self.destination.line):
            line.textChanged.connect(lambda _text: self._update())
        self.how.currentIndexChanged.connect(lambda _index: self._update())
        self._lay_out(theme)
        self._update()

    def _lay_out(self, theme: Theme) -> None:
        fields = QFormLayout()
        fields.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        fields.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        fields.addRow("Folder", self.folder)
        fields.addRow("Classifier", self.classifier)
        fields.addRow(self.adds, self.target)
        fields.addRow("", self.how)
        fields.addRow(self.writes, self.table)
        fields.addRow(self.moves, self.destination)
        fields.addRow("From a confidence of", self.least)
        text = "Photos that are in the folder or arrive in it are classified once, also after a restart, until you stop it."
        about = label(text, "base", "muted", wrap=True)
        lay_out_dialog(self, theme, (about, fields), (self.cancel, self.start), beside=self.note, spacing=12)
        self.setMinimumWidth(theme.px(560))

    def task(self) -> WatchTask | None:
        """Return what was chosen, None without a folder. Folders are without links once `_confirm` has passed them on."""
        folder = self.folder.path()
        if folder is None:
            return None
        labels, unlabelled = self.how.currentData()
        adds = self.adds.isChecked()
        return WatchTask(
            self._connection_id,
            folder,
            self.classifier.currentText(),
            self.table.path() if self.writes.isChecked() else None,
            self.destination.path() if self.moves.isChecked() else None,
            self.least.value() / 100,
            Id(self.target.currentData()) if adds else None,
            adds and labels,
            adds and unlabelled,
        )

    def _why_not(self) -> str:
        task = self.task()
        if task is None:
            return "Choose a folder."
        if self.writes.isChecked() and task.table is None:
            return "Choose a file for the table."
        if self.moves.isChecked() and task.destination is None:
            return "Choose a folder to move to."
        return self._problem(task)

    def _update(self) -> None:
        self.target.setEnabled(self.adds.isChecked())
        self.how.setEnabled(self.adds.isChecked())
        self.table.setEnabled(self.writes.isChecked())
        self.destination.setEnabled(self.moves.isChecked())
        labels = self.adds.isChecked() and self.how.currentData()[0]
        self.least.setEnabled(labels or self.moves.isChecked())
        why_not = self._why_not()
        self.note.setText("" if self.folder.path() is None else why_not)
        self.start.setEnabled(not why_not)
        self.start.setToolTip(why_not)

    def _confirm(self) -> None:
        task = self.task()
        if task is not None and not self._why_not():
            self.accept()
            self.agreed.emit(task)

    def _choose_folder(self, line: QLineEdit) -> None:
        dialog = QFileDialog(self, "Choose a folder", line.text() or str(Path.home()))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        self._open(dialog, line)

    def _choose_table(self, line: QLineEdit) -> None:
        dialog = QFileDialog(self, "Choose a table", line.text() or str(Path.home()), "Table (*.csv)")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)
        dialog.setDefaultSuffix("csv")
        self._open(dialog, line)

    def _open(self, dialog: QFileDialog, line: QLineEdit) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(line.setText)
        dialog.open()
