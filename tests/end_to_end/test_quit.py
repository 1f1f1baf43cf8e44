"""The end of the real program: by a signal, as by a click; and what it remembers for the next start."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apitorch_desktop.utils.paths import desktop_folder, service_folder
from tests.helpers.service_process import alive
from tests.helpers.waiting import PATIENCE, until


def running():
    try:
        return json.loads((service_folder() / "running.json").read_text())["pid"]
    except (OSError, ValueError):
        return 0


def handles(pid, number):
    """Whether a process has a handler of its own for a signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(mask >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_closes_the_window_saves_its_state_and_stops_the_service(home, number):
    program = subprocess.Popen([sys.executable, "-m", "apitorch_desktop"], stderr=subprocess.PIPE, text=True)
    try:
        service = until(running)
        until(lambda: handles(program.pid, signal.SIGTERM))
        program.send_signal(number)
        _, said = program.communicate(timeout=PATIENCE)
    finally:
        program.kill()
    assert (program.returncode, said) == (0, "")
    assert "geometry" in (desktop_folder() / "window.ini").read_text()
    until(lambda: not alive(service))


def test_a_window_that_is_killed_takes_its_service_along(home):
    program = subprocess.Popen([sys.executable, "-m", "apitorch_desktop"])
    service = until(running)
    program.kill()
    program.wait()
    until(lambda: not alive(service))
