"""Start and end of the window: first the bare window, then everything else once that is painted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QLockFile, QObject, QSettings, QTimer, Signal
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication

from apitorch_desktop import CLASSIFY_OPTION, __version__
from apitorch_desktop.ui.main_window.main_window import MainWindow
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.crash_log import CrashLog
from apitorch_desktop.utils.files import private_file, runtime_folder

if TYPE_CHECKING:
    from PySide6.QtNetwork import QLocalServer, QLocalSocket

    from apitorch_desktop.ui.bootstrap import Bootstrap


class FileOpenApplication(QApplication):
    """The application on macOS, where the files and addresses that are opened with it come as events, not as arguments."""

    paths_opened = Signal(list)
    """Paths and addresses, as a second start passes them on."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._opened: list[str] = []
        self._together = QTimer(self, interval=0, singleShot=True)  # an event for each file that was chosen
        self._together.timeout.connect(self._announce)
        self._begun = False

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent):
            url = event.url()
            self._opened.append(event.file() or url.toLocalFile() or url.toString())
            if self._begun:
                self._together.start()
            return True
        return super().event(event)

    def begin(self) -> None:
        """Announce what was opened so far, and from now on: the window is there."""
        self._begun = True
        self._together.start()

    def _announce(self) -> None:
        opened, self._opened = self._opened, []
        if opened:
            self.paths_opened.emit(opened)


def _make_application(arguments: list[str]) -> QApplication:
    if sys.platform == "win32":
        import ctypes

        # else the taskbar groups the window with all other programs that Python runs; also in packaging/windows
        ctypes.windll.shell32.SetCurrentProcessExplicitAppUserModelID("APITorch.Desktop")
    return FileOpenApplication(arguments) if sys.platform == "darwin" else QApplication(arguments)


PATIENCE = 8.0
"""Seconds for which a second start tries to reach a first one that is still starting."""
_MAX_PATH = 90
"""Longest socket path in bytes on every system (108 on Linux, 104 on macOS, less what Qt adds)."""
_MAX_MESSAGE = 1 << 20
"""Longest message in bytes: some thousand paths."""


class SingleInstance(QObject):
    """Claim to be the only window of `folder`."""

    second_start = Signal(list)
    """A second start passed on these arguments; the window should come to the front."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._lock = QLockFile(str(folder / "window.lock"))
        self._lock.setStaleLockTime(0)  # stale only once its owner is dead, however long that runs
        self._server: QLocalServer | None = None

    def claim(self) -> bool:
        """Return True if this is the first start, or if the folder cannot be written, which is reported later."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            return True
        return self._lock.tryLock(0) or self._lock.error() != QLockFile.LockError.LockFailedError

    def hand_over(self, arguments: Sequence[str]) -> bool:
        """Pass the arguments to the first window, paths made absolute; return True if it accepted them."""
        import json

        from PySide6.QtNetwork import QLocalSocket

        given = [
            argument if "://" in argument or argument == CLASSIFY_OPTION else str(Path(argument).absolute())
            for argument in arguments
        ]
        message = json.dumps(given).encode() + b"\n"
        end = monotonic() + (PATIENCE if self._address() else 0)
        while monotonic() < end:
            socket = QLocalSocket()
            socket.connectToServer(self._address())
            if socket.waitForConnected(500):
                socket.write(message)
                if socket.waitForReadyRead(3000) and bytes(socket.readAll().data()).startswith(b"ok"):
                    return True
            sleep(0.2)
        return False

    def listen(self) -> None:
        """Accept the arguments of later starts."""
        from PySide6.QtNetwork import QLocalServer

        self._server = server = QLocalServer(self)
        server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        if not (address := self._address()):
            return  # a second start then says that a window is open
        QLocalServer.removeServer(address)  # left by a window that was killed: the lock is held here
        server.listen(address)
        server.newConnection.connect(self._on_connection)

    def close(self) -> None:
        """Release the claim."""
        if self._server is not None:
            self._server.close()
        self._lock.unlock()

    def _on_connection(self) -> None:
        while self._server is not None and (socket := self._server.nextPendingConnection()) is not None:
            socket.readyRead.connect(lambda socket=socket: self._read(socket))
            socket.disconnected.connect(socket.deleteLater)
            self._read(socket)

    def _read(self, socket: QLocalSocket) -> None:
        if not socket.canReadLine():
            if socket.bytesAvailable() > _MAX_MESSAGE:
                socket.abort()
            return
        import json  # 2 ms, after the first paint

        try:
            arguments = json.loads(bytes(socket.readLine().data()))
        except ValueError:
            arguments = None
        if isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments):
            socket.write(b"ok\n")
            socket.flush()
            self.second_start.emit(arguments)
        socket.disconnectFromServer()

    def _address(self) -> str:
        """Return the path of a socket that other users cannot reach: beside the lock, or where that path is too long in a
        folder of the user's own. Empty where there is none; a name on Windows, which has no paths for it.
        """
        inside = str(self._folder / "window.socket")
        if os.name == "posix" and len(inside.encode()) <= _MAX_PATH:
            return inside
        import hashlib  # loads OpenSSL: 8 ms, after the first paint

        name = hashlib.sha256(inside.encode()).hexdigest()[:24]
        if os.name != "posix":
            return f"apitorch-desktop-{name}"
        folder = runtime_folder()
        return str(folder / name) if folder is not None and len(str(folder / name).encode()) <= _MAX_PATH else ""


