"""Status bar: the current transfer with its controls and failures, the current message, and the selection."""

from __future__ import annotations

from time import monotonic

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from apitorch_desktop.ui.session.messages import Message
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.status_text import ENDED, WorkStatus, failed_text, state_text
from apitorch_desktop.ui.widgets.controls import (
    ElidedLabel,
    ProgressBar,
    button,
    icon_button,
    in_row,
    set_property,
    surface,
)

SHORT = 8_000
"""Milliseconds for which a message without actions is shown; one with actions is shown three times as long."""
FRESH = 30.0
"""Seconds within which a failure comes back when a newer message has gone."""


class TransferWidget(QWidget):
    """One transfer: controls, failures, title, progress, text. A click opens the list of transfers."""

    pause_wanted = Signal(int)
    resume_wanted = Signal(int)
    cancel_wanted = Signal(int)
    retry_wanted = Signal(int)
    dismissed = Signal(int)
    list_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._compact = self._watched = False
        self.status: WorkStatus | None = None
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("Show all transfers")
        row = in_row(on=self, margins=0, spacing=12)
        self._title = ElidedLabel()
        self._progress = ProgressBar(0)
        self._text = ElidedLabel("", "base", "muted")
        self._pause = button("Pause", "", self._pause_or_resume)
        self._cancel = button("Cancel", "", lambda: self._emit(self.cancel_wanted))
        self._failed = button("", "link", self.list_wanted.emit)
        self._retry = button("Retry", "", lambda: self._emit(self.retry_wanted))
        self._close = icon_button(theme, "close", "Dismiss")
        self._close.clicked.connect(lambda: self._emit(self.dismissed))
        self._pause.setText("Resume")  # the longer of its texts
        self._pause.setMinimumWidth(self._pause.sizeHint().width())
        # buttons first: behind texts, whose width changes, they would move away under the pointer
        for part in (
            self._pause,
            self._cancel,
            self._failed,
            self._retry,
            self._title,
            self._progress,
            self._text,
            self._close,
        ):
            row.addWidget(part)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.hide()

    def show_transfer(self, status: WorkStatus | None) -> None:
        """Show the state of a transfer, or hide the widget."""
        self.status = status
        self.setVisible(status is not None)
        if status is None:
            return
        running = status.state in ("running", "waiting")
        paused = status.state in ("paused", "stopped")
        self._title.setText(status.title)
        self._watched = status.kind == "watch"
        self._progress.setVisible(not self._compact and not self._watched)
        self._progress.set_share(status.fraction, "accent" if running else "muted" if paused else "warn")
        self._text.setText(state_text(status))
        self._pause.setText("Pause" if running else "Resume")
        self._pause.setVisible(running or paused)
        self._cancel.setVisible((running or paused) and not self._watched)  # the list has it
        self._retry.setVisible(bool(status.failed) and not running)
        self._close.setVisible(status.state in ENDED)
        self._failed.setText(failed_text(status))
        self._failed.setVisible(bool(status.failed))

    def set_bar(self, width: int) -> None:
        """Set the width of the progress bar."""
        self._progress.setFixedWidth(width)

    def set_compact(self, compact: bool) -> None:
        """Hide the progress bar, for a message beside it."""
        self._compact = compact
        self._progress.setVisible(not compact and not self._watched)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Open the list of transfers."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.list_wanted.emit()

    def _pause_or_resume(self) -> None:
        running = self.status is not None and self.status.state in ("running", "waiting")
        self._emit(self.pause_wanted if running else self.resume_wanted)

    def _emit(self, signal: object) -> None:
        if self.status is not None:
            signal.emit(self.status.id)  # type: ignore[attr-defined]


class MessageWidget(QWidget):
    """The current message with its actions: the newest note, else the newest failure."""

    shown = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._note: Message | None = None
        self._failures: list[tuple[Message, float]] = []
        self._verbs: list[str] = []
        self._text = ElidedLabel()
        self._actions = QHBoxLayout()
        self._actions.setSpacing(4)
        self._close = icon_button(theme, "close", "Dismiss")
        self._close.clicked.connect(self._next)
        in_row(self._text, self._actions, self._close, on=self, margins=0, spacing=8)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._next)
        self.hide()

    def current(self) -> Message | None:
        """Return the message shown."""
        return self._note or (self._failures[-1][0] if self._failures else None)

    def show_message(self, message: Message) -> None:
        """Show a message. A note expires, also at a failure; a failure stays until a newer message replaces it.

        A failure replaced within `FRESH` seconds, and a message that is `lasting`, is shown again after that.
        """
        if message.tone in ("bad", "warn"):
            if message.topic and message == self.current():
                return  # the same failure is shown already
            others = [one for one in self._failures if not message.topic or one[0].topic != message.topic]
            self._failures = [*others, (message, monotonic())]
            self._note = None  # otherwise the failed action would seem to have no effect
        else:
            self._note = message
        self._show()

    def expire(self, topic: str) -> None:
        """Remove the messages of a topic."""
        shown = self.current()
        self._failures = [one for one in self._failures if one[0].topic != topic]
        if self._note is not None and self._note.topic == topic:
            self._note = None
        if self.current() is not shown:
            self._show_previous()

    def _next(self) -> None:
        if self._note is not None:
            self._note = None
        elif self._failures:
            self._failures.pop()
        self._show_previous()

    def _show_previous(self) -> None:
        """Show what the message that has gone had replaced, unless that is old."""
        since = monotonic() - FRESH
        self._failures = [(message, at) for message, at in self._failures if message.lasting or at > since]
        self._show()

    def _show(self) -> None:
        self._timer.stop()
        message = self.current()
        verbs = [verb for verb, _ in message.actions] if message is not None else []
        if verbs != self._verbs:  # otherwise a button would be removed while it is pressed
            self._verbs = verbs
            while (item := self._actions.takeAt(0)) is not None:
                if (old := item.widget()) is not None:
                    old.hide()
                    old.deleteLater()
            for at, verb in enumerate(verbs):
                self._actions.addWidget(self._action(verb, at))
        self.setVisible(message is not None)
        if message is not None:
            self._text.setText(message.text)
            set_property(self._text, "tone", message.tone)
            if message.tone not in ("bad", "warn"):
                self._timer.start(SHORT * (3 if message.actions else 1))
        self.shown.emit(message is not None)

    def _action(self, verb: str, at: int) -> QPushButton:
        def pressed() -> None:
            message = self.current()
            self._next()
            if message is not None and at < len(message.actions):
                message.actions[at][1]()

        return button(verb, "link", pressed)


class StatusBar(QWidget):
    """Transfer and message at the start, the selection at the end."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        surface(self, "side")
        self.transfer = TransferWidget(theme)
        self.message = MessageWidget(theme)
        self.message.shown.connect(self.transfer.set_compact)
        self.selection = ElidedLabel("", "base", "muted", Qt.TextElideMode.ElideLeft)
        self.selection.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)  # messages give way to it
        self.busy = ElidedLabel("", "base", "muted")
        in_row(self.transfer, self.message, self.busy, 1, self.selection, on=self, margins=(14, 7, 14, 7), spacing=16)
        self._theme = theme
        theme.changed.connect(self._measure)
        self._measure()

    def _measure(self) -> None:
        self.setFixedHeight(self._theme.px(45))
        self.transfer.set_bar(min(self._theme.px(240), self.width() // 6))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Shorten the progress bar in a narrow window."""
        super().resizeEvent(event)
        self._measure()

    def set_selection(self, text: str) -> None:
        """Show the text of the selection."""
        self.selection.setText(text)
