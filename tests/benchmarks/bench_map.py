"""The map: processor time of a layout, and of a frame, the lasso and the pointer with 100,000 points.

    QT_QPA_PLATFORM=offscreen python tests/benchmarks/bench_map.py [IMAGES …]

The embeddings are drawn around a point for each of twenty labels. A frame has to stay below 16.7 ms for 60 a second.
"""

import statistics
import sys
import time

import numpy as np
from PySide6.QtCore import QObject, QPointF, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from apitorch_desktop.dataset.review.map import complete, lay_out
from apitorch_desktop.ui.map.page import MapView
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources

POINTS = 100_000
LABELS = 20
SIZE = (1440, 900)


class NoThumbnails(QObject):
    loaded = Signal(list)

    def request(self, *_images) -> None:
        pass

    def pixmap(self, _image_id):
        return None


def layouts(sizes) -> None:
    random = np.random.default_rng(0)
    for images in sizes:
        centers = random.normal(0, 3, (LABELS, 256))
        rows = (centers[random.integers(0, LABELS, images)] + random.normal(0, 1, (images, 256))).astype(np.float16)
        start = time.process_time()
        positions = lay_out(rows)
        whole = time.process_time() - start
        places = {str(index): tuple(positions[index].tolist()) for index in range(images) if index % 10}
        start = time.process_time()
        complete(rows, [str(index) for index in range(images)], places)
        print(
            f"{images:,} images: {whole:.1f} s; a tenth of them placed: {time.process_time() - start:.2f} s", flush=True
        )


def frames() -> None:
    app = QApplication([])
    theme = Theme(resources())
    theme.apply(app)
    view = MapView(theme, NoThumbnails(), lambda _id: None, lambda _id: "")
    view.resize(*SIZE)
    view.show()
    random = np.random.default_rng(0)
    around = random.normal(0, 6, (LABELS, 2))[random.integers(0, LABELS, POINTS)]
    view.set_points(
        [str(index) for index in range(POINTS)], (random.normal(0, 1, (POINTS, 2)) + around).astype(np.float32)
    )
    view.set_colors(
        random.integers(0xFF000000, 0xFFFFFFFF, POINTS).astype(np.uint32), [("label", theme.color("good"))] * 12
    )
    view.set_chosen(np.arange(POINTS) < 2_000)
    canvas = QImage(*SIZE, QImage.Format.Format_RGB32)
    middle = QPointF(SIZE[0] / 2, SIZE[1] / 2)
    for zoom in (1, 2, 6, 20):
        view.fit()
        view.zoom(zoom, middle)
        print(f"a frame at {zoom} ×: {timed(lambda: view.render(canvas)):.1f} ms")
    view.fit()
    lasso = [QPointF(700 + 500 * np.cos(angle), 450 + 350 * np.sin(angle)) for angle in np.linspace(0, 6, 200)]
    print(f"a lasso of 200 corners: {timed(lambda: view.enclosed(lasso)):.1f} ms")
    print(f"the point at the pointer: {timed(lambda: view.nearest(middle)):.1f} ms")


def timed(act, rounds: int = 15) -> float:
    """Median of the thread's processor time in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        act()
        times.append(1000 * (time.thread_time() - start))
    return statistics.median(times)


if __name__ == "__main__":
    frames()
    layouts([int(argument) for argument in sys.argv[1:]] or [1_000, 10_000])
