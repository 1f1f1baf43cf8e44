"""How late the GUI thread gets at every act of curating, with 10,000 images in the set: the real program and service.

    xvfb-run -s "-screen 0 1600x1000x24" python tests/benchmarks/bench_curating.py [IMAGES] [ROUNDS]

Each act is done ROUNDS times as a person does it (through the window's own slots), then undone where it changes something.
Printed for each: the worst lateness of a 10 ms timer of the GUI thread from the act until it is shown and answered, the
most processor time that thread took between two ticks (which does not depend on what else the machine does), and how long
until the service had answered. Aim: no act above 100 ms. The images are small made ones, put into the store's tables
before the start, with embeddings drawn around a point for each label, so that classifier and Review have something to find.
"""

import hashlib
import io
import os
import secrets
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

LABELS = [f"label_{letter}" for letter in "abcdefghijklmnopqrst"]
PATIENCE = 300
LIMIT = 100


def fill(folder: Path, cache: Path, images: int) -> None:
    """A training set of small pictures, written straight into the tables; and what Review would have seen of them."""
    import numpy as np
    from PIL import Image

    from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache
    from apitorch_desktop.service.storage.store import Store
    from apitorch_desktop.vision import issues
    from apitorch_desktop.vision.encoder import Encoder
    from tests.helpers.stores import ME

    encoder = Encoder()
    random = np.random.default_rng(1)
    with Store.open(folder) as store:
        number = store.training_sets.create(ME, "Ten thousand").id
        for label in LABELS:
            store.labels.create(ME, number, label)
    middles = random.normal(size=(len(LABELS), encoder.dimensions)).astype(np.float32)
    pictures: dict[str, bytes] = {}
    rows, embeddings, seen = [], [], {}
    for n in range(images):
        picture = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((128, 96))
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=70)
        data = packed.getvalue()
        sha256, image_id = hashlib.sha256(data).hexdigest(), secrets.token_hex(20)
        pictures[sha256] = data
        label = n % len(LABELS)
        like = label if n % 50 else (label + 7) % len(LABELS)
        vector = middles[like] + random.normal(size=encoder.dimensions)
        look = issues.review_features(picture, 640, 480)
        rows.append((image_id, number, label + 1, sha256, len(data), f"IMG_{n:05}.jpg"))
        embeddings.append((sha256, encoder.name, vector.astype("<f4").tobytes()))
        seen[sha256] = CachedImage(
            look.blur, look.dark, look.bright, look.contrast, 640, 480, len(data), look.pattern.tobytes(),
            vector.astype("<f2").tobytes(),
        )  # fmt: skip
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.executemany(
            "INSERT INTO blobs VALUES (?, ?, 640, 480, '.jpg')", [(name, len(data)) for name, data in pictures.items()]
        )
        connection.executemany(
            "INSERT INTO images (id, training_set_id, label_seq, sha256, extension, width, height, bytes, "
            "original_filename, created_at, split) VALUES (?, ?, ?, ?, '.jpg', 640, 480, ?, ?, '2026-05-01T12:00:00.000Z', '')",
            rows,
        )
        connection.executemany(
            "INSERT INTO embeddings (sha256, encoder, vector, unsafe) VALUES (?, ?, ?, 0.01)", embeddings
        )
        connection.commit()
    from apitorch_desktop.service.storage.store import open_blobs

    blobs = open_blobs(folder, None)
    blobs.commit([blobs.stage(name, data) for name, data in pictures.items()])
    cache.mkdir(parents=True, exist_ok=True)
    memory = ReviewCache(cache)
    memory.remember("embedded", encoder.name, seen)
    memory.close()


class Clock:
    """A 10 ms timer: how late it was, and what the GUI thread worked between two ticks, in milliseconds."""

    def __init__(self) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.reset()
        self.timer = QTimer(interval=10, timerType=Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self.tick)
        self.timer.start()

    def reset(self) -> None:
        self.late = self.busy = 0.0
        self.last, self.spent = time.perf_counter(), time.thread_time()

    def tick(self) -> None:
        now, spent = time.perf_counter(), time.thread_time()
        self.late = max(self.late, (now - self.last - 0.010) * 1000)
        self.busy = max(self.busy, (spent - self.spent) * 1000)
        self.last, self.spent = now, spent


class Acts:
    """The acts, one after the other, on the window."""

    def __init__(self, made, images: int, rounds: int) -> None:
        self.made, self.images, self.rounds = made, images, rounds
        self.clock = Clock()
        self.rows: list[tuple[str, float, float, float]] = []

    def wait(self, condition, what: str) -> None:
        from PySide6.QtWidgets import QApplication

        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, what
            QApplication.processEvents()
            time.sleep(0.001)

    def rest(self, seconds: float = 0.25) -> None:
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, "time")

    def measure(self, name: str, act, answered=lambda: True) -> None:
        self.clock.reset()
        began = time.perf_counter()
        act()
        self.wait(answered, name)
        took = (time.perf_counter() - began) * 1000
        self.rest()
        self.rows.append((name, self.clock.late, self.clock.busy, took))

    def report(self) -> int:
        """Print each act's worst, and answer how many are above the limit."""
        names = list(dict.fromkeys(row[0] for row in self.rows))
        print(f"{self.images:,} images; worst of {self.rounds}: late, GUI thread busy, until answered (ms)")
        above = 0
        for name in names:
            late, busy, took = (max(row[place] for row in self.rows if row[0] == name) for place in (1, 2, 3))
            above += busy > LIMIT
            mark = "" if late <= LIMIT else " LATE" if busy <= LIMIT else " ABOVE"
            print(f"{name:<44}{late:8.0f}{busy:8.0f}{took:10.0f}{mark}", flush=True)
        return above


