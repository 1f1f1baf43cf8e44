"""Page of the camera: the live picture, a classifier's answer about it, and the labels with their keys."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QHideEvent, QImage, QKeyEvent, QPainter, QPainterPath, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from apitorch_desktop.api.types import Classification
from apitorch_desktop.dataset.batch.classification import probability
from apitorch_desktop.ui.labeling.key_strip import KeyChipRow
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    CentralPage,
    ComboBox,
    ElidedLabel,
    ProgressBar,
    button,
    in_column,
    in_row,
    label,
)

GRACE = 60
"""Milliseconds in which a key that comes down again was held: X repeats a key by letting it come up in between."""
KEYS = "1234567890 "
"""Keys that take a photo: those of labels, and Space for none."""


class LivePicture(QWidget):
    """A picture fitted into the widget, or a sentence in its place; it has a frame while photos are taken."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.image: QImage | None = None
        self.sentence = ""
        self._lit = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_image(self, image: QImage) -> None:
        """Show a picture; it replaces a sentence."""
        self.image, self.sentence = image, ""
        self.setAccessibleName("Picture of the camera")
        self.update()

    def show_sentence(self, text: str) -> None:
        """Show a sentence in place of a picture."""
        self.image, self.sentence = None, text
        self.setAccessibleName(text)
        self.update()

    def set_lit(self, lit: bool) -> None:
        """Frame the picture while photos are taken."""
        self._lit = lit
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self._theme.px(640), self._theme.px(480))

    def paintEvent(self, event: QPaintEvent) -> None:
        px = self._theme.px
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        room = self.rect().toRectF().adjusted(1, 1, -1, -1)
        if self.image is not None:
            size = self.image.size().toSizeF().scaled(room.size(), Qt.AspectRatioMode.KeepAspectRatio)
            room = QRectF(
                room.center().x() - size.width() / 2, room.center().y() - size.height() / 2, size.width(), size.height()
            )
        outline = QPainterPath()
        outline.addRoundedRect(room, px(10), px(10))
        if self.image is None:
            painter.fillPath(outline, self._theme.color("bar"))
            painter.setFont(self._theme.font("base"))
            painter.setPen(self._theme.color("muted"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(room.adjusted(px(32), 0, -px(32), 0), flags, self.sentence)
            return
        painter.save()
        painter.setClipPath(outline)
        painter.drawImage(room, self.image)
        painter.restore()
        if self._lit:
            painter.setPen(self._theme.color("accent"))
            for inset in range(px(3)):
                painter.drawRoundedRect(room.adjusted(inset, inset, -inset, -inset), px(10), px(10))


class CameraPage(CentralPage):
    """Shows what the controller knows, and emits what the user requests by key or pointer."""

    pressed = Signal(str)
    """A key of `KEYS` went down; it may be held."""
    released = Signal()
    """That key came up, or the page lost the keyboard."""
    typed = Signal(str)
    """A letter, with which a label's name begins."""
    label_wanted = Signal(str)
    """One photo for this label."""
    active_changed = Signal(bool)
    """The page came into sight, or left it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._held = 0
        """`Qt.Key` that is held, 0 for none."""
        self._grace = QTimer(self, interval=GRACE, singleShot=True)
        self._grace.timeout.connect(self._release)
        self.camera = ComboBox(theme, "Camera")
        self.classifier = ComboBox(theme, "Classifier")
        self.picture = LivePicture(theme)
        self.answer = ElidedLabel("", "answer")
        self.confidence = label("", "small", "muted")
        self.value = label("", "small", "muted")
        self.bar = ProgressBar(0)
        self.chips = KeyChipRow(theme)
        self.chips.label_wanted.connect(self.label_wanted)
        self.unlabelled = button("Space  no label", "chip", lambda: self.label_wanted.emit(""))
        self.unlabelled.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        text = "A label’s key takes a photo into it; held, several. Type the first letters of another label, or of a new one."
        self.hint = label(text, "small", "muted", wrap=True)
        for choice in (self.camera, self.classifier):
            choice.activated.connect(lambda _index: self.setFocus())
            choice.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToContents)
        px = theme.px
        head = in_row(
            label("Camera", "answer"), self.camera, 1, label("Answers of", "small", "muted"), self.classifier,
            self.close_button, spacing=px(8),
        )  # fmt: skip
        told = in_row(
            (self.answer, 1), (self.confidence, Qt.AlignmentFlag.AlignBottom), (self.value, Qt.AlignmentFlag.AlignBottom),
            spacing=px(8),
        )  # fmt: skip
        below = in_row((self.chips, 1), self.unlabelled, spacing=px(8))
        in_column(
            head, (self.picture, 1), told, self.bar, below, self.hint,
            on=self, margins=(px(16), px(8), px(16), px(12)), spacing=px(8),
        )  # fmt: skip

    # --- display

    def show_answer(self, answer: Classification | None, sentence: str = "") -> None:
        """Show a classifier's answer; without one, a sentence."""
        value = probability(answer.confidence_value) if answer is not None else None
        unknown = answer is not None and answer.none_of_these is True
        self.answer.setText(sentence if answer is None else "None of these" if unknown else answer.label_text)
        self.confidence.setText(str(answer.confidence) if answer is not None and value is not None else "")
        self.value.setText("" if value is None else f"{value:.2f}")
        self.bar.set_share(value or 0)

    def show_labels(self, keys: dict[str, str], *, unlabelled: bool) -> None:
        """Show the labels with their keys; `unlabelled` if a photo may go without one."""
        if [(chip.key, chip.name) for chip in self.chips.chips] != list(keys.items()):
            self.chips.show_keys(keys)
        self.unlabelled.setVisible(unlabelled)

    # --- keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        text = event.text()
        plain = not event.modifiers() & ~(Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier)
        if plain and text and text in KEYS:
            if not event.isAutoRepeat():
                self._press(event.key(), text)
        elif plain and text.isalpha():
            self.typed.emit(text)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == self._held and not event.isAutoRepeat():
            self._grace.start()
        else:
            super().keyReleaseEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._release()
        super().focusOutEvent(event)

    def _press(self, key: int, text: str) -> None:
        if self._grace.isActive() and key != self._held:
            self._release()
        self._grace.stop()
        if not self._held:
            self._held = key
            self.pressed.emit(text)

    def _release(self) -> None:
        self._grace.stop()
        if self._held:
            self._held = 0
            self.released.emit()

    def showEvent(self, event: QShowEvent) -> None:
        self.setFocus()
        self.active_changed.emit(True)

    def hideEvent(self, event: QHideEvent) -> None:
        self._release()
        self.active_changed.emit(False)
