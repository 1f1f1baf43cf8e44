"""Report of a crash in the last run: offered at the start, shown on demand, copied or discarded."""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QVBoxLayout, QWidget

from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import label
from apitorch_desktop.utils.crash_log import CrashLog

TOPIC = "crash"


class CrashReport(QObject):
    """Offers what the last run left in the crash log."""

    def __init__(self, log: CrashLog, session: Session, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._log = log
        self._session = session
        self._theme = theme
        self._window = window
        session.run("Reading the crash log", lambda _context: log.report(), self._offer, lane=Lane.DISK, owner=self)

    def _offer(self, report: str) -> None:
        if report:
            text = "The program ended unexpectedly, or an error was not handled, when it ran last."
            actions = (("Show report…", lambda: self.show(report)), ("Discard", self._discard))
            self._session.show_message(text, "warn", TOPIC, actions)

    def show(self, report: str) -> None:
        """Open the report in a dialog."""
        dialog = CrashReportDialog(report, self._theme, self._window)
        dialog.discarded.clicked.connect(self._discard)
        dialog.open()

    def _discard(self) -> None:
        self._session.run(
            "Discarding the crash report", lambda _context: self._log.discard(), lane=Lane.DISK, owner=self
        )


class CrashReportDialog(QDialog):
    """The report with what can be done with it."""

    def __init__(self, report: str, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Report of the last run")
        self.text = QPlainTextEdit(report)
        self.text.setReadOnly(True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setAccessibleName("Report")
        buttons = QDialogButtonBox()
        self.copied = buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        self.discarded = buttons.addButton("Discard", QDialogButtonBox.ButtonRole.DestructiveRole)
        self.closed = buttons.addButton("Close", QDialogButtonBox.ButtonRole.RejectRole)
        self.closed.setDefault(True)
        self.copied.clicked.connect(lambda: QGuiApplication.clipboard().setText(report))
        self.discarded.clicked.connect(self.accept)
        self.closed.clicked.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(16)] * 4)
        column.setSpacing(theme.px(12))
        words = (
            "It holds places in the program's code, no keys and no names of photos. It stays here until you discard it."
        )
        column.addWidget(label(words, "base", "muted", wrap=True))
        column.addWidget(self.text)
        column.addWidget(buttons)
        self.resize(theme.px(760), theme.px(480))
