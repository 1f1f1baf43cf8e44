"""Preferences page of encoders: those of the user's own beside the built-in one, tried on the open training set and chosen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QWidget

from apitorch_desktop.api.types import EncoderTrial, ListedEncoder
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import button, enable_unless, in_column, in_row, label, set_property
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import percent

if TYPE_CHECKING:
    from apitorch_desktop.vision.encoder_file import EncoderFile

FOLDER = "encoders"
"""Folder below the service's data folder that it looks into."""
_NAME = Qt.ItemDataRole.UserRole


class EncodersPage(QWidget):
    """Lists the encoders of the connected service. What is chosen counts for the open training set alone."""

    def __init__(self, theme: Theme, session: Session) -> None:
        super().__init__()
        self._session = session
        self._encoders: list[ListedEncoder] = []
        open_set = session.open_set
        self._set = open_set.training_set if open_set is not None else None
        name = f"“{self._set.name}”" if self._set is not None else "the open training set"
        self.list = QListWidget()
        self.list.setProperty("kind", "choices")
        self.list.setAccessibleName("Encoders")
        self.list.setMinimumHeight(theme.px(120))
        self.about = label("", "small", "muted", wrap=True)
        self.add = button("Add…", "", self._ask)
        self.trial = button(f"Try on {name}", "", self._try)
        self.use = button(f"Use for {name}", "primary", self._use)
        buttons = in_row(self.add, self.trial, self.use, 1)
        self.note = label("", "base", "muted", wrap=True)
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        explanation = (
            "An encoder turns a photo into the numbers that a classifier learns from. Any ONNX file with one image input can be "
            "one; it is run apart from the service first, and what is wrong is said here."
        )
        how = label(explanation, "small", "muted", wrap=True)
        in_column(
            how, self.list, self.about, buttons, self.note, 1, on=self, margins=theme.px(20), spacing=theme.px(10)
        )
        self.list.currentRowChanged.connect(lambda _row: self._show_chosen())
        self._show_chosen()
        self.refresh()

    # --- display

    def refresh(self) -> None:
        """Ask the service for its encoders; the first time after a change it runs each."""
        workspace, reason = self._session.workspace, self._session.unavailable_reason("encoders")
        if workspace is None or reason:
            self._say(reason or "No service is connected.", "muted")
            return
        self._say("Looking at the encoders…", "muted")
        self._session.run(
            "Encoders",
            lambda context: workspace.client.encoders(cancelled=context.cancelled),
            self._show,
            failed=self._failed,
            owner=self,
        )

    def _show(self, encoders: list[ListedEncoder]) -> None:
        self._encoders = encoders
        wanted = self._wanted()
        self.list.clear()
        for encoder in encoders:
            name = encoder.file or "Built-in (EfficientNet-Lite2)"
            item = QListWidgetItem(f"{name} — in use" if self._set is not None and encoder.name == wanted else name)
            item.setData(_NAME, encoder.name)
            if encoder.problem:
                item.setText(f"{name} — cannot be used")
            self.list.addItem(item)
        self.list.setCurrentRow(next((at for at, each in enumerate(encoders) if each.name == wanted), 0))
        self._say("", "muted")
        self._show_chosen()

    def _wanted(self) -> str:
        """Return the name of the training set's encoder, "" for the built-in one."""
        return self._set.own_encoder if self._set is not None else ""

    def _chosen(self) -> ListedEncoder | None:
        row = self.list.currentRow()
        return self._encoders[row] if 0 <= row < len(self._encoders) else None

    def _show_chosen(self) -> None:
        chosen, workspace = self._chosen(), self._session.workspace
        text = ""
        if chosen is not None and chosen.problem:
            text = chosen.problem
        elif chosen is not None and chosen.dimensions:
            text = f"{chosen.dimensions:,} numbers, {chosen.milliseconds:.0f} ms a photo on one processor core"
        self.about.setText(text)
        set_property(self.about, "tone", "warn" if chosen is not None and chosen.problem else "muted")
        missing = "Open a training set first." if self._set is None else ""
        missing = missing or ("Choose an encoder that can be used." if chosen is None or chosen.problem else "")
        own = missing or ("" if chosen is not None and chosen.name else "Choose one of your own.")
        enable_unless(self.trial, own)
        enable_unless(self.use, missing or ("It is in use." if chosen and chosen.name == self._wanted() else ""))
        here = workspace is not None and workspace.connection.embedded
        enable_unless(self.add, "" if here else "Encoders are added where that service runs: serve --encoder FILE.onnx")

    def _say(self, text: str, tone: str) -> None:
        self.note.setText(text)
        set_property(self.note, "tone", tone)

    def _failed(self, error: Exception) -> bool:
        self._say(error_message(error).text, "warn")
        self._show_chosen()
        return True

    # --- acts

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Add an encoder", str(Path.home()), "ONNX (*.onnx)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda path: self.add_file(Path(path)))
        dialog.open()

    def add_file(self, path: Path) -> None:
        """Copy a model, with its external data and its sidecar, into the service's folder, and have it looked at."""

        def job(_context: JobContext) -> None:
            from apitorch_desktop.vision.encoder_file import inspect

            _copy(inspect(path), paths.service_folder() / FOLDER)

        self._say(f"Copying “{path.name}”…", "muted")
        self._session.run(
            "Adding an encoder", job, lambda _none: self.refresh(), failed=self._failed, lane=Lane.BATCH, owner=self
        )

    def _try(self) -> None:
        chosen, workspace, training_set = self._chosen(), self._session.workspace, self._set
        if chosen is None or workspace is None or training_set is None:
            return
        self.trial.setEnabled(False)
        self._say(f"Trying “{chosen.file}” on photos of “{training_set.name}”; this takes up to a minute…", "muted")
        self._session.run(
            "Trying an encoder",
            lambda context: workspace.client.try_encoder(training_set.id, chosen.name, cancelled=context.cancelled),
            lambda trials: self._show_trial(chosen, trials),
            failed=self._failed,
            lane=Lane.WATCH,
            owner=self,
        )

    def _show_trial(self, chosen: ListedEncoder, trials: list[EncoderTrial]) -> None:
        self._show_chosen()
        names = ["Built-in", chosen.file]
        lines = [
            f"{name}: {percent(trial.accuracy)} right, {trial.milliseconds:.0f} ms a photo"
            for name, trial in zip(names, trials, strict=False)
        ]
        self._say("\n".join([*lines, f"On {trials[0].images:,} photos that the classifier had not seen."]), "text")

    def _use(self) -> None:
        chosen, workspace, training_set = self._chosen(), self._session.workspace, self._set
        if chosen is None or workspace is None or training_set is None:
            return
        name = chosen.name

        def done(_training_set: object) -> None:
            training_set.encoder = name
            self._session.refresh()
            self._show(self._encoders)
            self._say("Its photos are encoded again; until then the classifier answers as before.", "muted")

        self._session.run(
            "Choosing an encoder",
            lambda _context: workspace.client.update_training_set(training_set.id, encoder=name),
            done,
            failed=self._failed,
            owner=self,
        )


def _copy(file: EncoderFile, folder: Path) -> None:
    """Copy a model with what belongs to it into a folder of its own, whole or not at all."""
    target = folder / f"{file.path.stem}-{file.digest[:8]}"
    part = folder / f".{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    origin = file.path.parent.resolve()
    for path in file.files:
        place = part / (path.resolve().relative_to(origin) if path != file.path else path.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
