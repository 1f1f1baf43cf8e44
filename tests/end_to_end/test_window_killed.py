"""The whole program killed, window and all, and the service with it: the next start goes on where they were."""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.utils.paths import desktop_folder
from tests.helpers import app_runner as program
from tests.helpers.documented_program import listed, run, use
from tests.helpers.fake_api import FakeApi
from tests.helpers.service_process import free_port
from tests.helpers.waiting import until

KEY = "k" * 42
COUNT = 600
KILLS = 4
COMMAND = [sys.executable, "-m", "apitorch_desktop"]
_DYING = Path(__file__).parents[1] / "helpers" / "killed_window.py"


class Processes:
    """The service and the window, each started and killed as often as need be."""

    def __init__(self, data):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/"
        self._data = data
        self._environment = os.environ | {"APITORCH_API_KEY": KEY, "APITORCH_BASE_URL": self.url}
        self.service = self.window = None

    def start_service(self):
        command = [*COMMAND, "serve", "--port", str(self.port), "--data", str(self._data)]
        self.service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self._environment)
        assert self.service.stdout.readline()

    def start_window(self, *arguments):
        self.window = subprocess.Popen([*COMMAND, *map(str, arguments)], env=self._environment)

    def kill(self, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()

    def end(self):
        for process in (self.window, self.service):
            if process is not None and process.poll() is None:
                self.kill(process)


@pytest.fixture
def processes(tmp_path, home):
    made = Processes(tmp_path / "data")
    yield made
    made.end()


def items(*states):
    """How many items of the journal are in these states (2: done, 3: there already)."""
    path = desktop_folder() / "transfers" / "transfers.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        try:
            where = f"WHERE state IN ({','.join(map(str, states))})" if states else ""
            return reader.execute(f"SELECT COUNT(*) FROM items {where}").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def agree_to_the_plan():
    """Press Enter in the window's import plan until it is accepted."""
    end = time.monotonic() + 120
    while not items():
        assert time.monotonic() < end, "the plan was not agreed to"
        found = subprocess.run(
            ["xdotool", "search", "--onlyvisible", "--name", "^Import photos$"], capture_output=True, text=True
        ).stdout.split()
        if found:
            subprocess.run(["xdotool", "windowfocus", found[-1], "key", "Return"], check=False, capture_output=True)
        time.sleep(0.3)


@pytest.mark.timeout(600)
def test_an_import_goes_on_after_window_and_service_were_killed(processes, tmp_path):
    folder = tmp_path / "Noise"
    wanted = {}
    for number in range(COUNT):
        path = folder / f"label_{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (90, 90), random.Random(number).randbytes(3 * 90 * 90)).save(path, "JPEG")
        wanted.setdefault(path.parent.name, []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    processes.start_service()
    processes.start_window(folder)
    agree_to_the_plan()
    in_the_middle = 0
    for kill in range(KILLS):
        until(lambda kill=kill: items(2, 3) > COUNT * kill // KILLS, "the transfer to get on")
        in_the_middle += items(2, 3) < COUNT
        processes.kill(processes.window)
        if kill % 2:
            processes.kill(processes.service)
            processes.start_service()
        processes.start_window()
    assert in_the_middle >= 2, "the kills came too late to show anything"
    until(lambda: items(2, 3) == COUNT, "the whole import")
    client = ApiClient(processes.url, KEY)
    try:
        [made] = client.training_sets()
        assert made.name == "Noise"
        found = {group.label: sorted(image.sha256 for image in group.images) for group in client.images(made.id).data}
        assert found == {label: sorted(digests) for label, digests in wanted.items()}
    finally:
        client.close()
    assert processes.window.poll() is None


def test_a_file_that_was_being_classified_at_a_crash_is_deleted_at_the_next_start(monkeypatch, photos, home):
    paths = sorted((photos / "train" / "dress").iterdir())[:7]
    with FakeApi() as service:
        number = service.add_set("Coats", {"plains": [path.read_bytes() for path in paths[:6]]})
        use(monkeypatch, service)
        service.wrong("late", path="/classify$", seconds=60)
        dying = subprocess.Popen(
            [sys.executable, str(_DYING), str(paths[6])],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": "."},
        )
        try:
            until(lambda: any(one.path == "/api/classify" for one in service.seen), "the classification")
            assert len(service.content(number)["desktop_scratch"]) == 1
        finally:
            dying.kill()
            dying.wait()
        service.right()

        def steps(made, _said):
            listed(made, 6)
            program.wait(lambda: service.content(number)["desktop_scratch"] == [], "the scratch photo to go")
            assert made.session.open_set.labels == ["plains"]

        run(monkeypatch, steps)
