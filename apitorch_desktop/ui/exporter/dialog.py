"""Export dialog: format, folder, and an optional split for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from apitorch_desktop.dataset.exporter.exporter import ExportFormat
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, button, label

ONNX: Final = "onnx"
"""Key of the classifier itself; the other formats are those of the photos."""
FORMATS: Final[dict[str, tuple[str, str]]] = {
    ExportFormat.IMAGEFOLDER: (
        "A folder for each label",
        "What torchvision, Keras, fastai and this program read; can be resumed.",
    ),
    ExportFormat.ZIP: ("One zip file", "A folder for each label, in one file."),
    ExportFormat.CSV: ("Folders and a CSV list", "A row for each photo: file, label, size, date."),
    ExportFormat.JSONL: ("Hugging Face imagefolder", "With metadata.jsonl, for `datasets`."),
    ExportFormat.CREATEML: ("Create ML", "With the annotations Apple’s Create ML reads."),
    ExportFormat.CROISSANT: ("Croissant", "With a Croissant description, for `mlcroissant`."),
    ONNX: (
        "The classifier (ONNX)",
        "One file that prepares a photo and answers as the service does, checked after writing.",
    ),
}
"""Title and explanation by format."""
PARTS: Final = ("Train", "Validation", "Test")


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Confirmed choices: a key of `FORMATS`, a folder, shares in percent (None: no split) and the seed."""

    export_format: str
    folder: Path
    shares: tuple[int, int, int] | None
    seed: int


class ExportDialog(QDialog):
    """Emits the confirmed choices for what `name` calls the photos.

    `no_onnx` is the reason why the classifier cannot be exported, or ""; None if it is no choice.
    """

    agreed = Signal(object)
    """The `ExportOrder`."""

    def __init__(self, theme: Theme, name: str, *, no_onnx: str | None = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._no_onnx = no_onnx or ""
        self.setWindowTitle(f"Export {name}")
        self.format = ComboBox(theme, "Form")
        for key, (title, _) in FORMATS.items():
            if key != ONNX or no_onnx is not None:
                self.format.addItem(title, str(key))
        self.about = label("", "small", "muted", wrap=True)
        self.folder = QLineEdit(str(Path.home()))
        self.folder.setAccessibleName("Folder")
        self.browse = button("Choose…", "", self._browse)
        self.split = QCheckBox("Split the photos, each label in the same shares")
        self.shares = [
            self._spin_box(value, 0, 100, " %", part) for value, part in zip((80, 10, 10), PARTS, strict=True)
        ]
        self.seed = self._spin_box(0, 0, 999_999, "", "Seed")
        self.note = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Export", "primary", self._confirm)
        self.start.setDefault(True)
        self._lay_out(name)
        self.format.currentIndexChanged.connect(lambda _index: self._update_controls())
        self.folder.textChanged.connect(lambda _text: self._update_controls())
        self.split.toggled.connect(lambda _on: self._update_controls())
        for spin in self.shares:
            spin.valueChanged.connect(lambda _value: self._update_controls())
        self._update_controls()

    def _spin_box(self, value: int, least: int, most: int, suffix: str, name: str) -> QSpinBox:
        spin = QSpinBox(minimum=least, maximum=most, value=value, suffix=suffix)
        spin.setAccessibleName(name)
        spin.lineEdit().setTextMargins(self._theme.px(6), 0, 0, 0)
        return spin

    def _lay_out(self, name: str) -> None:
        px = self._theme.px
        folder_row = QHBoxLayout()
        folder_row.setSpacing(px(8))
        folder_row.addWidget(self.folder, 1)
        folder_row.addWidget(self.browse)
        self._parts = QWidget()
        row = QHBoxLayout(self._parts)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(px(8))
        for part, spin in zip((*PARTS, "Seed"), (*self.shares, self.seed), strict=True):
            row.addWidget(label(part, "small", "muted"))
            row.addWidget(spin, 1)
        fields = QFormLayout()
        fields.setVerticalSpacing(px(8))
        fields.addRow("&As", self.format)
        fields.addRow("", self.about)
        to = label("&To")  # a row with several widgets has no buddy by itself
        to.setBuddy(self.folder)
        to.setMinimumWidth(px(20))  # the underlined letter is wider than measured
        fields.addRow(to, folder_row)
        fields.addRow("", self.split)
        fields.addRow("", self._parts)
        buttons = QHBoxLayout()
        buttons.addWidget(self.note, 1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.start)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(*[px(16)] * 4)
        rows.setSpacing(px(12))
        rows.addWidget(label(f"Export {name}", "answer", wrap=True))
        rows.addLayout(fields)
        rows.addLayout(buttons)
        self.resize(px(560), self.sizeHint().height())

    def _browse(self) -> None:
        from PySide6.QtWidgets import QFileDialog

        dialog = QFileDialog(self, "Export to", self.folder.text())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.fileSelected.connect(self.folder.setText)
        dialog.open()

    def _update_controls(self) -> None:
        export_format = str(self.format.currentData())
        self.about.setText(FORMATS[export_format][1])
        self.split.setVisible(export_format != ONNX)
        splitting = self.split.isChecked() and export_format != ONNX
        self._parts.setVisible(splitting)
        reason = ""
        if export_format == ONNX:
            reason = self._no_onnx
        elif splitting and not sum(spin.value() for spin in self.shares):
            reason = "Give at least one part a share."
        if not self.folder.text().strip():
            reason = reason or "Choose a folder."
        hint = "What looks nearly the same stays in one part." if splitting else ""
        self.note.setText(reason or hint)
        self.start.setEnabled(not reason)
        self.start.setToolTip(reason)

    def _confirm(self) -> None:
        export_format = str(self.format.currentData())
        splitting = self.split.isChecked() and export_format != ONNX
        train, validation, test = (spin.value() for spin in self.shares)
        shares = (train, validation, test) if splitting else None
        self.accept()
        self.agreed.emit(
            ExportOrder(export_format, Path(self.folder.text().strip()).expanduser(), shares, self.seed.value())
        )
