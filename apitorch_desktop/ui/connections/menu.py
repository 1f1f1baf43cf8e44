"""Connection menu of the toolbar, and the dialog in which a connection is added or changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import TypeVar

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QFormLayout,
    QLineEdit,
    QMenu,
    QToolButton,
    QWidget,
)

from apitorch_desktop.api.errors import ConnectionFailed, RateLimited, ServerError, TimedOut, WrongKey
from apitorch_desktop.api.types import Ping
from apitorch_desktop.dataset.connections.api_keys import ApiKeyStore, FoundKey
from apitorch_desktop.dataset.connections.store import Connection, ConnectionStore, check
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.keyring_wait import WAITING, keyring_wait
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.ui.theme.icons import dot
from apitorch_desktop.ui.theme.theme import Scheme, Theme
from apitorch_desktop.ui.widgets.controls import ProgressBar, button, in_column, in_row, label, set_property
from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.text import plural

_DOTS = {
    ConnectionState.STARTING: "warn",
    ConnectionState.READY: "good",
    ConnectionState.AWAY: "bad",
    ConnectionState.REFUSED: "bad",
}
SCHEMES: tuple[tuple[Scheme, str], ...] = (("system", "Like the system"), ("light", "Light"), ("dark", "Dark"))
HERE = "On this computer"
FROM_ENVIRONMENT_WITH_KEY = "APITORCH_BASE_URL and APITORCH_API_KEY set this connection and override the settings here."
FROM_ENVIRONMENT = "APITORCH_BASE_URL sets this connection and overrides the settings here."


class ConnectionMenu(QObject):
    """Fills the menu when it opens, and updates its button."""

    chosen = Signal(str)
    """The id of the connection to open."""
    saved = Signal(str)
    """The id of a connection that was added or changed, to be opened with its new address and key."""
    display_changed = Signal(str, str, str, str, str)
    """The button's name, dot, tool tip, color of the connection, and icon of something unusual."""
    message_wanted = Signal()
    retry_wanted = Signal()

    def __init__(self, session: Session, menu: QMenu, theme: Theme, settings: Settings, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._menu = menu
        self._theme = theme
        self._settings = settings
        self._window = window
        menu.aboutToShow.connect(self._fill)
        session.connection_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Emit the current state for the button."""
        session = self._session
        connection = session.connection
        name = _name(connection) if connection is not None else HERE
        words = f"{name}: {session.state_text}" if session.state_text else f"{name}: connected."
        mark, more = self._unusual()
        color = connection.color if connection is not None else ""
        self.display_changed.emit(name, _DOTS[session.state], f"{words} {more}".strip(), color, mark)

    def _unusual(self) -> tuple[str, str]:
        """Return the icon and the text of something unusual about address or key; ("", "") for nothing."""
        connection, key = self._session.connection, self._session.key
        kept = key.location if key is not None else ""
        if connection is not None and connection.from_environment:
            return "terminal", FROM_ENVIRONMENT_WITH_KEY if kept == "environment" else FROM_ENVIRONMENT
        if key is not None and kept == "this run":
            return "key", f"{key.message} Then it has to be entered again."
        return "", ""

    def _fill(self) -> None:
        menu = self._menu
        menu.clear()
        menu.setToolTipsVisible(True)
        stores = self._session.stores
        if stores is not None:
            self._add_connections(menu, stores.connections.all())
            menu.addSeparator()
            current = self._session.connection
            mark, more = self._unusual()
            if mark == "terminal":
                self._add(menu, "Set by environment variables", lambda: None, more)
            elif mark == "key":
                self._add(menu, "Keep the key in the keyring", self._keep_key)
                menu.actions()[-1].setToolTip(more)
            if mark:
                menu.actions()[-1].setIcon(self._theme.icon(mark, "warn"))
            if current is not None and not current.embedded:
                reason = more if current.from_environment else ""
                self._add(menu, f"Change “{current.name}”…", lambda: self.open_dialog(current), reason)
            self._add(menu, "Add a connection…", lambda: self.open_dialog(None))
        if self._session.state in (ConnectionState.AWAY, ConnectionState.REFUSED):
            self._add(menu, "Try again now", self.retry_wanted.emit)
        connection = self._session.connection
        if connection is not None and not connection.embedded:  # nobody would read one on this computer
            reason = self._session.unavailable_reason("")
            self._add(menu, "Send a message to the service…", self.message_wanted.emit, reason)
        menu.addSeparator()
        look = menu.addMenu("Appearance")
        group = QActionGroup(look)
        for scheme, words in SCHEMES:
            action = QAction(words, group, checkable=True, checked=scheme == self._settings.scheme)
            action.triggered.connect(lambda _checked=False, scheme=scheme: self._choose_scheme(scheme))
            look.addAction(action)

    def _keep_key(self) -> None:
        """Store the key in the keyring again, which may be unlocked by now."""
        session = self._session
        stores, connection, key = session.stores, session.connection, session.key
        if stores is None or connection is None or key is None:
            return
        keys = stores.keys

        def kept(found: FoundKey) -> None:
            session.message_expired.emit("keyring wait")
            session.set_api_key(found)
            text = found.message or "The key is in the keyring now."
            session.show_message(text, "warn" if found.message else "muted", "keyring")

        session.run(
            "Keeping the key",
            lambda context: keys.store(connection, key.key, keyring_wait(context)),
            kept,
            failed=session.show_error,
            progress=session.show_keyring_wait,
            lane=Lane.KEYRING,
        )

    def _add_connections(self, menu: QMenu, connections: list[Connection]) -> None:
        group = QActionGroup(menu)
        current = self._session.connection
        for connection in connections:
            here = current is not None and connection.id == current.id
            action = QAction(_name(connection), group, checkable=True, checked=here)
            action.setIcon(dot(self._theme.px(12), connection.color))
            action.setIconVisibleInMenu(True)
            if here:  # the dot takes the place of the check mark
                bold = action.font()
                bold.setBold(True)
                action.setFont(bold)
            action.setToolTip(connection.base_url)
            action.triggered.connect(lambda _checked=False, one=connection.id: self.chosen.emit(one))
            menu.addAction(action)

    def _add(self, menu: QMenu, text: str, act: Callable[[], object], reason: str = "") -> None:
        action = QAction(text, menu)
        action.setEnabled(not reason)
        action.setToolTip(reason)
        action.triggered.connect(lambda _checked=False: act())
        menu.addAction(action)

    def _choose_scheme(self, scheme: Scheme) -> None:
        self._settings.scheme = scheme
        self._settings.save()
        self._theme.set_scheme(scheme)

    def open_dialog(self, connection: Connection | None) -> None:
        """Open the dialog for a new connection, or for a change of one."""

        session = self._session
        stores = session.stores
        if stores is None:
            return
        dialog = ConnectionDialog(
            self._theme,
            session.tasks,
            stores.connections,
            stores.keys,
            connection,
            parent=self._window,
            waiting=stores.local.count,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.saved.connect(lambda connection: self.saved.emit(connection.id))
        dialog.removed.connect(self._removed)
        dialog.open()

    def _removed(self, connection: Connection) -> None:
        """Remove the cached data of a removed connection too, and open another."""
        session = self._session
        stores = session.stores
        if stores is None:
            return
        session.run(
            "Removing cached data",
            lambda _context: stores.cache.forget_connection(connection.id),
            failed=session.show_error,
            lane=Lane.DISK,
            owner=self,
        )
        self.chosen.emit(stores.connections.current.id)


def _name(connection: Connection) -> str:
    return HERE if connection.embedded else connection.name


T = TypeVar("T")

ASKING = "Asking the service…"

_SWATCHES = {
    "Orange": "#d9480f",
    "Blue": "#1971c2",
    "Green": "#2f9e44",
    "Purple": "#9c36b5",
    "Teal": "#0c8599",
    "Indigo": "#5f3dc4",
    "Crimson": "#a61e4d",
}


class _Swatches(QWidget):
    """A choice of named colors."""

    def __init__(self, theme: Theme, chosen: str) -> None:
        super().__init__()
        self._group = QButtonGroup(self)
        row = in_row(on=self, margins=0, spacing=4)
        other = {} if not chosen or chosen in _SWATCHES.values() else {"As it is": chosen}
        for name, color in (_SWATCHES | other).items():
            swatch = QToolButton()
            swatch.setCheckable(True)
            swatch.setToolTip(name)
            swatch.setAccessibleName(f"Color {name.lower()}")
            swatch.setIcon(dot(theme.px(16), color, checkable=True))
            swatch.setIconSize(QSize(theme.px(16), theme.px(16)))
            swatch.setProperty("kind", "quiet")
            swatch.setProperty("color", color)
            swatch.setChecked(color == chosen)
            self._group.addButton(swatch)
            row.addWidget(swatch)
        row.addStretch(1)

    def color(self) -> str:
        """Return the chosen color as `#rrggbb`, "" for none."""
        chosen = self._group.checkedButton()
        return str(chosen.property("color")) if chosen else ""


class ConnectionDialog(QDialog):
    """Adds or changes a connection. Nothing is kept before the service has accepted the key.

    If the service cannot be reached, or fails, the connection can be kept all the same; a refused key cannot.
    """

    saved = Signal(object)
    """The `Connection` that was added or changed; its key is kept."""
    removed = Signal(object)
    """The `Connection` that was removed, with its key."""

    def __init__(
        self,
        theme: Theme,
        tasks: TaskRunner,
        connections: ConnectionStore,
        keys: ApiKeyStore,
        connection: Connection | None = None,
        parent: QWidget | None = None,
        *,
        waiting: Callable[[str], int] = lambda _connection_id: 0,
    ) -> None:
        """`waiting` returns the number of photos that are on this machine only; it is called on a lane."""
        super().__init__(parent)
        self._waiting = waiting
        self._tasks = tasks
        self._connections = connections
        self._keys = keys
        self._connection = connection
        self._task: Task | None = None
        self._stop_waiting: Event | None = None
        self._unreachable = False
        self.setWindowTitle("Change the connection" if connection else "Add a connection")
        self.name = QLineEdit(connection.name if connection else "", placeholderText="The address, if left empty")
        self.address = QLineEdit(connection.base_url if connection else "", placeholderText="https://www.apitorch.com")
        self.key = QLineEdit(echoMode=QLineEdit.EchoMode.Password)
        self.key.setPlaceholderText("Leave empty to keep the key as it is" if connection else "42 characters")
        self._show = self.key.addAction(theme.icon("eye", "muted"), QLineEdit.ActionPosition.TrailingPosition)
        self._show.setCheckable(True)
        self._show.setToolTip("Show the key")
        self._show.toggled.connect(self._reveal)
        self.color = _Swatches(theme, connection.color if connection else "")
        self._busy = ProgressBar(None, thin=True)
        self.answer = label("", "small", wrap=True)
        self.test = button("Test", "", self._test)
        self.remove = button("Remove", "", self._remove)
        self.remove.setVisible(connection is not None)
        self.remove.setToolTip("Forget this connection and its key; the service itself is not touched")
        self.cancel = button("Cancel", "", self.reject)
        self.save = button("Save", "primary", self._save)
        self.save.setDefault(True)
        self._lay_out(theme)
        for field in (self.address, self.key):
            field.textChanged.connect(self._edited)
        self._edited()

    def _lay_out(self, theme: Theme) -> None:
        form = QFormLayout()
        form.setVerticalSpacing(theme.px(8))
        form.addRow("&Address", self.address)
        form.addRow("API &key", self.key)
        form.addRow("&Name", self.name)
        form.addRow("Color", self.color)
        self.answer.setMinimumHeight(theme.px(36))
        self.answer.setAlignment(Qt.AlignmentFlag.AlignTop)
        hint = label("The key is kept in this computer’s keyring, never in a file.", "small", "muted", wrap=True)
        verbs = in_row(self.test, self.remove, 1, self.cancel, self.save)
        in_column(form, hint, self._busy, self.answer, verbs, on=self, margins=theme.px(16), spacing=theme.px(8))
        self.resize(theme.px(480), self.sizeHint().height())
        self._set_busy(busy=False)
        self.address.setFocus()

    def reject(self) -> None:
        """Close without keeping anything; a running test is cancelled. A wait for the keyring is stopped first."""
        if self._stop_waiting is not None:
            self._stop_waiting.set()
            return
        if self._task is not None:
            self._task.cancel()
        super().reject()

    def _reveal(self, shown: bool) -> None:
        self.key.setEchoMode(QLineEdit.EchoMode.Normal if shown else QLineEdit.EchoMode.Password)

    def _edited(self) -> None:
        ready = bool(self.address.text().strip()) and bool(self.key.text().strip() or self._connection)
        for control in (self.test, self.save):
            control.setEnabled(ready)
            control.setToolTip("" if ready else "Enter the address and the key first")
        self._unreachable = False
        self.save.setText("Save")
        self._show_message("", "muted")

    def _show_message(self, text: str, tone: str) -> None:
        self.answer.setText(text)
        set_property(self.answer, "tone", tone)

    def _set_busy(self, *, busy: bool) -> None:
        policy = self._busy.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._busy.setSizePolicy(policy)
        self._busy.setVisible(busy)
        for control in (self.address, self.key, self.name, self.color, self.remove):
            control.setEnabled(not busy)
        if busy:
            self.test.setEnabled(False)
            self.save.setEnabled(False)
        else:
            self._stop_waiting = None
            self.cancel.setText("Cancel")

    def _on_keyring_wait(self, stop: Event | None) -> None:
        """Offer to stop the wait for the keyring; None: it has answered, and the service is asked."""
        self._stop_waiting = stop
        self.cancel.setText("Stop waiting" if stop is not None else "Cancel")
        self._show_message(WAITING if stop is not None else ASKING, "muted")

    # --- test

    def _test(self) -> None:
        self._check(self._accepted)

    def _check(self, accepted: Callable[[Ping], object]) -> None:
        address, typed, known = self.address.text(), self.key.text(), self._known()
        keys = self._keys

        def job(context: JobContext) -> Ping:
            key = typed
            if not typed and known:
                found = keys.find(known, keyring_wait(context))
                if found.problem and not found.key:
                    raise WrongKey(f"The key could not be read. {found.message}", advice="")
                key = found.key
                context.post(None)
            return check(address, key)

        self._set_busy(busy=True)
        self._show_message(ASKING, "muted")
        self._run(Lane.INTERACTIVE, job, accepted, "Test the connection")

    def _run(self, lane: Lane, job: Callable[[JobContext], T], done: Callable[[T], object], title: str) -> None:
        self._task = self._tasks.run(
            lane, job, done=done, failed=self._refused, progress=self._on_keyring_wait, owner=self, title=title
        )

    def _known(self) -> Connection | None:
        """Return the connection as it was kept, if its key belongs to the address entered."""
        kept = self._connection
        return kept if kept is not None and kept.base_url == self.address.text().strip() else None

    def _accepted(self, ping: Ping) -> None:
        self._set_busy(busy=False)
        self._edited()
        extensions = ping.extensions if isinstance(ping.extensions, list) else []
        more = "" if extensions else " It offers the documented calls only; everything else is greyed out."
        self._show_message(f"The service answers and accepts the key.{more}", "good")

    def _refused(self, error: Exception) -> None:
        self._set_busy(busy=False)
        self._edited()
        self._unreachable = isinstance(error, (ConnectionFailed, TimedOut, ServerError, RateLimited))
        if self._unreachable:
            self.save.setText("Save anyway")
        self._show_message(error_message(error).text, "bad")

    # --- save and remove

    def _save(self) -> None:
        if self._unreachable:
            self._keep(None)
        else:
            self._check(self._keep)

    def _keep(self, _ping: Ping | None) -> None:
        name, address, color = self.name.text(), self.address.text(), self.color.color()
        typed, kept = self.key.text(), self._connection
        connections, keys = self._connections, self._keys

        def job(context: JobContext) -> tuple[Connection, FoundKey]:
            wait = keyring_wait(context)
            if kept is None:
                connection = connections.add(name, address, color)
            else:
                connection = connections.update(replace(kept, name=name, base_url=address, color=color or kept.color))
                if connection.base_url != kept.base_url:
                    keys.remove(kept, wait)
                if not typed:
                    return connection, replace(keys.find(connection, wait), message="")  # nothing new
            return connection, keys.store(connection, typed, wait)

        self._set_busy(busy=True)
        self._show_message("Keeping the key…", "muted")
        self._run(Lane.KEYRING, job, self._kept, "Keep the connection")

    def _kept(self, outcome: tuple[Connection, FoundKey]) -> None:
        connection, found = outcome
        self._set_busy(busy=False)
        self._connection = connection
        self.saved.emit(connection)
        if not found.message:
            self.accept()
            return
        # The user has to know that the key must be entered again
        self._edited()
        self._show_message(found.message, "warn")
        self.cancel.setText("Close")
        self.save.hide()
        self.test.hide()

    def _remove(self) -> None:
        kept = self._connection
        if kept is None:
            return
        connections, keys, waiting = self._connections, self._keys, self._waiting

        def job(context: JobContext) -> FoundKey:
            if count := waiting(kept.id):
                raise UserError(
                    f"{plural(count, 'photo')} without a label {'waits' if count == 1 else 'wait'} on this computer only: "
                    "label or delete them first."
                )
            found = keys.remove(kept, keyring_wait(context))
            connections.remove(kept.id)
            return found

        def gone(found: FoundKey) -> None:
            self._set_busy(busy=False)
            self.removed.emit(kept)
            if found.message:
                self._show_message(found.message, "warn")
                self.cancel.setText("Close")
                for control in (self.save, self.test, self.remove):
                    control.hide()
            else:
                self.accept()

        self._set_busy(busy=True)
        self._run(Lane.KEYRING, job, gone, "Remove the connection")
