"""The window's start and end: what is made before the first paint, what behind it, and who is told to stop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

from apitorch_desktop import __version__
from apitorch_desktop.ui.main_window.main_window import MainWindow
from apitorch_desktop.ui.single_instance import SingleInstance
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.crash_log import CrashLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apitorch_desktop.ui.bootstrap import Bootstrap


def run(arguments: Sequence[str]) -> int:
    """Open the window, with pictures and folders to import if any are named; answers the exit status."""
    sys.setswitchinterval(0.0005)  # of eight busy workers each may keep the window waiting this long, not 5 ms
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
    settings = QSettings(str(paths.desktop_folder() / "window.ini"), QSettings.Format.IniFormat)
    window = MainWindow(theme, settings)
    assembled: list[Bootstrap] = []

    def assemble() -> None:
        from apitorch_desktop.ui.bootstrap import Bootstrap

        assembled.append(Bootstrap(app, theme, settings, window, log, list(arguments)))
        assembled[0].start()
        single.asked.connect(assembled[0].asked)
        single.listen()

    window.painted.connect(assemble)
    window.show()
    status = app.exec()
    single.close()
    ended = not assembled or assembled[0].end()
    log.close()
    if not ended:
        # A job did not heed its cancellation. To destroy its running QThread would abort the process.
        sys.stdout.flush()
        os._exit(status)
    return status


def _hand_over(single: SingleInstance, arguments: Sequence[str]) -> int:
    if single.hand_over(arguments):
        return 0
    sys.stderr.write("The window is open already, but does not answer. Close it, then start it again.\n")
    return 1
