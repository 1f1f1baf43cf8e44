"""Files and folders in the file manager of the desktop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from PySide6.QtCore import QLoggingCategory, QUrl
from PySide6.QtGui import QDesktopServices

from apitorch_desktop.ui.session.session import Session

NAME: Final = {"darwin": "Finder", "win32": "Explorer"}.get(sys.platform, "file manager")
"""The file manager, as the system's users know it."""
ANSWER = 5000
"""Milliseconds the file manager has to start and to answer."""


def silence_qt() -> None:
    """Keep to itself what Qt would write to standard error about things that the window reports in a sentence."""
    QLoggingCategory.setFilterRules("qt.qpa.services=false\nqt.multimedia.*=false")


def open_folder(folder: Path, session: Session) -> None:
    """Open a folder in the file manager; a message names it if there is none."""
    silence_qt()
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
        session.show_message(f"No file manager could be started. The folder is {folder}", "warn", "file manager")


def show_file(path: Path, session: Session) -> None:
    """Open a file's folder in the file manager, with the file selected if the desktop can do that. Does not block.

    Uses the D-Bus interface that freedesktop.org defines for this, which starts the file manager if necessary; if the
    call fails, the folder is opened. Finder and Explorer select the file themselves.
    """
    if sys.platform in ("darwin", "win32"):
        command = ["open", "-R", str(path)] if sys.platform == "darwin" else f'explorer.exe /select,"{path}"'
        try:
            subprocess.Popen(command)
        except OSError:
            open_folder(path.parent, session)
        return
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if not address:
        open_folder(path.parent, session)
        return
    from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher

    name = "org.freedesktop.FileManager1"
    message = QDBusMessage.createMethodCall(name, "/org/freedesktop/FileManager1", name, "ShowItems")
    message.setArguments([[bytes(QUrl.fromLocalFile(str(path)).toEncoded().data()).decode()], ""])
    bus = QDBusConnection.connectToBus(address, f"files {address}")  # Qt's own may be of another time, or broken
    watcher = QDBusPendingCallWatcher(bus.asyncCall(message, ANSWER), session)

    def answered(call: QDBusPendingCallWatcher) -> None:
        if call.isError():
            open_folder(path.parent, session)
        call.deleteLater()

    watcher.finished.connect(answered)