def _skip_source_scans() -> None:
    """Keep PySide from reading the source of each module that is imported: a fifth of the start.

    It looks for users of `from __feature__ import …`, of which there are none; the answer "uses PySide, no features" is what
    it would find for the modules of the window. The name is not public: where it is missing, nothing is saved.
    """
    feature = sys.modules.get("shibokensupport.feature")
    if feature is not None and hasattr(feature, "_mod_uses_pyside"):
        vars(feature)["_mod_uses_pyside"] = lambda _module: True


def run(arguments: Sequence[str]) -> int:
    """Open the window, import or classify the photos and folders named, if any, and return the exit status."""
    _skip_source_scans()
    sys.setswitchinterval(
        0.0005
    )  # the longest that each of eight busy workers keeps the window waiting; 5 ms by default
    single = SingleInstance(paths.private(paths.desktop_folder()))
    if not single.claim():
        return _hand_over(single, arguments)
    log = CrashLog(paths.desktop_folder(), __version__)
    log.open()
    running = QApplication.instance()
    app = running if isinstance(running, QApplication) else _make_application(sys.argv[:1])
    app.setApplicationName("API Torch Desktop")
    app.setDesktopFileName(os.environ.get("FLATPAK_ID", "apitorch-desktop"))  # a Flatpak's entry has to be named so
    settings_file = paths.desktop_folder() / "window.ini"
    with suppress(OSError):
        private_file(settings_file)  # QSettings keeps the permissions of the file it replaces
    settings = QSettings(str(settings_file), QSettings.Format.IniFormat)
    theme = Theme(paths.resources())
    theme.prepare(app, settings.value("look/scheme"), settings.value("look/type_size"))
    window = MainWindow(theme, settings)
    bootstraps: list[Bootstrap] = []

    def build() -> None:
        from apitorch_desktop.ui.bootstrap import Bootstrap

        bootstraps.append(Bootstrap(app, theme, settings, window, log, list(arguments)))
        bootstraps[0].start()
        single.second_start.connect(bootstraps[0].on_second_start)
        single.listen()
        if isinstance(app, FileOpenApplication):
            app.paths_opened.connect(bootstraps[0].on_second_start)
            app.begin()

    window.painted.connect(build)
    window.show()
    status = app.exec()
    single.close()
    ended = not bootstraps or bootstraps[0].end()
    log.close()
    if not ended:
        # A job ignored its cancellation. Destroying its running QThread would abort the process.
        sys.stdout.flush()
        os._exit(status)
    return status


def _hand_over(single: SingleInstance, arguments: Sequence[str]) -> int:
    if single.hand_over(arguments):
        return 0
    sys.stderr.write("The window is open already, but does not answer. Close it, then start it again.\n")
    return 1
