"""Registry of the window's actions, from which menus, shortcuts and the sheet of keys are made, and the command palette."""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QWidget,
)

from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import Card, ElidedLabel, in_column, label, native_keys


def _available() -> str:
    return ""


DELETE_KEYS = "Delete, Ctrl+Backspace" if sys.platform == "darwin" else "Delete"
"""Keys that delete what is selected: few keyboards of a Mac have Delete, and programs there use Command with Backspace."""


def always() -> bool:
    """Let an action apply whenever its widget has the focus (`ActionSpec.applies`)."""
    return True


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action of the window."""

    id: str
    """`menu.verb`, as in "edit.undo"."""
    text: str | Callable[[], str]
    """Text in menus; a callable where it depends on the selection."""
    run: Callable[[], object] = _available
    keys: str = ""
    """Key sequences as `QKeySequence` parses them, separated by ", "."""
    help: str = ""
    """Text on the sheet of keys; an action without one is not on it."""
    section: str = "Everywhere"
    """Section of the sheet of keys."""
    icon: str = ""
    """Name of the icon, shown by the command palette."""
    reason: Callable[[], str] = _available
    """Returns why the action is unavailable, "" if it is available."""
    looks_again: bool = False
    """True where `run` finds out itself whether it is available: the reason is what was known last, for menus."""
    checked: Callable[[], bool] | None = None
    """Returns the state that menus show a check mark for; None for an action without one."""
    within: tuple[QWidget, ...] = ()
    """Widgets in which the keys work, children included; empty for the whole window."""
    submenu: Callable[[QMenu], object] | None = None
    """Fills a submenu whenever it opens, in place of `run`; from the palette it opens as a menu of its own."""
    letters: bool = False
    """True if its keys may be single letters: those of `within` begin no label's name."""
    applies: Callable[[], bool] | None = None
    """Returns whether the keys mean this action. They work while a widget of `within` has the focus itself, not a line
    for a name in it, and may be those of another action of the widget that applies when this one does not."""


@dataclass(frozen=True, slots=True)
class ActionEntry:
    """An action as it is listed: its current text, its keys as the desktop writes them, and why it is unavailable."""

    id: str
    text: str
    keys: str
    reason: str
    icon: str
    local: bool
    """True if its keys work in some widgets alone, so that they can be plain ones as Delete and Return."""
    letters: bool
    """True if its keys can be single letters."""


