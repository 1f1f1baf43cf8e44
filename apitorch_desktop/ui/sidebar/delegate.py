"""Delegate of the tree: paints chevron, key hint, name, count and drop target, and edits names."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QLineEdit, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from apitorch_desktop.ui.sidebar.model import NODE_ROLE, RowType, TreeNode
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import Role

Index = QModelIndex | QPersistentModelIndex
MARGIN = 8


class TreeDelegate(QStyledItemDelegate):
    """Paints rows with the theme; `open_id` is the open training set, `target` the row under a drag."""

    def __init__(self, theme: Theme, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.open_id = ""
        self.target: TreeNode | None = None
        self._icons = {name: theme.icon(name, "muted") for name in ("chevron-right", "chevron-down")}
        self._icons["open"] = theme.icon("chevron-down", "accent_text")
        self._icons["open-collapsed"] = theme.icon("chevron-right", "accent_text")
        self._fonts: dict[Role, QFont] = {}
        self._metrics: dict[Role, QFontMetrics] = {}
        self._update_fonts()
        theme.changed.connect(self._update_fonts)

    def _update_fonts(self) -> None:
        roles: tuple[Role, ...] = ("base", "strong", "tiny", "heading")
        self._fonts = {role: self._theme.font(role) for role in roles}
        self._metrics = {role: QFontMetrics(font) for role, font in self._fonts.items()}

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Return the size of a row: 28 px high, a heading 44 px."""
        node: TreeNode | None = index.data(NODE_ROLE)
        height = 44 if node is not None and node.row_type is RowType.HEADING else 28
        return QSize(self._theme.px(80), self._theme.px(height))

    def chevron_rect(self, row: QRect, direction: Qt.LayoutDirection) -> QRect:
        """Return the place of a training set's chevron in a row, wide enough to be clicked."""
        width = self._theme.px(MARGIN + 20)
        return QStyle.visualRect(direction, row, QRect(row.left(), row.top(), width, row.height()))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        node: TreeNode | None = index.data(NODE_ROLE)
        if node is None:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if node.row_type is RowType.HEADING:
            self._paint_heading(painter, option, node)
        else:
            self._paint_row(painter, option, node)
        painter.restore()

    def _paint_heading(self, painter: QPainter, option: QStyleOptionViewItem, node: TreeNode) -> None:
        px = self._theme.px
        rect: QRect = option.rect.adjusted(px(16), px(14), -px(16), 0)
        painter.setFont(self._fonts["heading"])
        painter.setPen(self._theme.color("muted"))
        start = QStyle.visualAlignment(option.direction, Qt.AlignmentFlag.AlignLeft)
        text = self._metrics["heading"].elidedText(node.text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, start | Qt.AlignmentFlag.AlignVCenter, text)

    def _paint_row(self, painter: QPainter, option: QStyleOptionViewItem, node: TreeNode) -> None:
        theme, px = self._theme, self._theme.px
        whole: QRect = option.rect
        direction: Qt.LayoutDirection = option.direction
        state: QStyle.StateFlag = option.state
        is_open = node.row_type is RowType.TRAINING_SET and node.key == self.open_id
        self._paint_background(painter, whole, node, state, is_open=is_open)

        def mirror(rect: QRect) -> QRect:
            return QStyle.visualRect(direction, whole, rect)

        start = QStyle.visualAlignment(direction, Qt.AlignmentFlag.AlignLeft)
        end = QStyle.visualAlignment(direction, Qt.AlignmentFlag.AlignRight)
        center = Qt.AlignmentFlag.AlignVCenter
        left, right = whole.left() + px(self._indent(node)), whole.right() - px(MARGIN + 8)
        self._paint_decoration(painter, whole, node, mirror, expanded=bool(state & QStyle.StateFlag.State_Open))
        if node.count is not None:
            count = f"{node.count:,}"
            painter.setFont(self._fonts["base"])
            painter.setPen(theme.color("muted"))
            width = self._metrics["base"].horizontalAdvance(count)
            painter.drawText(mirror(QRect(right - width, whole.top(), width, whole.height())), end | center, count)
            right -= width + px(8)
        role: Role = "strong" if is_open else "base"
        painter.setFont(self._fonts[role])
        painter.setPen(theme.color("accent_text" if is_open else "text"))
        place = QRect(left, whole.top(), right - left, whole.height())
        name = self._metrics[role].elidedText(node.text, Qt.TextElideMode.ElideMiddle, place.width())
        painter.drawText(mirror(place), start | center, name)

    def _paint_background(
        self, painter: QPainter, whole: QRect, node: TreeNode, state: QStyle.StateFlag, *, is_open: bool
    ) -> None:
        px = self._theme.px
        pill = QRectF(whole.adjusted(px(MARGIN), 1, -px(MARGIN), -1))
        target = node is self.target
        selected = bool(state & QStyle.StateFlag.State_Selected)
        token = ""
        if target or is_open or selected:
            token = "behind_accent"  # noqa: S105 - a color
        elif state & QStyle.StateFlag.State_MouseOver:
            token = "bar"  # noqa: S105
        if token:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color(token))
            painter.drawRoundedRect(pill, px(7), px(7))
        focused = bool(state & QStyle.StateFlag.State_HasFocus) and bool(state & QStyle.StateFlag.State_Active)
        if target or focused:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._theme.color("accent"), 2 if target else 1))
            painter.drawRoundedRect(pill.adjusted(1, 1, -1, -1), px(6), px(6))

    def _paint_decoration(
        self, painter: QPainter, whole: QRect, node: TreeNode, mirror: Callable[[QRect], QRect], *, expanded: bool
    ) -> None:
        px = self._theme.px
        top = whole.top()
        if node.row_type is RowType.TRAINING_SET:
            rect = QRect(whole.left() + px(MARGIN + 4), top + (whole.height() - px(14)) // 2, px(14), px(14))
            shown = mirror(rect)
            if node.key == self.open_id:
                icon = self._icons["open" if expanded else "open-collapsed"]
            else:
                icon = self._icons["chevron-down" if expanded else "chevron-right"]
            if not expanded and shown != rect:  # the closed chevron points forward
                painter.save()
                painter.translate(shown.center().x() * 2 + 1, 0)
                painter.scale(-1, 1)
                icon.paint(painter, shown)
                painter.restore()
            else:
                icon.paint(painter, shown)
        elif node.row_type is RowType.FINDING and node.icon:
            if node.icon not in self._icons:
                self._icons[node.icon] = self._theme.icon(node.icon, "muted")
            rect = QRect(whole.left() + px(MARGIN + 8), top + (whole.height() - px(15)) // 2, px(15), px(15))
            self._icons[node.icon].paint(painter, mirror(rect))
        elif node.hint:
            rect = mirror(QRect(whole.left() + px(MARGIN + 28), top + (whole.height() - px(18)) // 2, px(18), px(18)))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("bar"))
            painter.drawRoundedRect(QRectF(rect), px(4), px(4))
            painter.setPen(self._theme.color("muted"))
            painter.setFont(self._fonts["tiny"])
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, node.hint)

    @staticmethod
    def _indent(node: TreeNode) -> int:
        if node.row_type is RowType.LABEL:
            return MARGIN + 54
        if node.row_type is RowType.FINDING:
            return MARGIN + 31
        if node.row_type is RowType.DRAFT:
            return MARGIN + (54 if node.parent is not None and node.parent.training_set is not None else 24)
        return MARGIN + 24

    # --- editing

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:
        """Create a line edit over the name."""
        editor = QLineEdit(parent)
        node: TreeNode | None = index.data(NODE_ROLE)
        draft = node is not None and node.row_type is RowType.DRAFT
        of_label = node is not None and (
            node.row_type is RowType.LABEL
            or (draft and node.parent is not None and node.parent.training_set is not None)
        )
        editor.setPlaceholderText("Name of the label" if of_label else "Name of the training set")
        editor.setAccessibleName(editor.placeholderText())
        return editor

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: Index) -> None:
        node: TreeNode | None = index.data(NODE_ROLE)
        px = self._theme.px
        whole: QRect = option.rect
        left = px(self._indent(node) if node is not None else MARGIN) - px(9)
        rect = whole.adjusted(left, -1, -px(MARGIN), 1)
        editor.setGeometry(QStyle.visualRect(option.direction, whole, rect))

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: Index) -> None:
        if isinstance(editor, QLineEdit):
            model.setData(index, editor.text(), Qt.ItemDataRole.EditRole)
