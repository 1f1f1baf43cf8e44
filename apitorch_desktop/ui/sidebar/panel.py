"""Sidebar: training sets and labels, which are drop targets, findings of Review, and the classifier's state."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import (
    QAbstractItemModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import (
    QContextMenuEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
)
from PySide6.QtWidgets import (
    QAbstractItemDelegate,
    QAbstractItemView,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolTip,
    QTreeView,
    QWidget,
)

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Id
from apitorch_desktop.ui.sidebar.classifier_card import ClassifierCard
from apitorch_desktop.ui.sidebar.model import NODE_ROLE, RowType, TreeModel, TreeNode
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.theme.tokens import Role
from apitorch_desktop.ui.widgets import drag_drop
from apitorch_desktop.ui.widgets.controls import button, icon_button, in_column, in_row, label, surface

WhyNot = Callable[[str], str]
"""Returns the reason why an extension is not available on this connection, "" if it is."""


_EXTENSIONS = {RowType.LABEL: "", RowType.TRAINING_SET: "training-sets"}
"""Extension that renaming or deleting a row needs; photos of a label can be copied on any service."""


class TreeView(QTreeView):
    """The tree. Rows are chosen by a click or Enter, named in place, and accept drops."""

    set_chosen = Signal(object)
    label_chosen = Signal(object, str)
    finding_chosen = Signal(str)
    content_dropped = Signal(object, object, object)
    """(DroppedContent, training set id or None, label or None)"""
    images_dropped = Signal(list, str, str)
    """(image ids, training set id, label)"""
    drag_over = Signal(str)
    """The effect of a drop here, in words; "" when the drag has left."""
    delete_requested = Signal(object)
    refused = Signal(str)
    """The reason why a request cannot be fulfilled."""
    page_requested = Signal()
    """The user wants a new training set, which this service creates on its web page only."""

    def __init__(self, theme: Theme, model: TreeModel, why_not: WhyNot) -> None:
        super().__init__()
        self.new_set_page: Callable[[], str] = str
        """Returns the page on which the service creates training sets; "" if unknown or not needed."""
        self.fill_menu: Callable[[QMenu, TreeNode | None], None] = lambda _menu, _node: None
        """Fills the context menu of a row."""
        self._menu_row: TreeNode | None = None
        self._rows = model
        self._why_not = why_not
        self._painter = TreeDelegate(theme, self)
        self.setModel(model)
        self.setItemDelegate(self._painter)
        self.setProperty("surface", "side")
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setIndentation(0)
        self.setUniformRowHeights(False)
        self.setExpandsOnDoubleClick(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.setAcceptDrops(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DropOnly)
        self.setDropIndicatorShown(False)
        self.setAccessibleName("Training sets and labels")
        self._painter.closeEditor.connect(self._editor_closed)
        theme.changed.connect(self.doItemsLayout)

    # --- state and names

    def set_open(self, set_id: Id | None) -> None:
        """Mark the open training set, and expand it."""
        self._painter.open_id = set_id or ""
        node = self._rows.find(set_id) if set_id is not None else None
        if node is not None:
            index = self._rows.index_of(node)
            self.expand(index)
            if not self.currentIndex().isValid() or self._set_of(self.currentIndex()) != node.key:
                self.setCurrentIndex(index)
        self.viewport().update()

    def start_naming(self, parent: TreeNode | None) -> None:
        """Insert a row and edit the name of a new training set, or of a new label of one."""
        reason = self._why_not("labels" if parent is not None else "training-sets")
        if reason and parent is None and self.new_set_page():
            self.page_requested.emit()
            return
        if reason:
            self.refused.emit(reason)
            return
        if parent is not None:
            self.expand(self._rows.index_of(parent))
        index = self._rows.start_draft(parent)
        self.scrollTo(index)
        self.edit(index)

    def rename(self, node: TreeNode) -> None:
        """Edit the name of a row."""
        reason = self._why_not(_EXTENSIONS[node.row_type])
        if reason:
            self.refused.emit(reason)
            return
        self.edit(self._rows.index_of(node))

    # --- mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Expand or collapse by the chevron; choose the row elsewhere."""
        index = self.indexAt(event.position().toPoint())
        node = self._rows.node(index)
        if node is not None and node.row_type is RowType.TRAINING_SET and event.button() == Qt.MouseButton.LeftButton:
            chevron = self._painter.chevron_rect(self.visualRect(index), self.layoutDirection())
            if chevron.contains(event.position().toPoint()):
                self.setExpanded(index, not self.isExpanded(index))
                return
        super().mousePressEvent(event)
        if node is not None and event.button() == Qt.MouseButton.LeftButton:
            self._choose(node)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter chooses a row."""
        node = self._rows.node(self.currentIndex())
        editing = self.state() == QAbstractItemView.State.EditingState
        if node is not None and not editing and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(node)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Open the context menu of a row."""
        keyboard = event.reason() == event.Reason.Keyboard
        index = self.currentIndex() if keyboard else self.indexAt(event.pos())
        node = self._rows.node(index)
        place = self.viewport().mapToGlobal(self.visualRect(index).center()) if keyboard else event.globalPos()
        self.menu_for(node).popup(place)

    def menu_for(self, node: TreeNode | None) -> QMenu:
        """Return the context menu of a row; until it is gone, `row` is that row."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._menu_row = node
        self.fill_menu(menu, node)
        menu.destroyed.connect(lambda: self._forget_menu_row(node))
        return menu

    def row(self) -> TreeNode | None:
        """Return the row of the context menu, else the current row."""
        return self._menu_row or self._rows.node(self.currentIndex())

    def menu_row(self) -> TreeNode | None:
        """Return the row of the context menu that is open, None without one."""
        return self._menu_row

    def _forget_menu_row(self, node: TreeNode | None) -> None:
        if self._menu_row is node:
            self._menu_row = None

    def _choose(self, node: TreeNode) -> None:
        if node.row_type is RowType.TRAINING_SET:
            self.set_chosen.emit(node.set_id)
        elif node.row_type is RowType.LABEL and node.parent is not None:
            self.label_chosen.emit(node.set_id, node.key)
        elif node.row_type is RowType.FINDING:
            self.finding_chosen.emit(node.key)

    def delete(self, node: TreeNode) -> None:
        """Request the deletion of a row."""
        reason = self._why_not(_EXTENSIONS[node.row_type])
        if reason:
            self.refused.emit(reason)
        else:
            self.delete_requested.emit(node)

    def _editor_closed(self, _editor: QWidget, _hint: QAbstractItemDelegate.EndEditHint) -> None:
        self._rows.drop_draft()
        self.setFocus()

    # --- drops

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if drag_drop.accepts(event.mimeData()):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Mark the row under the pointer and report the effect of a drop."""
        if not drag_drop.accepts(event.mimeData()):
            event.ignore()
            return
        node = self._target_at(event.position().toPoint())
        inside = event.mimeData().hasFormat(drag_drop.IDS_TYPE)
        if inside and not self._accepts_photos(node):
            self._aim(None, left=True)
            event.ignore()
            return
        self._aim(node, inside=inside, folder=drag_drop.holds_folder(event.mimeData()))
        event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._aim(None, left=True)

    def dropEvent(self, event: QDropEvent) -> None:
        """Report the dropped content with the row it was dropped on."""
        node = self._target_at(event.position().toPoint())
        content = drag_drop.read(event.mimeData())
        self._aim(None, left=True)
        if not content:
            return
        set_id = self._set_of(self._rows.index_of(node)) if node is not None else None
        name = node.key if node is not None and node.row_type is RowType.LABEL else None
        event.acceptProposedAction()
        if content.image_ids:
            if set_id is not None and name is not None and self._accepts_photos(node):
                self.images_dropped.emit(list(content.image_ids), set_id, name)
        else:
            self.content_dropped.emit(content, set_id, name)

    def _accepts_photos(self, node: TreeNode | None) -> bool:
        """Return True for a label of the open training set: dragged photos can only move among its labels."""
        return (
            node is not None
            and node.row_type is RowType.LABEL
            and node.parent is not None
            and node.set_id == self._painter.open_id
        )

    def _target_at(self, point: QPoint) -> TreeNode | None:
        node = self._rows.node(self.indexAt(point))
        return node if node is not None and node.row_type in (RowType.TRAINING_SET, RowType.LABEL) else None

    def _aim(self, node: TreeNode | None, *, inside: bool = False, folder: bool = False, left: bool = False) -> None:
        if node is not self._painter.target:
            self._painter.target = node
            self.viewport().update()
        if left:
            self.drag_over.emit("")
        elif node is None:
            self.drag_over.emit("Make a new training set of it")
        elif folder:
            target = node.parent.text if node.row_type is RowType.LABEL and node.parent is not None else node.text
            self.drag_over.emit(f"Import the folder into “{target}”: a plan comes first")
        elif node.row_type is RowType.LABEL:
            self.drag_over.emit(f"Move to “{node.text}”" if inside else f"Add to “{node.text}”")
        else:
            self.drag_over.emit(f"Add to “{node.text}”")

    def _set_of(self, index: QModelIndex) -> Id | None:
        node = self._rows.node(index)
        return (node.set_id or None) if node is not None else None


