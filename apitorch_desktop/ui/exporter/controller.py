"""Exports: a folder tree as a transfer that can be resumed, every other format as one job."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QWidget,
)

from apitorch_desktop.api.types import Id, TrainingImage, TrainingSet
from apitorch_desktop.dataset.exporter.exporter import ExportFormat, ExportResult, export
from apitorch_desktop.dataset.exporter.split import Split
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.session.file_manager import open_folder
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.controller import TransferController
from apitorch_desktop.ui.widgets.controls import ComboBox, button, in_row, label, lay_out_dialog, spin_box
from apitorch_desktop.utils.files import atomic_write, safe_filename, shortened_names
from apitorch_desktop.utils.text import plural

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
    """Confirmed choices: a key of `FORMATS`, a folder, shares in percent (None: no split) and the seed.

    `jpeg`: photos of formats that few programs read become JPEGs. `keep_splits`: folders by the photos' own split.
    """

    export_format: str
    folder: Path
    shares: tuple[int, int, int] | None
    seed: int
    jpeg: bool = False
    keep_splits: bool = False


class ExportDialog(QDialog):
    """Emits the confirmed choices for what `name` calls the photos.

    `splits`: some of them have a split, which is used at first. `no_onnx` is the reason why the classifier cannot be
    exported, or ""; None if it is no choice. `folder` is offered at first, the user's own if "". `labels` that are too
    long for folders are told.
    """

    agreed = Signal(object)
    """The `ExportOrder`."""

    def __init__(
        self,
        theme: Theme,
        name: str,
        *,
        no_onnx: str | None = "",
        labels: Sequence[str] = (),
        splits: bool = False,
        folder: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._shortened = shortened_names(labels)
        self._theme = theme
        self._no_onnx = no_onnx or ""
        self.setWindowTitle(f"Export {name}")
        self.format = ComboBox(theme, "Form")
        for key, (title, _) in FORMATS.items():
            if key != ONNX or no_onnx is not None:
                self.format.addItem(title, str(key))
        self.about = label("", "small", "muted", wrap=True)
        self.folder = QLineEdit(folder or str(Path.home()))
        self.folder.setAccessibleName("Folder")
        self.browse = button("Choose…", "", self._browse)
        self.split = QCheckBox("Split the photos, each label in the same proportions")
        self.keep = QCheckBox("Folders by the photos’ own split")
        self.keep.setChecked(splits)
        self.jpeg = QCheckBox("HEIC, AVIF, raw and other rare formats as JPEG")
        self.shares = [
            spin_box(theme, part, value, 0, 100, " %") for value, part in zip((80, 10, 10), PARTS, strict=True)
        ]
        self.seed = spin_box(theme, "Seed", 0, 0, 999_999)
        self.note = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Export", "primary", self._confirm)
        self.start.setDefault(True)
        self._lay_out(name)
        self.format.currentIndexChanged.connect(lambda _index: self._update_controls())
        self.folder.textChanged.connect(lambda _text: self._update_controls())
        for box, other in ((self.split, self.keep), (self.keep, self.split)):
            box.toggled.connect(lambda on, other=other: other.setChecked(False) if on else None)
            box.toggled.connect(lambda _on: self._update_controls())
        for spin in self.shares:
            spin.valueChanged.connect(lambda _value: self._update_controls())
        self._update_controls()

    def _lay_out(self, name: str) -> None:
        px = self._theme.px
        folder_row = in_row((self.folder, 1), self.browse, spacing=px(8))
        self._parts = QWidget()
        row = in_row(on=self._parts, margins=0, spacing=px(8))
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
        fields.addRow("", self.jpeg)
        fields.addRow("", self.keep)
        fields.addRow("", self.split)
        fields.addRow("", self._parts)
        head = label(f"Export {name}", "answer", wrap=True)
        lay_out_dialog(self, self._theme, (head, fields), (self.cancel, self.start), beside=self.note, spacing=12)
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
        self.keep.setVisible(export_format != ONNX)
        self.jpeg.setVisible(export_format != ONNX)
        splitting = self.split.isChecked() and export_format != ONNX
        self._parts.setVisible(splitting)
        reason = ""
        if export_format == ONNX:
            reason = self._no_onnx
        elif splitting and not sum(spin.value() for spin in self.shares):
            reason = "Give at least one part a share."
        if not self.folder.text().strip():
            reason = reason or "Choose a folder."
        hints = ["Photos that look nearly the same stay in one part."] if splitting else []
        if self.keep.isChecked() and export_format != ONNX:
            hints = ["Photos without a split go to train."]
        hints += [self._shortened] if export_format != ONNX else []
        self.note.setText(reason or " ".join(hints).strip())
        self.start.setEnabled(not reason)
        self.start.setToolTip(reason)

    def _confirm(self) -> None:
        export_format = str(self.format.currentData())
        splitting = self.split.isChecked() and export_format != ONNX
        train, validation, test = (spin.value() for spin in self.shares)
        shares = (train, validation, test) if splitting else None
        folder = Path(self.folder.text().strip()).expanduser()
        self.accept()
        keep = self.keep.isChecked() and export_format != ONNX
        self.agreed.emit(ExportOrder(export_format, folder, shares, self.seed.value(), self.jpeg.isChecked(), keep))


_TOPIC = "export"


class ExportController(QObject):
    """Exports training sets of the open connection."""

    def __init__(
        self, session: Session, transfers: TransferController, theme: Theme, settings: Settings, window: QWidget
    ) -> None:
        super().__init__(window)
        self._settings = settings
        self._session = session
        self._transfers = transfers
        self._theme = theme
        self._window = window

    def no_classifier(self, found: TrainingSet) -> str:
        """Return why the classifier of a training set cannot be exported, "" if it can."""
        trained = any(classifier.slug == found.slug for classifier in self._session.classifiers)
        return self._session.unavailable_reason("export.onnx") or ("" if trained else "It has no classifier yet.")

    def ask(self, set_id: Id, export_format: str = "") -> None:
        """Let the user choose format (`export_format` at first) and folder, then export a training set."""
        session = self._session
        found = session.find_set(set_id)
        if found is None or session.workspace is None:
            session.show_message(
                session.unavailable_reason("") or "This training set is not there any more.", "warn", _TOPIC
            )
            return
        labels = found.classes
        no_onnx = self.no_classifier(found)
        open_set = session.open_set
        is_open = open_set is not None and open_set.training_set.id == set_id
        dialog = ExportDialog(
            self._theme,
            f"“{found.name}”",
            no_onnx=no_onnx,
            labels=labels,
            splits=is_open and session.images.has_splits(),
            folder=self._settings.export_folder,
            parent=self._window,
        )
        dialog.format.setCurrentIndex(max(0, dialog.format.findData(export_format)))
        dialog.agreed.connect(self._keep_folder)
        dialog.agreed.connect(lambda order: self.export(found, order))
        dialog.open()

    def ask_selection(self, images: Sequence[TrainingImage]) -> None:
        """Let the user choose format and folder, then export these photos of the open training set."""
        session, open_set = self._session, self._session.open_set
        workspace = session.workspace
        if open_set is None or workspace is None or not images:
            return
        found, chosen = open_set.training_set, [image.image_id for image in images]
        name = f"{plural(len(chosen), 'photo')} of “{found.name}”"
        labels = [str(image.label) for image in images]
        splits = any(image.known_split for image in images)
        folder = self._settings.export_folder
        dialog = ExportDialog(
            self._theme, name, no_onnx=None, labels=labels, splits=splits, folder=folder, parent=self._window
        )
        dialog.agreed.connect(self._keep_folder)
        dialog.agreed.connect(lambda order: self._files(found, workspace, order, frozenset(chosen)))
        dialog.open()

    def _keep_folder(self, order: ExportOrder) -> None:
        self._settings.export_folder = str(order.folder)
        self._settings.save()

    def export(self, found: TrainingSet, order: ExportOrder) -> None:
        """Export a training set."""
        session = self._session
        workspace, connection = session.workspace, session.connection
        if workspace is None or connection is None:
            session.show_message(session.unavailable_reason(""), "warn", _TOPIC)
        elif order.export_format == ONNX:
            self._classifier(found, workspace, order.folder)
        elif order.export_format == ExportFormat.IMAGEFOLDER and not (order.shares or order.jpeg or order.keep_splits):
            self._transfers.download(connection.id, found.id, f"Exporting “{found.name}”", order.folder)
        else:
            self._files(found, workspace, order)

    def _files(
        self, found: TrainingSet, workspace: Workspace, order: ExportOrder, chosen: frozenset[str] | None = None
    ) -> None:
        """Export a training set, or only the `chosen` ids of it, as one job."""
        session, name = self._session, found.name

        def job(context: JobContext) -> ExportResult:
            split = None
            if order.shares is not None:
                train, validation, test = (share / 100 for share in order.shares)
                split = Split(train, validation, test, order.seed)
            order.folder.mkdir(parents=True, exist_ok=True)
            listing = workspace.listing(found.id, cancelled=context.cancelled)
            if chosen is not None:
                listing = replace(listing, images=[image for image in listing.images if image.image_id in chosen])
                listing.labels = list(dict.fromkeys(str(image.label) for image in listing.images))
            return export(
                listing,
                lambda image: workspace.image(found.id, image, cancelled=context.cancelled),
                order.folder,
                ExportFormat(order.export_format),
                split=split,
                keep_splits=order.keep_splits,
                jpeg=order.jpeg,
                progress=lambda done, total: context.progress((done, total)),
                cancelled=context.cancelled,
            )

        def stop() -> None:
            task.cancel()
            session.message_expired.emit(_TOPIC)
            session.show_message(f"The export of “{name}” was cancelled; nothing was written.", "muted", _TOPIC)

        def progress(at: tuple[int, int]) -> None:
            text = f"Exporting “{name}”: {at[0]:,} of {at[1]:,}"
            session.show_message(text, "muted", _TOPIC, (("Cancel", stop),))

        task = session.run(
            f"Exporting “{name}”", job, lambda result: self._done(name, result), progress=progress, lane=Lane.BATCH
        )

    def _done(self, name: str, result: ExportResult) -> None:
        self._session.message_expired.emit(_TOPIC)
        left_out = ""
        if result.left_out:
            left_out = f" {plural(result.left_out, 'photo')} without a label left out: this format describes labels."
        if result.assigned:
            left_out += f" {plural(result.assigned, 'photo')} without a split put into the part for training."
        self._show_result(f"Exported {plural(result.written, 'photo')} of “{name}”.{left_out}", result.path)
        if result.failed:
            filename, why = result.failed[0]
            more = f" And {len(result.failed) - 1:,} more." if len(result.failed) > 1 else ""
            text = f"{plural(len(result.failed), 'photo')} of “{name}” could not be exported. “{filename}”: {why}{more}"
            self._session.show_message(text, "warn", _TOPIC)

    def _classifier(self, found: TrainingSet, workspace: Workspace, folder: Path) -> None:
        session, name, slug = self._session, found.name, str(found.slug)

        def job(context: JobContext) -> tuple[Path, str]:
            from apitorch_desktop.vision.onnx_export import ExportFailed, metadata_of

            data = workspace.client.onnx(slug, cancelled=context.cancelled)
            folder.mkdir(parents=True, exist_ok=True)
            path = _free_path(folder, slug)
            with atomic_write(path) as part:
                part.write_bytes(data)
            with suppress(ExportFailed):  # a file of another service need not be of this form
                return path, metadata_of(path).get("usage", "").replace(f'"{slug}.onnx"', f'"{path.name}"')
            return path, ""

        session.show_message(f"Exporting the classifier of “{name}”…", "muted", _TOPIC)
        session.run(
            f"Exporting the classifier of “{name}”",
            job,
            lambda result: self._show_result(
                f"Exported the classifier of “{name}” as “{result[0].name}”.", result[0], result[1]
            ),
            lane=Lane.BATCH,
        )

    def _show_result(self, text: str, path: Path, usage: str = "") -> None:
        use = (("How to use it", lambda: UsageDialog(self._theme, usage, self._window).open()),) if usage else ()
        self._session.show_message(
            text,
            "",
            _TOPIC,
            (("Show", lambda: open_folder(path if path.is_dir() else path.parent, self._session)), *use),
        )


class UsageDialog(QDialog):
    """Shows the lines of Python that use an exported classifier."""

    def __init__(self, theme: Theme, lines: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("How to use the classifier")
        px = theme.px
        self.lines = QPlainTextEdit(lines, readOnly=True)
        self.lines.setAccessibleName("Lines of Python")
        self.lines.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.copy = button("Copy", "", lambda: QGuiApplication.clipboard().setText(lines))
        self.close_button = button("Close", "primary", self.accept)
        note = "With onnxruntime, NumPy and Pillow; labels, preprocessing and threshold are in the file’s metadata."
        about = label(note, "base", "muted", wrap=True)
        lay_out_dialog(self, theme, (about, self.lines), (self.copy, self.close_button), grows=self.lines, spacing=12)
        self.resize(px(640), px(320))


def _free_path(folder: Path, slug: str) -> Path:
    """Return a path that does not exist yet."""
    path = folder / safe_filename(f"{slug}.onnx")
    number = 2
    while path.exists():
        path = folder / safe_filename(f"{slug}-{number}.onnx")
        number += 1
    return path
