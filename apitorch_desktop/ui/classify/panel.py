"""Classify panel: a photo, the chosen classifiers, and a card for each answer."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QImage,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
)
from PySide6.QtWidgets import QMenu, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from apitorch_desktop.api.types import MAX_CLASSIFIERS, Classifier
from apitorch_desktop.ui.classify.answer_card import AnswerCard
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.controls import (
    ElidedLabel,
    MenuButton,
    button,
    enable_unless,
    icon_button,
    in_column,
    in_row,
    label,
    surface,
)
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout
from apitorch_desktop.ui.widgets.heat_map import HeatMap

_HEIGHT = 236
"""Height of the photo in pixels at 100 %."""
_INVITATION = "Drop a photo here to have it classified, or paste it, or choose a file…"


class PhotoBox(QWidget):
    """The photo, fitted into the box; a click or Enter chooses another."""

    clicked = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._image: QImage | None = None
        self.heat_map: HeatMap | None = None
        """Painted over the photo."""
        self._text = _INVITATION
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Choose a photo…")
        self.show_text(_INVITATION)

    def show_text(self, text: str) -> None:
        """Show a text in place of a photo."""
        self._image, self.heat_map, self._text = None, None, text
        self.setAccessibleName(text)
        self.update()

    def show_image(self, image: QImage, name: str) -> None:
        """Show a photo."""
        self._image, self.heat_map = image, None
        self.setAccessibleName(f"Photo {name}; Enter chooses another")
        self.update()

    def show_heat_map(self, heat_map: HeatMap | None) -> None:
        """Show a heat map over the photo, or none."""
        self.heat_map = heat_map
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self._theme.px(280), self._theme.px(_HEIGHT))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit()
            return
        super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        px = self._theme.px
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        outline = QPainterPath()
        outline.addRoundedRect(self.rect().toRectF().adjusted(1, 1, -1, -1), px(10), px(10))
        painter.fillPath(outline, self._theme.color("bar"))
        if self._image is not None:
            painter.save()
            painter.setClipPath(outline)
            size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
            left, top = (self.width() - size.width()) // 2, (self.height() - size.height()) // 2
            place = self.rect().adjusted(left, top, -left, -top)
            painter.drawImage(place, self._image)
            if self.heat_map is not None:
                self.heat_map.paint(painter, place.toRectF())
            painter.restore()
        else:
            icon = px(28)
            middle = self.height() // 2
            self._theme.icon("drop", "muted").paint(painter, (self.width() - icon) // 2, middle - px(44), icon, icon)
            painter.setFont(self._theme.font("small"))
            painter.setPen(self._theme.color("muted"))
            text_rect = self.rect().adjusted(px(24), middle - px(8), -px(24), -px(8))
            flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
            painter.drawText(text_rect, flags, self._text)
        if self.hasFocus():
            painter.setPen(self._theme.color("accent"))
            painter.drawPath(outline)


class ClassifyPanel(QWidget):
    """Shows photo, classifiers and answers, and emits what the user requests; a drop target of its own."""

    content_given = Signal(object)
    """`DroppedContent` to classify."""
    file_requested = Signal()
    selection_changed = Signal(list)
    """Slugs of the chosen classifiers."""
    message_requested = Signal()
    drop_hint_changed = Signal(str)
    """Text about what a drop here would do, "" when the drag has left."""
    card_created = Signal(object)
    """A new `AnswerCard`."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._classifiers: dict[str, str] = {}
        self._chosen: list[str] = []
        self.cards: dict[str, AnswerCard] = {}
        surface(self, "panel")
        self.setAcceptDrops(True)
        self.photo = PhotoBox(theme)
        self.photo.clicked.connect(self.file_requested)
        self.name = ElidedLabel("", "small", "muted", Qt.TextElideMode.ElideMiddle)
        self.name.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.name.hide()
        self.similar = MenuButton(theme, "Find similar")
        self.similar.setToolTip("Training photos that look like this one")
        self.similar_menu = QMenu(self.similar)
        self.similar.setMenu(self.similar_menu)
        self.similar.hide()
        self.hint = label("", "small", "muted", wrap=True)
        self.hint.hide()
        self.plus = icon_button(theme, "plus", "Choose classifiers")
        self._menu = QMenu(self.plus)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.plus.setMenu(self._menu)
        self.plus.setPopupMode(self.plus.ToolButtonPopupMode.InstantPopup)
        self.message = button("Send a message…", "link", self.message_requested.emit)
        self._lay_out()
        paste = QAction("Paste", self)
        paste.setShortcut(QKeySequence.StandardKey.Paste)
        paste.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        paste.triggered.connect(self.paste)
        self.addAction(paste)
        self._show_chips()

    def _lay_out(self) -> None:
        px = self._theme.px
        head = in_row(label("Classify", "answer"), 1, label("drop a photo, a folder or an address", "small", "muted"))
        self._chip_row = QWidget()
        self._chips = FlowLayout(self._chip_row)
        self._answers = QVBoxLayout()
        self._answers.setSpacing(px(12))
        foot = in_row(1, self.message)
        inner = QWidget()
        surface(inner, "panel")
        in_column(
            head,
            self.photo,
            self.name,
            (self.similar, Qt.AlignmentFlag.AlignHCenter),
            self._chip_row,
            self.hint,
            self._answers,
            1,
            foot,
            on=inner,
            margins=(px(16), px(12), px(16), px(12)),
            spacing=px(12),
        )
        area = QScrollArea(widgetResizable=True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        in_column(area, on=self, margins=0)

    # --- classifiers

    def set_classifiers(self, classifiers: Sequence[Classifier], chosen: Sequence[str]) -> None:
        """Offer classifiers, with the slugs in `chosen` ticked as far as they exist."""
        self._classifiers = {str(found.slug): found.name for found in classifiers if isinstance(found.slug, str)}
        self._chosen = [slug for slug in chosen if slug in self._classifiers][:MAX_CLASSIFIERS]
        self._show_chips()

    @property
    def chosen(self) -> list[str]:
        """Slugs of the chosen classifiers, in order."""
        return list(self._chosen)

    def _fill_menu(self) -> None:
        self._menu.clear()
        full = len(self._chosen) >= MAX_CLASSIFIERS
        for slug, name in self._classifiers.items():
            text = slug if slug == name else f"{name}  ({slug})"
            action = self._menu.addAction(text.replace("&", "&&"))
            action.setCheckable(True)
            action.setChecked(slug in self._chosen)
            action.setEnabled(not full or slug in self._chosen)
            action.toggled.connect(lambda on, slug=slug: self._choose(slug, on=on))
        if full:
            self._menu.addSeparator()
            self._menu.addAction(f"At most {MAX_CLASSIFIERS} at a time").setEnabled(False)
        if not self._classifiers:
            self._menu.addAction("There is none yet").setEnabled(False)

    def _choose(self, slug: str, *, on: bool) -> None:
        if on == (slug in self._chosen):
            return
        self._chosen = [*self._chosen, slug] if on else [other for other in self._chosen if other != slug]
        self._show_chips()
        self.selection_changed.emit(self.chosen)

    def _show_chips(self) -> None:
        while (item := self._chips.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None and widget is not self.plus:
                widget.deleteLater()
        for slug in self._chosen:
            chip = QPushButton(slug)
            chip.setProperty("kind", "chip")
            chip.setCheckable(True)
            chip.setChecked(True)
            chip.setToolTip(f"{self._classifiers.get(slug, slug)}: click to remove it")
            chip.clicked.connect(lambda _checked=False, slug=slug: self._choose(slug, on=False))
            self._chips.addWidget(chip)
            chip.show()
        self._chips.addWidget(self.plus)
        self.plus.show()
        self._chip_row.updateGeometry()

    # --- the photo and its answers

    def show_photo_name(self, name: str) -> None:
        """Show the name of a photo that is being opened."""
        self.name.setText(name)
        self.name.setVisible(bool(name))
        self.photo.show_text("Opening…")

    def show_hint(self, text: str) -> None:
        """Show below the classifiers why none is asked, or "" to remove that."""
        self.hint.setText(text)
        self.hint.setVisible(bool(text))

    def expect(self, slugs: Sequence[str]) -> None:
        """Show cards for these classifiers, each at work, and remove all others."""
        for slug in [slug for slug in self.cards if slug not in slugs]:
            self.cards.pop(slug).deleteLater()
        for slug in slugs:
            if slug in self.cards:
                self.cards[slug].show_working()
            else:
                card = self.cards[slug] = AnswerCard(self._theme, slug, self._classifiers.get(slug, ""))
                self.card_created.emit(card)
            self._answers.removeWidget(self.cards[slug])
            self._answers.addWidget(self.cards[slug])

    def offer_message(self, reason: str, *, readable: bool) -> None:
        """Disable *Send a message…* with a reason, or enable it with ""; hide it where nobody would read one."""
        self.message.setVisible(readable)
        enable_unless(self.message, reason)

    def paste(self) -> None:
        """Classify the content of the clipboard."""
        from PySide6.QtGui import QGuiApplication

        if content := drag_drop.read(QGuiApplication.clipboard().mimeData()):
            self.content_given.emit(content)

    # --- drops

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if drag_drop.accepts(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.drop_hint_changed.emit("Drop to classify")

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.drop_hint_changed.emit("Drop to classify")

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.drop_hint_changed.emit("")

    def dropEvent(self, event: QDropEvent) -> None:
        self.drop_hint_changed.emit("")
        if content := drag_drop.read(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.content_given.emit(content)