class TreePanel(QWidget):
    """The whole sidebar."""

    def __init__(self, theme: Theme, why_not: WhyNot) -> None:
        super().__init__()
        surface(self, "side")
        self.model = TreeModel(self)
        self.view = TreeView(theme, self.model, why_not)
        self.card = ClassifierCard(theme)
        self.below = button("Review and Trash", "link", self._show_findings)
        self.below.setIcon(theme.icon("chevron-down", "accent_text"))
        self.below.setToolTip("Scroll to what Review found, below the labels")
        self.below.hide()
        self.add = icon_button(theme, "plus", "New training set", tint="muted")
        self.add.clicked.connect(lambda: self.view.start_naming(None))
        head = QHBoxLayout()
        head.setContentsMargins(16, 6, 10, 0)
        title = label("Training sets", "heading", "muted")
        title.setBuddy(self.view)
        head.addWidget(title, 1)
        head.addWidget(self.add)
        column = in_column(
            head, (self.view, 1), (self.below, Qt.AlignmentFlag.AlignHCenter), on=self, margins=(0, 8, 0, 12), spacing=2
        )
        foot = in_row(self.card, margins=(8, 8, 8, 0))
        column.addLayout(foot)
        bar = self.view.verticalScrollBar()
        bar.valueChanged.connect(self._offer_findings)
        bar.rangeChanged.connect(self._offer_findings)

    def _findings(self) -> list[TreeNode]:
        return [node for node in self.model.top() if node.row_type in (RowType.HEADING, RowType.FINDING)]

    def _offer_findings(self) -> None:
        """Offer a way to the findings while they are below the part of the tree that is in sight."""
        found = self._findings()
        row = self.view.visualRect(self.model.index_of(found[0])) if found else QRect()
        self.below.setVisible(row.bottom() > self.view.viewport().height())

    def _show_findings(self) -> None:
        if found := self._findings():
            self.view.scrollTo(self.model.index_of(found[0]), QAbstractItemView.ScrollHint.PositionAtTop)
            self.view.setFocus()


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
        if of_label:
            editor.textEdited.connect(lambda typed: self._show_spelling(editor, typed))
        return editor

    def _show_spelling(self, editor: QLineEdit, typed: str) -> None:
        """Report below the editor how a label is stored that is not spelled that way."""
        stored = snake_case(typed)
        text = f"Stored as “{stored}”." if stored and stored != typed.strip() else ""
        editor.setAccessibleDescription(text)
        QToolTip.showText(editor.mapToGlobal(editor.rect().bottomLeft()), text, editor)

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
