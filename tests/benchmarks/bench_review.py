"""How late the GUI thread's 10 ms timer is while Review works: in its own process, and were it a thread of the window's.

The same photos, the same worker; only where it runs differs. Prints the worst and the 99th percentile, and the time taken.
"""

import threading
import time
from pathlib import Path
from queue import Queue

import pytest
from PySide6.QtCore import QTimer

from apitorch_desktop.dataset.review.cache import ReviewCache
from apitorch_desktop.dataset.review.messages import Request
from apitorch_desktop.dataset.review.reviewer import Reviewer
from apitorch_desktop.dataset.review.worker import ReviewWorker
from apitorch_desktop.ui.tasks.runner import Lane
from tests.helpers.dataset_home import Home
from tests.helpers.event_loop import turn
from tests.helpers.fake_api import KEY, FakeApi

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
EACH = 20


class Here:
    """A child's part played by a thread of this process."""

    def __init__(self, cache: Path) -> None:
        self.answers = Queue()
        self._requests = Queue()
        self.alive, self.pid = True, 0
        worker = ReviewWorker(ReviewCache(cache), self.answers.put, lambda: False)

        def work() -> None:
            while (request := self._requests.get()) is not None:
                worker.answer(request)

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def send(self, request: Request) -> None:
        self._requests.put(request)

    def end(self) -> None:
        self._requests.put(None)
        self._thread.join()


def lateness(tasks, work):
    late: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        late.append(now - last - 0.010)
        last = now

    timer = QTimer(interval=10)
    timer.timeout.connect(tick)
    done = []
    timer.start()
    start = last = time.perf_counter()
    tasks.run(Lane.REVIEW, lambda _context: work(), done=done.append)
    while not done:
        turn()
        time.sleep(0.001)
    timer.stop()
    late.sort()
    return late[-1] * 1000, late[int(len(late) * 0.99)] * 1000, time.perf_counter() - start


def test_lateness_of_the_window_while_review_works(tasks, photos, tmp_path, capsys):
    labels = {
        label.name: [file.read_bytes() for file in sorted(label.iterdir())[:EACH]]
        for label in sorted((photos / "train").iterdir())
    }
    with FakeApi() as service:
        set_id = service.add_set("Clothes", labels)
        found = {}
        for where in ("nothing", "thread", "process"):
            home = Home(tmp_path / where, service.url, KEY, set_id)
            home.workspace.connect()
            listing = home.listing()
            for image in listing.images:
                home.workspace.thumbnail(set_id, image)
            reviewing = Reviewer(tmp_path / where / "cache")
            if where == "thread":
                reviewing._child = Here(tmp_path / where / "cache")
            work = {
                "nothing": lambda: time.sleep(5),
            }.get(
                where, lambda home=home, r=reviewing, li=listing: r.review(home.workspace, set_id, li.images, li.labels)
            )
            found[where] = lateness(tasks, work)
            reviewing.close()
            home.close()
    with capsys.disabled():
        print()
        for where, (worst, most, seconds) in found.items():
            print(f"review as {where:8}  worst {worst:6.1f} ms   99 % {most:6.1f} ms   {seconds:5.1f} s")