class ActionRegistry(QObject):
    """Holds one `QAction` for each `ActionSpec`.

    An action is greyed out, with the reason as its tool tip, only while a menu shows it: its keys work at all times, so
    that pressing them shows the reason too.
    """

    unavailable = Signal(str)
    """An unavailable action was triggered; the reason."""
    keys_changed = Signal(str)
    """The keys of an action were changed; its id."""

    def __init__(self, window: QWidget, theme: Theme, chosen_keys: MutableMapping[str, str] | None = None) -> None:
        """`chosen_keys`: id → keys that the user chose in place of those of the `ActionSpec`."""
        super().__init__(window)
        self._window = window
        self._theme = theme
        self._chosen_keys = {} if chosen_keys is None else chosen_keys
        self._actions: dict[str, tuple[ActionSpec, QAction]] = {}
        self._submenus: dict[str, QMenu] = {}
        self._buttons: list[tuple[str, QAbstractButton, str]] = []
        self._shortcuts: list[QShortcut] = []
        """Keys of the actions with `applies`."""

    def add(self, *specs: ActionSpec) -> None:
        """Create the actions and bind their keys."""
        for spec in specs:
            action = QAction(_text(spec), self)
            action.setObjectName(spec.id)
            action.setShortcuts([QKeySequence(keys) for keys in _sequences(self.keys(spec.id, spec))])
            if spec.submenu is not None:
                menu = self._submenus[spec.id] = QMenu(self._window)
                menu.aboutToShow.connect(lambda spec=spec: self._run(spec))
                action.setMenu(menu)
            if spec.icon:
                action.setIcon(self._theme.icon(spec.icon))
                action.setIconVisibleInMenu(False)
            action.setCheckable(spec.checked is not None)
            if spec.applies is not None:
                action.setShortcutContext(
                    Qt.ShortcutContext.WidgetShortcut
                )  # for menus to show: `_bind_keys` binds them
            elif spec.within:
                action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            if spec.applies is None:
                for widget in spec.within or (self._window,):
                    widget.addAction(action)
            act = self._run if spec.submenu is None else self._open_submenu
            action.triggered.connect(lambda _checked=False, spec=spec, act=act: act(spec))
            self._actions[spec.id] = (spec, action)
        if any(spec.applies is not None for spec in specs):
            self._bind_keys()

    def extend(self, widget: QWidget, *action_ids: str) -> None:
        """Let the keys of actions with `applies` work in another widget too."""
        for action_id in action_ids:
            spec, action = self._actions[action_id]
            self._actions[action_id] = (replace(spec, within=(*spec.within, widget)), action)
        self._bind_keys()

    def _bind_keys(self) -> None:
        """Bind the keys of the actions with `applies`: one shortcut for all that have a sequence in a widget."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()
        users: dict[tuple[QWidget, str], list[ActionSpec]] = {}
        for spec, _ in self._actions.values():
            for widget in spec.within if spec.applies is not None else ():
                for sequence in _sequences(self.keys(spec.id)):
                    users.setdefault((widget, QKeySequence(sequence).toString()), []).append(spec)
        for (widget, sequence), specs in users.items():
            shortcut = QShortcut(QKeySequence(sequence), widget)
            if isinstance(widget, QAbstractScrollArea):  # a line for a name in it keeps its keys
                shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            else:
                shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda specs=specs: self._run_first(specs))
            self._shortcuts.append(shortcut)

    def _run_first(self, specs: list[ActionSpec]) -> None:
        for spec in specs:
            if spec.applies is not None and spec.applies():
                self._run(spec)
                return

    def trigger(self, action_id: str) -> None:
        """Run an action, or report why it is unavailable."""
        self._actions[action_id][1].trigger()

    def reason(self, action_id: str) -> str:
        """Return why an action is unavailable, "" if it is available."""
        return self._actions[action_id][0].reason()

    def entries(self) -> list[ActionEntry]:
        """Return the current state of all actions, in the order in which they were added."""
        return [
            ActionEntry(
                spec.id,
                plain_text(_text(spec)),
                native_keys(self.keys(spec.id)),
                spec.reason(),
                spec.icon,
                bool(spec.within),
                spec.letters,
            )
            for spec, _ in self._actions.values()
        ]

    # --- keys

    def keys(self, action_id: str, spec: ActionSpec | None = None) -> str:
        """Return the key sequences of an action, separated by ", ": those that the user chose, else its own."""
        own = spec if spec is not None else self._actions[action_id][0]
        return self._chosen_keys.get(action_id, own.keys)

    def own_keys(self, action_id: str) -> str:
        """Return the keys of an action before the user changed them."""
        return self._actions[action_id][0].keys

    def set_keys(self, action_id: str, keys: str | None) -> None:
        """Change the keys of an action, "" for none; None restores its own."""
        spec, action = self._actions[action_id]
        if keys is None or keys == spec.keys:
            self._chosen_keys.pop(action_id, None)
        else:
            self._chosen_keys[action_id] = keys
        action.setShortcuts([QKeySequence(part) for part in _sequences(self.keys(action_id))])
        if spec.applies is not None:
            self._bind_keys()
        for button_id, button, tip in self._buttons:
            if button_id == action_id:
                self._show_tip(button_id, button, tip)
        self.keys_changed.emit(action_id)

    def using(self, keys: str, *, besides: str = "") -> list[str]:
        """Return the ids of the other actions that use one of these key sequences where the action `besides` does."""
        wanted = {QKeySequence(part).toString() for part in _sequences(keys)}
        own = self._actions[besides][0] if besides else None
        return [
            action_id
            for action_id, (spec, _) in self._actions.items()
            if action_id != besides
            and (own is None or _clash(own, spec))
            and wanted & {QKeySequence(part).toString() for part in _sequences(self.keys(action_id))}
        ]

    def text(self, action_id: str) -> str:
        """Return the current text of an action, without the dots of one that asks for more."""
        return plain_text(_text(self._actions[action_id][0]))

    # --- buttons and menus

    def bind_button(self, button: QAbstractButton, action_id: str, tip: str, *, runs: bool = True) -> None:
        """Let a button run an action, unless it does that itself; its tool tip names the keys."""
        if runs:
            button.clicked.connect(lambda _checked=False: self.trigger(action_id))
        self._buttons.append((action_id, button, tip))
        self._show_tip(action_id, button, tip)

    def _show_tip(self, action_id: str, button: QAbstractButton, tip: str) -> None:
        keys = native_keys(self.keys(action_id))
        button.setToolTip(f"{tip} ({keys})" if keys else tip)

    def fill(self, menu: QMenu, *action_ids: str, icons: bool = False) -> None:
        """Add actions to a menu; "" is a separator. `icons`: of a menu whose actions all have one, else the few among many
        texts would be a ragged column.
        """
        shown = [self._actions[action_id] for action_id in action_ids if action_id]
        for action_id in action_ids:
            if action_id:
                menu.addAction(self._actions[action_id][1])
            else:
                menu.addSeparator()
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(lambda: self._show_reasons(shown, icons=icons))
        menu.aboutToHide.connect(lambda: self._enable(shown))

    def key_sections(self) -> dict[str, list[tuple[str, str]]]:
        """Return the rows of the sheet of keys: section → (keys, text)."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for spec, _ in self._actions.values():
            keys = self.keys(spec.id)
            if keys and (spec.help or spec.id in self._chosen_keys):
                sections.setdefault(spec.section, []).append((keys, spec.help or plain_text(_text(spec))))
        return sections

    def _open_submenu(self, spec: ActionSpec) -> None:
        if reason := spec.reason():
            self.unavailable.emit(reason)
        else:
            self._submenus[spec.id].popup(self._window.mapToGlobal(self._window.rect().center()))

    def _run(self, spec: ActionSpec) -> None:
        if not spec.looks_again and (reason := spec.reason()):
            self.unavailable.emit(reason)
        elif spec.submenu is not None:
            self._submenus[spec.id].clear()
            spec.submenu(self._submenus[spec.id])
        else:
            spec.run()

    def _enable(self, shown: list[tuple[ActionSpec, QAction]]) -> None:
        for _, action in shown:
            action.setEnabled(True)

    def _show_reasons(self, shown: list[tuple[ActionSpec, QAction]], *, icons: bool) -> None:
        for spec, action in shown:
            reason = spec.reason()
            action.setIconVisibleInMenu(icons)
            action.setText(_text(spec))
            if spec.checked is not None:
                action.setChecked(spec.checked())
            action.setEnabled(not reason)
            action.setToolTip(reason or _text(spec))


