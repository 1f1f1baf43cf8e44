"""Opening a training set that was seen before, of a million images against one of a thousand: the real program and service.

    xvfb-run -s "-screen 0 1600x1000x24" python tests/benchmarks/bench_opening.py [IMAGES] [ROUNDS]

Both lie in the tables of a service of their own, and have been listed once. In each round the program starts twice, once
for each, with a small set open; the large one is opened as the tree does it. Printed: until the first 20 thumbnails are
painted, until the service has answered what is new, the most processor time that the GUI thread took at once, and the
memory of the window (resident, in MB). Aim: thumbnails 1.5 times as late, 2.5 times the memory. The images' files
are zeros, in the test split, so that nothing is trained; the thumbnails are in the cache. Ten minutes, and 8 GB of disk.
"""

import io
import os
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

LABELS = [f"label_{letter}" for letter in "abcdefghijklmnopqrst"]
FIRST = 20
BEGAN = datetime(2024, 5, 1)  # noqa: DTZ001 - any time


def fill(folder: Path, cache: Path, images: int) -> None:
    """Write a small training set and a large one into the tables, and the first thumbnails into the cache."""
    from PIL import Image

    from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
    from apitorch_desktop.service.storage.store import Store
    from tests.helpers.sparse_images import store_sparse
    from tests.helpers.stores import ME

    with Store.open(folder) as store:
        sets = {store.training_sets.create(ME, name).id: count for name, count in (("Small", 5), ("Large", images))}
        for number in sets:
            for label in LABELS:
                store.labels.create(ME, number, label)
    packed = io.BytesIO()
    Image.effect_noise((256, 192), 60).convert("RGB").save(packed, "JPEG")
    thumbnails = OfflineCache(cache)
    stored = store_sparse(folder, sum(sets.values()))
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        for number, count in sets.items():
            first = connection.execute("SELECT MIN(seq) FROM labels WHERE training_set_id = ?", (number,)).fetchone()[0]
            rows = []
            for n in range(count):
                image_id = secrets.token_hex(20)
                created = (BEGAN + timedelta(seconds=n)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
                sha256 = next(stored)
                rows.append((image_id, number, first + n % len(LABELS), sha256, f"IMG_{n:07}.jpg", created))
                if n % len(LABELS) == 0 and n < 100 * len(LABELS):
                    thumbnails.save_thumbnail("embedded", f"ti_{image_id}", packed.getvalue())
            connection.executemany("INSERT INTO blobs VALUES (?, 100000, 640, 480, '.jpg')", [row[3:4] for row in rows])
            connection.executemany(
                "INSERT INTO images (id, training_set_id, label_seq, sha256, extension, width, height, bytes, "
                "original_filename, created_at, split) "
                "VALUES (?, ?, ?, ?, '.jpg', 640, 480, 100000, ?, ?, 'test')",
                rows,
            )
        connection.commit()
    thumbnails.close()


def run_child(what: str) -> None:
    """Start the program; list both sets ("list"), or open the large one and print four numbers."""
    from PySide6.QtWidgets import QApplication

    from apitorch_desktop.cli.main import main
    from tests.benchmarks.bench_curating import Clock
    from tests.helpers.event_loop import wait_until

    def exec_(*_):
        from apitorch_desktop.ui.bootstrap import Bootstrap
        from apitorch_desktop.ui.main_window.main_window import MainWindow

        window = next(one for one in QApplication.topLevelWidgets() if isinstance(one, MainWindow))
        made = wait_until(lambda: window.findChild(Bootstrap), "the window")
        wait_until(lambda: not made._steps and made.session.stores, "its parts")
        session, model, loader = made.session, made.model, made.photos.loader

        def is_listed(name: str) -> bool:
            found = session.open_set
            return found is not None and found.training_set.name == name and found.listed

        def opened(name: str) -> None:
            session.open(next(one for one in session.training_sets if one.name == name).id)

        def thumbnails() -> bool:
            shown = session.open_set
            if shown is None or shown.training_set.name != "Large" or model.total < FIRST:
                return False
            return all(loader.pixmap(model.image(row).image_id) is not None for row in range(FIRST))

        wait_until(lambda: len(session.training_sets) == 2, "the training sets", 600)
        for name in ("Large", "Small") if what == "list" else ("Small",):
            opened(name)
            wait_until(lambda name=name: is_listed(name), name, 3600)
        if what == "open":
            until = time.monotonic() + 2
            wait_until(lambda: time.monotonic() > until, "rest")
            clock, begun = Clock(), time.perf_counter()
            opened("Large")
            wait_until(thumbnails, "thumbnails", 600)
            made.photos.grid.viewport().repaint()
            painted = time.perf_counter() - begun
            wait_until(lambda: is_listed("Large"), "what is new", 600)
            answered = time.perf_counter() - begun
            until = time.monotonic() + 1
            wait_until(lambda: time.monotonic() > until, "rest")
            status = Path("/proc/self/status").read_text("ascii")
            memory = int(status.partition("VmRSS:")[2].split()[0]) / 1024
            print(f"result {painted * 1000} {answered * 1000} {clock.busy} {memory}", flush=True)
        window.close()
        return 0

    QApplication.exec = exec_
    sys.exit(main([]))


def child(home: str, what: str) -> list[float]:
    """Run the program in a home; return the numbers that it printed."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", what],
        env={**os.environ, "APITORCH_DESKTOP_HOME": home}, stdout=subprocess.PIPE, text=True, check=True, timeout=3600,
    )  # fmt: skip
    line = next((line for line in done.stdout.splitlines() if line.startswith("result ")), "result")
    return [float(number) for number in line.split()[1:]]


def main(images: int = 1_000_000, rounds: int = 5) -> None:
    """Each size in a home of its own."""
    sizes = (1000, images)
    with tempfile.TemporaryDirectory() as folder:
        homes = {size: f"{folder}/{size}" for size in sizes}
        for size, home in homes.items():
            os.environ["APITORCH_DESKTOP_HOME"] = home
            from apitorch_desktop.utils.paths import cache_folder, service_folder

            fill(service_folder(), cache_folder(), size)
            begun = time.perf_counter()
            child(home, "list")
            print(f"{size:,} images listed for the first time, start and end of the program included: "
                  f"{time.perf_counter() - begun:.1f} s", flush=True)  # fmt: skip
        found: dict[int, list[list[float]]] = {size: [] for size in sizes}
        for _ in range(rounds):
            for size, home in homes.items():
                found[size].append(child(home, "open"))
        medians = {
            size: [statistics.median(column) for column in zip(*rows, strict=True)] for size, rows in found.items()
        }
        for place, (what, unit) in enumerate(
            (
                ("first thumbnails", "ms"),
                ("what is new, answered", "ms"),
                ("GUI thread at once", "ms"),
                ("memory", "MB"),
            )
        ):
            few, many = (medians[size][place] for size in sizes)
            print(f"{what}: {few:.0f} {unit} of {sizes[0]:,}, {many:.0f} {unit} of {images:,}; ratio {many / few:.2f}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2])
    else:
        main(*map(int, sys.argv[1:]))
