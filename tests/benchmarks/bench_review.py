"""Review of sets of several sizes: seconds until its findings, and the memory of its process; and the window meanwhile.

    python tests/benchmarks/bench_review.py [IMAGES…]

Made images, as in bench_near_duplicates. Prints processor seconds of one core until each part of the findings (quality and
balance, near-duplicates, labels): with all features in the cache and none compared, so that the first come as soon after the
last embedding as they can, and once the last 100 images came later; then the process's largest memory, and both against the
smallest size. Aim: first findings within 10 s at any size.

Then how late a 10 ms timer of the GUI thread is while Review works on 200 photos, in its own process, against Review in a
thread of the window's, and beside nothing: the worst, with its ratio to the thread's, and the 99th percentile. Aim on an idle
machine: never later than 50 ms. Photos are those of ../shared/data/clothing.
"""

import resource
import sys
import tempfile
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from queue import Queue

from PySide6.QtCore import QCoreApplication, QTimer
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[2]))
from apitorch_desktop.dataset.review.cache import ReviewCache
from apitorch_desktop.dataset.review.messages import Request
from apitorch_desktop.dataset.review.reviewer import Reviewer
from apitorch_desktop.dataset.review.worker import ReviewWorker
from apitorch_desktop.ui.tasks.runner import Lane, TaskRunner
from tests.benchmarks.bench_near_duplicates import LABELS, NEW, made
from tests.helpers.dataset_home import Home
from tests.helpers.event_loop import turn
from tests.helpers.fake_api import KEY, FakeApi

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing" / "train"
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


def window():
    """Compare the lateness of the GUI thread's timer by where Review works."""
    if not PHOTOS.is_dir():
        raise SystemExit(f"the photos are not at {PHOTOS}")
    labels = {
        label.name: [file.read_bytes() for file in sorted(label.iterdir())[:EACH]] for label in sorted(PHOTOS.iterdir())
    }
    application, tasks, found = QCoreApplication.instance() or QCoreApplication([]), TaskRunner(), {}
    with FakeApi() as service, tempfile.TemporaryDirectory() as name:
        set_id = service.add_set("Clothes", labels)
        for where in ("nothing", "thread", "process"):
            home = Home(Path(name) / where, service.url, KEY, set_id)
            home.workspace.connect()
            listing = home.listing()
            for image in listing.images:
                home.workspace.thumbnail(set_id, image)
            reviewer = Reviewer(Path(name) / where / "cache")
            if where == "thread":
                reviewer._child = Here(Path(name) / where / "cache")

            def work(where=where, home=home, reviewer=reviewer, listing=listing):
                if where == "nothing":
                    return time.sleep(5)
                return reviewer.review(home.workspace, set_id, listing.images, listing.labels)

            found[where] = lateness(tasks, work)
            reviewer.close()
            home.close()
    tasks.shutdown(60)
    del application
    for where, (worst, most, seconds) in found.items():
        ratio = f", ratio {worst / found['thread'][0]:.2f}" if where == "process" else ""
        print(f"timer beside review as {where}: worst {worst:.1f} ms, 99 % below {most:.1f} ms, {seconds:.1f} s{ratio}")


def review(folder, count, fill, answer):
    """Run in a process of its own: fill the cache, or review what is there; send back seconds and MB."""
    from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache
    from apitorch_desktop.dataset.review.messages import Analyze, BeginReview, FindingsUpdate, ReviewItem
    from apitorch_desktop.dataset.review.worker import ReviewWorker
    from apitorch_desktop.vision.encoder import Encoder

    name, cache, at = Encoder(threads=1).name, ReviewCache(folder), 0
    keys = [f"{number:064x}" for number in range(count)]
    if fill:
        for patterns, embeddings in made(count):
            seen = {
                key: CachedImage(0.3, 0.1, 0.9, 0.5, 256, 192, 9, pattern.tobytes(), row.tobytes())
                for key, pattern, row in zip(keys[at:], patterns, embeddings, strict=False)
            }
            cache.remember("here", name, seen)
            at += len(patterns)
        cache.close()
        return
    items = [
        ReviewItem(f"ti_{number:040x}", key, f"label_{number % LABELS}", 256, 192, 9) for number, key in enumerate(keys)
    ]
    labels = sorted({item.label for item in items})
    answers, found = [], []
    with threadpool_limits(1):
        worker = ReviewWorker(cache, lambda one: answers.append((time.process_time(), one)), lambda: False, 1)
        for some in (items[:-NEW], items):
            start = time.process_time()
            answers.clear()
            worker.answer(BeginReview(1, "here", "7", some, labels, []))
            worker.answer(Analyze(1))
            found.append([at - start for at, one in answers if isinstance(one, FindingsUpdate)])
    answer.send((*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main(*counts):
    """Review sets of these sizes; then measure the window."""
    context, smallest = get_context("spawn"), None
    for count in counts or (1_000, 10_000, 100_000):
        receiver, sender = context.Pipe(duplex=False)
        with tempfile.TemporaryDirectory() as name:
            for fill in (True, False):
                process = context.Process(target=review, args=(Path(name), count, fill, sender))
                process.start()
                process.join()
            anew, more, memory = receiver.recv()
        smallest = smallest or (anew[-1], memory)
        seconds = ["quality {:.1f}, near-duplicates {:.1f}, labels {:.1f} s".format(*part) for part in (anew, more)]
        print(
            f"{count:,} images: first findings after {anew[0]:.1f} s; {seconds[0]}; with {NEW} more: {seconds[1]}; "
            f"{memory:.0f} MB; time {anew[-1] / smallest[0]:.1f} and memory {memory / smallest[1]:.1f} times the smallest’s",
            flush=True,
        )
    window()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