def _clash(one: ActionSpec, other: ActionSpec) -> bool:
    """Return whether the same keys for two actions would be ambiguous."""
    share = all(spec.applies not in (None, always) for spec in (one, other))
    meet = not one.within or not other.within or not set(one.within).isdisjoint(other.within)
    return meet and not share


def _text(spec: ActionSpec) -> str:
    return spec.text if isinstance(spec.text, str) else spec.text()


def plain_text(text: str) -> str:
    """Return the text of a menu outside a menu: without the dots of what asks for more, and with single ampersands."""
    return text.rstrip("…").replace("&&", "&")


def _sequences(keys: str) -> list[str]:
    return keys.split(", ") if keys else []


_MAX_ROWS = 10
_ROW = 30
_ID = Qt.ItemDataRole.UserRole


def rank(typed: str, text: str) -> int | None:
    """Return how well a text matches the letters typed, 0 for best; None if it does not."""
    wanted, text = typed.lower().strip(), text.lower()
    if text.startswith(wanted):
        return 0
    if all(any(word.startswith(part) for word in text.split()) for part in wanted.split()):
        return 1
    if wanted in text:
        return 2
    letters = iter(text)
    return 3 if all(letter in letters for letter in wanted.replace(" ", "")) else None


class CommandPalette(QDialog):
    """A search field over a list of actions; unavailable ones are listed with the reason."""

    def __init__(self, registry: ActionRegistry, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._registry = registry
        self._theme = theme
        self._entries = registry.entries()
        self.setWindowTitle("Find an action")
        self.setWindowFlag(Qt.WindowType.FramelessWindowHint)
        self.line = QLineEdit()
        self.line.setPlaceholderText("Find an action")
        self.line.setAccessibleName("Find an action")
        self.line.setClearButtonEnabled(True)
        self.line.textChanged.connect(self._show)
        self.line.returnPressed.connect(self._run_current)
        self.list = QListWidget()
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setProperty("kind", "choices")
        self.list.setAccessibleName("Actions")
        self.list.itemClicked.connect(self._run)
        card = Card(10, 6)
        card.rows.addWidget(self.line)
        card.rows.addWidget(self.list)
        in_column(card, on=self, margins=0)
        px = theme.px
        width = min(px(560), parent.width() - px(24))
        self.list.setFixedHeight(_MAX_ROWS * px(_ROW))
        self.resize(width, self.sizeHint().height())
        self.move(parent.mapToGlobal(QPoint((parent.width() - width) // 2, px(60))))
        self._show()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move in the list by Up and Down."""
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and (count := self.list.count()):
            step = -1 if event.key() == Qt.Key.Key_Up else 1
            self.list.setCurrentRow((self.list.currentRow() + step) % count)
        else:
            super().keyPressEvent(event)

    def _show(self) -> None:
        typed = self.line.text()
        ranked = [(found, entry) for entry in self._entries if (found := rank(typed, entry.text)) is not None]
        self.list.clear()
        for _, entry in sorted(ranked, key=lambda pair: (pair[0], bool(pair[1].reason))):
            item = QListWidgetItem()
            item.setData(_ID, entry.id)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, " ".join((entry.text, entry.keys, entry.reason)).strip())
            item.setSizeHint(QSize(0, self._theme.px(_ROW)))
            self.list.addItem(item)
            self.list.setItemWidget(item, self._row(entry))
        self.list.setCurrentRow(0)

    def _row(self, entry: ActionEntry) -> QWidget:
        row = QWidget()
        row.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        columns = QHBoxLayout(row)
        columns.setContentsMargins(8, 0, 8, 0)
        size = self._theme.px(16)
        icon = QLabel()
        icon.setFixedWidth(size)
        if entry.icon:
            icon.setPixmap(self._theme.icon(entry.icon, "muted").pixmap(QSize(size, size), self.devicePixelRatioF()))
        columns.addWidget(icon)
        columns.addWidget(ElidedLabel(entry.text, "base", "muted" if entry.reason else ""))
        columns.addStretch(1)
        columns.addWidget(ElidedLabel(entry.reason, "small", "muted"))
        columns.addWidget(label(entry.keys, "small", "muted"))
        return row

    def _run_current(self) -> None:
        if (item := self.list.currentItem()) is not None:
            self._run(item)

    def _run(self, item: QListWidgetItem) -> None:
        action_id, registry = str(item.data(_ID)), self._registry
        self.accept()
        QTimer.singleShot(0, registry, lambda: registry.trigger(action_id))  # once the focus is back in the window
