"""The bottom line: the current transfer with its controls and failures, what there is to say, and what is selected."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from apitorch_desktop.dataset.transfers.queue import TransferStatus
from apitorch_desktop.ui.session.messages import Message
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.transfers.status_text import ENDED, failed_text, state_text
from apitorch_desktop.ui.widgets.controls import (
    ElidedLabel,
    ProgressBar,
    button,
    icon_button,
    set_property,
    surface,
)

SHORT = 8_000
"""Milliseconds a message stays that nothing has to be done about; one with an action stays three times as long."""


class TransferWidget(QWidget):
    """One transfer: title, bar, words, controls, failures. A click on it opens the list."""

    pause_wanted = Signal(int)
    resume_wanted = Signal(int)
    cancel_wanted = Signal(int)
    retry_wanted = Signal(int)
    dismissed = Signal(int)
    list_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.status: TransferStatus | None = None
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("Show all transfers")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        self._title = ElidedLabel()
        self._meter = ProgressBar(0)
        self._words = ElidedLabel("", "base", "muted")
        self._pause = button("Pause", "", self._pause_or_go_on)
        self._cancel = button("Cancel", "", lambda: self._tell(self.cancel_wanted))
        self._failed = button("", "link", self.list_wanted.emit)
        self._retry = button("Retry", "", lambda: self._tell(self.retry_wanted))
        self._close = icon_button(theme, "close", "Dismiss")
        self._close.clicked.connect(lambda: self._tell(self.dismissed))
        for part in (self._title, self._meter, self._words, self._pause, self._cancel, self._failed, self._retry):
            row.addWidget(part)
        row.addWidget(self._close)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.hide()

    def show_transfer(self, status: TransferStatus | None) -> None:
        """Show a transfer as it stands, or none."""
        self.status = status
        self.setVisible(status is not None)
        if status is None:
            return
        going = status.state in ("running", "waiting")
        resting = status.state in ("paused", "stopped")
        self._title.setText(status.title)
        self._meter.set_share(status.fraction, "accent" if going else "muted" if resting else "warn")
        self._words.setText(state_text(status))
        self._pause.setText("Pause" if going else "Resume")
        self._pause.setVisible(going or resting)
        self._cancel.setVisible(going or resting)
        self._retry.setVisible(bool(status.failed) and not going)
        self._close.setVisible(status.state in ENDED)
        self._failed.setText(failed_text(status))
        self._failed.setVisible(bool(status.failed))

    def set_bar(self, width: int) -> None:
        """How long the bar is."""
        self._meter.setFixedWidth(width)

    def set_compact(self, compact: bool) -> None:
        """Leave room for a message beside it."""
        self._meter.setVisible(not compact)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click opens the list."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.list_wanted.emit()

    def _pause_or_go_on(self) -> None:
        going = self.status is not None and self.status.state in ("running", "waiting")
        self._tell(self.pause_wanted if going else self.resume_wanted)

    def _tell(self, signal: object) -> None:
        if self.status is not None:
            signal.emit(self.status.id)  # type: ignore[attr-defined]


class MessageWidget(QWidget):
    """A sentence with its actions: what was done, else the newest failure."""

    shown = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._note: Message | None = None
        self._failures: list[Message] = []
        self._verbs: list[str] = []
        self._text = ElidedLabel()
        self._actions = QHBoxLayout()
        self._actions.setSpacing(4)
        self._close = icon_button(theme, "close", "Dismiss")
        self._close.clicked.connect(self._next)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self._text)
        row.addLayout(self._actions)
        row.addWidget(self._close)
        self._clock = QTimer(self, singleShot=True)
        self._clock.timeout.connect(self._next)
        self.hide()

    def current(self) -> Message | None:
        """The message shown."""
        return self._note or (self._failures[-1] if self._failures else None)

    def say(self, message: Message) -> None:
        """Show a message. A note is over after a while, or at a failure; a failure stays, and comes back behind a note."""
        if message.tone in ("bad", "warn"):
            if message.topic and message in self._failures:
                return  # the same failure again: it is said already
            self._failures = [one for one in self._failures if not message.topic or one.topic != message.topic]
            self._failures.append(message)
            self._note = None  # else what was just asked for seems not to answer
        else:
            self._note = message
        self._show()

    def ended(self, topic: str) -> None:
        """What a message was about is over."""
        left = [one for one in self._failures if one.topic != topic]
        note = None if self._note is not None and self._note.topic == topic else self._note
        if (len(left), note) != (len(self._failures), self._note):
            self._failures, self._note = left, note
            self._show()

    def _next(self) -> None:
        if self._note is not None:
            self._note = None
        elif self._failures:
            self._failures.pop()
        self._show()

    def _show(self) -> None:
        self._clock.stop()
        message = self.current()
        verbs = [verb for verb, _ in message.actions] if message is not None else []
        if verbs != self._verbs:  # else a button that is just being pressed would be taken away
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
                self._clock.start(SHORT * (3 if message.actions else 1))
        self.shown.emit(message is not None)

    def _action(self, verb: str, at: int) -> QPushButton:
        def pressed() -> None:
            message = self.current()
            self._next()
            if message is not None and at < len(message.actions):
                message.actions[at][1]()

        return button(verb, "link", pressed)


class StatusBar(QWidget):
    """Transfer and message at the start, selection at the end."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        surface(self, "side")
        self.transfer = TransferWidget(theme)
        self.message = MessageWidget(theme)
        self.message.shown.connect(self.transfer.set_compact)
        self.selection = ElidedLabel("", "base", "muted", Qt.TextElideMode.ElideLeft)
        self.busy = ElidedLabel("", "base", "muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 7, 14, 7)
        row.setSpacing(16)
        row.addWidget(self.transfer)
        row.addWidget(self.message)
        row.addWidget(self.busy)
        row.addStretch(1)
        row.addWidget(self.selection)
        self._theme = theme
        theme.changed.connect(self._measure)
        self._measure()

    def _measure(self) -> None:
        self.setFixedHeight(self._theme.px(45))
        self.transfer.set_bar(min(self._theme.px(240), self.width() // 6))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A shorter bar in a narrow window."""
        super().resizeEvent(event)
        self._measure()

    def set_selection(self, text: str) -> None:
        """What is selected, or how much there is."""
        self.selection.setText(text)
