"""Start and end of the window: first the bare window, then everything else once that is painted."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

from apitorch_desktop import __version__
from apitorch_desktop.ui.main_window.main_window import MainWindow
from apitorch_desktop.ui.single_instance import SingleInstance
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.crash_log import CrashLog
from apitorch_desktop.utils.files import private_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apitorch_desktop.ui.bootstrap import Bootstrap


def run(arguments: Sequence[str]) -> int:
    """Open the window and import the photos and folders named, if any; return the exit status."""
    sys.setswitchinterval(
        0.0005
    )  # the longest that each of eight busy workers keeps the window waiting; 5 ms by default
    single = SingleInstance(paths.desktop_folder())
    if not single.claim():
        return _hand_over(single, arguments)
    log = CrashLog(paths.desktop_folder(), __version__)
    log.open()
    running = QApplication.instance()
    app = running if isinstance(running, QApplication) else QApplication(sys.argv[:1])
    app.setApplicationName("API Torch Desktop")
    app.setDesktopFileName("apitorch-desktop")
    theme = Theme(paths.resources())
    theme.prepare(app)
    settings_file = paths.desktop_folder() / "window.ini"
    with suppress(OSError):
        private_file(settings_file)  # QSettings keeps the permissions of the file it replaces
    settings = QSettings(str(settings_file), QSettings.Format.IniFormat)
    window = MainWindow(theme, settings)
    bootstraps: list[Bootstrap] = []

    def build() -> None:
        from apitorch_desktop.ui.bootstrap import Bootstrap

        bootstraps.append(Bootstrap(app, theme, settings, window, log, list(arguments)))
        bootstraps[0].start()
        single.second_start.connect(bootstraps[0].on_second_start)
        single.listen()

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
