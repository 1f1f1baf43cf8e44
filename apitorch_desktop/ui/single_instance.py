"""One window for a data folder: a second start hands what it was given to the first, which comes to the front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

from PySide6.QtCore import QLockFile, QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

PATIENCE = 8.0
"""Seconds for which a first window that is just starting is tried."""
_LONGEST_PATH = 90
"""Bytes of a socket's path that every system takes (108 on Linux, 104 on macOS, less what Qt adds)."""
_MOST = 1 << 20
"""Bytes of a message: some thousand paths."""


class SingleInstance(QObject):
    """The claim to be the one window of `folder`."""

    asked = Signal(list)
    """Another start handed over these arguments; the window should come to the front."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._lock = QLockFile(str(folder / "window.lock"))
        self._lock.setStaleLockTime(0)  # only the owner's death makes it stale, however long it runs
        self._server: QLocalServer | None = None

    def claim(self) -> bool:
        """Whether this is the first; also where the folder cannot be written, which is told later and better."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return True
        return self._lock.tryLock(0) or self._lock.error() != QLockFile.LockError.LockFailedError

    def hand_over(self, arguments: Sequence[str]) -> bool:
        """Give the first window the arguments (paths made absolute); whether it took them."""
        import json

        from PySide6.QtNetwork import QLocalSocket

        given = [one if "://" in one else str(Path(one).absolute()) for one in arguments]
        message = json.dumps(given).encode() + b"\n"
        end = monotonic() + PATIENCE
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
        """Take what later starts hand over."""
        from PySide6.QtNetwork import QLocalServer

        self._server = server = QLocalServer(self)
        server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        QLocalServer.removeServer(self._address())  # left by a window that was killed; the lock says it is ours
        server.listen(self._address())
        server.newConnection.connect(self._connected)

    def close(self) -> None:
        """Let go of the claim."""
        if self._server is not None:
            self._server.close()
        self._lock.unlock()

    def _connected(self) -> None:
        while self._server is not None and (socket := self._server.nextPendingConnection()) is not None:
            socket.readyRead.connect(lambda socket=socket: self._read(socket))
            socket.disconnected.connect(socket.deleteLater)
            self._read(socket)

    def _read(self, socket: QLocalSocket) -> None:
        if not socket.canReadLine():
            if socket.bytesAvailable() > _MOST:
                socket.abort()
            return
        import json  # 2 ms that the first paint need not wait for

        try:
            said = json.loads(bytes(socket.readLine().data()))
        except ValueError:
            said = None
        if isinstance(said, list) and all(isinstance(one, str) for one in said):
            socket.write(b"ok\n")
            socket.flush()
            self.asked.emit(said)
        socket.disconnectFromServer()

    def _address(self) -> str:
        """A socket beside the lock, which other users cannot reach; a name of the system's where its path is too long."""
        inside = str(self._folder / "window.socket")
        if len(inside.encode()) <= _LONGEST_PATH:
            return inside
        import hashlib  # loads OpenSSL: 8 ms that the first paint need not wait for

        return f"apitorch-desktop-{hashlib.sha256(inside.encode()).hexdigest()[:24]}"