def act_all(acts: Acts) -> None:
    made, model = acts.made, acts.made.model
    photos, editing, open_set, labelling = made.photos, made.edits, made.session.open_set, made.labeling
    grid, filters = photos.grid, made.photos.filter
    everything, first = acts.images, open_set.labels

    def counts():
        return {label: count for label, count in open_set.counts.items() if count}

    def edit(name, act, select=None):
        before = counts()
        if select is not None:
            select()
            acts.rest(0.1)
        heard = []
        slot = heard.append
        editing.edited.connect(slot)
        acts.measure(name, act, lambda: len(heard) >= 1)
        acts.measure(f"  undo: {name}", editing.undo, lambda: len(heard) >= 2)
        acts.measure(f"  redo: {name}", editing.redo, lambda: len(heard) >= 3)
        editing.undo()
        acts.wait(lambda: len(heard) >= 4 and counts() == before, f"{name}: as before")
        editing.edited.disconnect(slot)

    for _ in range(acts.rounds):
        acts.measure("select all", grid.selectAll)
        acts.measure("invert the selection", grid.invert_selection)
        acts.measure("select one", lambda: grid.choose(5))
        acts.measure("scroll to the end", lambda: grid.verticalScrollBar().setValue(grid.verticalScrollBar().maximum()))
        acts.measure("scroll to the top", grid.scrollToTop)
        acts.measure("zoom", lambda: grid.set_cell_size(200))
        acts.measure("zoom back", lambda: grid.set_cell_size(120))
        acts.measure("search", lambda: photos.search("label_b not 7"))
        acts.measure("search ended", lambda: photos.search(""))
        filters.found = {"suspects"}
        acts.measure("filter: suspects", photos.apply_filter)
        filters.found = set()
        acts.measure("filter ended", photos.apply_filter)
        for key in ("name", "newest", "big", "most", "label"):
            acts.measure(f"sort by {key}", lambda key=key: photos.set_sort(key))
        acts.measure("next suspect", lambda: labelling.next_suspect(1))
        acts.measure("full size", lambda: photos.show_big(model.image(9)))
        acts.measure("full size: next", lambda: photos.big.go(1))
        acts.measure("back to the grid", photos.close_big)
        edit("label one by key", lambda: labelling.typed("3"), lambda: grid.choose(0))
        edit("label one by letters", lambda: labelling.label("label_f"), lambda: grid.choose(1))
        edit("label 500 by key", lambda: labelling.typed("4"), lambda: grid.select_label(first[0]))
        edit("delete one", lambda: photos.delete(grid.images.selected_ids()), lambda: grid.choose(3))
        edit("rename a label", lambda: editing.rename_label(open_set.training_set.id, first[2], "renamed"))
        edit("merge a label", lambda: editing.merge_labels(open_set.training_set.id, first[3], first[4]))
        edit("make a label", lambda: editing.create_label(open_set.training_set.id, "made"))
    edit("delete a label with its 500", lambda: editing.delete_label(open_set.training_set.id, first[5]))
    edit("delete 500", lambda: photos.delete(grid.images.selected_ids()), lambda: grid.select_label(first[0]))
    edit("label all by key", lambda: labelling.typed("2"), grid.selectAll)
    assert model.total == everything


def run_child(images: int, rounds: int) -> None:
    from PySide6.QtWidgets import QApplication

    from apitorch_desktop.cli.main import main

    def exec_(*_):
        from apitorch_desktop.ui.bootstrap import Bootstrap
        from apitorch_desktop.ui.main_window.main_window import MainWindow

        status = 1
        window = next(one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow))
        waiting = Acts.__new__(Acts)
        waiting.wait(lambda: window.findChild(Bootstrap) and not window.findChild(Bootstrap)._steps, "the window")
        made = window.findChild(Bootstrap)
        acts = Acts(made, images, rounds)
        try:
            acts.measure(
                "open the training set",
                lambda: None,
                lambda: made.session.open_set and made.session.open_set.listed and made.model.total == images,
            )
            issues = made.review.review
            acts.wait(lambda: issues.found is not None and not issues.busy, "Review")
            acts.rest(1)
            act_all(acts)
            status = 0
        finally:
            above = acts.report()
            window.close()
        return status or above

    QApplication.exec = exec_
    sys.exit(main([]))


def main(images: int = 10_000, rounds: int = 3) -> None:
    """In a home of its own."""
    import subprocess

    with tempfile.TemporaryDirectory() as home:
        os.environ["APITORCH_DESKTOP_HOME"] = home
        from apitorch_desktop.utils.paths import cache_folder, service_folder

        fill(service_folder(), cache_folder(), images)
        subprocess.run([sys.executable, __file__, "--child", str(images), str(rounds)], check=True, timeout=3600)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    if sys.argv[1:2] == ["--child"]:
        run_child(*map(int, sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
