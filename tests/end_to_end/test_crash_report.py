"""A crash of the real program is offered as a report at its next start."""

import json
import signal
import subprocess
import sys

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton

from apitorch_desktop.ui.bootstrap import CrashReportDialog
from apitorch_desktop.utils.paths import desktop_folder, service_folder
from tests.helpers import app_runner
from tests.helpers.service_process import alive
from tests.helpers.waiting import until


def crash():
    """Start the program, and end it as a fault in native code would."""
    program = subprocess.Popen([sys.executable, "-m", "apitorch_desktop"], stderr=subprocess.DEVNULL)
    until((service_folder() / "running.json").is_file, "the service of the program")
    service = json.loads((service_folder() / "running.json").read_text())["pid"]
    program.send_signal(signal.SIGSEGV)
    assert program.wait(app_runner.PATIENCE) == -signal.SIGSEGV
    until(lambda: not alive(service), "the end of its service")


def test_a_crash_is_offered_copied_and_discarded(home, monkeypatch):
    crash()

    def steps(made):
        message = made.central_widget.status.message

        def verb(text):
            return next(
                (one for one in message.findChildren(QPushButton) if one.text() == text and one.isVisible()), None
            )

        app_runner.press(app_runner.wait(lambda: verb("Show report…"), "the offer"))
        report = app_runner.wait(lambda: app_runner.dialog(CrashReportDialog), "the report")
        assert "Segmentation fault" in report.text.toPlainText()
        app_runner.press(report.copied)
        app_runner.wait(lambda: "Segmentation fault" in QGuiApplication.clipboard().text(), "the copy")
        app_runner.press(report.discarded)
        app_runner.wait(lambda: not (desktop_folder() / "crash-previous.log").exists(), "the report to go")

    assert app_runner.run(monkeypatch, steps) == 0
