"""The grid against QListView in icon mode: first paint, page scroll, select all, reset; A and B in turn.

    xvfb-run -s "-screen 0 1600x1000x24" python tests/benchmarks/bench_grid.py [IMAGES [RUNS]]

Prints the medians in milliseconds and the median of the ratios pair by pair (below 1: the grid is faster), then how the
grid does alone with ten times as many, and the latest tick of a 10 ms timer while a thousand photos come in.
"""

import statistics
import sys
import time
from itertools import islice, pairwise

from PySide6.QtCore import QAbstractListModel, QEvent, QObject, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import QApplication, QListView

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.workspace.image_table import tabulate
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.grid.view import GridView
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.tasks.runner import TaskRunner
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.paths import resources

SIZE = QSize(842, 810)
LABELS = [f"label_{number}" for number in range(10)]


class OnePicture(ThumbnailLoader):
    """Every image has the same picture at once, so that only the views are measured."""

    one: QPixmap

    def pixmap(self, image_id):
        return self.one

    def request(self, images, edge):
        pass


def picture(edge):
    """A photo of 3 : 4, whose shorter side has `edge` pixels."""
    made = QPixmap(edge, edge * 4 // 3)
    made.fill(QColor("#8899aa"))
    return made


class Plain(QAbstractListModel):
    """What QListView needs: a name and an icon a row."""

    def __init__(self, names, icon):
        super().__init__()
        self.names, self.icon = names, icon

    def rowCount(self, parent=None):  # noqa: N802 - Qt's name
        return len(self.names)

    def data(self, index, role=Qt.ItemDataRole.DisplayRole):
        if role == Qt.ItemDataRole.DecorationRole:
            return self.icon
        return self.names[index.row()] if role == Qt.ItemDataRole.DisplayRole else None

    def set_names(self, names):
        self.beginResetModel()
        self.names = names
        self.endResetModel()


class Painted(QObject):
    """Sees the first paint of a view."""

    def __init__(self, view):
        super().__init__()
        self.seen = False
        view.viewport().installEventFilter(self)

    def eventFilter(self, watched, event):  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Paint:
            QTimer.singleShot(0, self.see)  # behind this paint
        return False

    def see(self):
        self.seen = True


class Bench:
    def __init__(self, app, images):
        self.theme = Theme(resources())
        self.theme.apply(app)
        self.app = app
        self.tasks = TaskRunner()
        OnePicture.one = picture(126)
        self.icon = QIcon(OnePicture.one)
        self.table = make_table(images)
        self.names = [image.original_filename for image in self.table.snapshot()]

    def grid(self):
        model = GridModel()
        model.set_table(LABELS, self.table)
        view = GridView(model, OnePicture(self.tasks, lambda image, cancelled: b""), self.theme)
        return view, lambda: model.set_table(LABELS, self.table)

    def list(self):
        model = Plain(self.names, self.icon)
        view = QListView()
        view.setViewMode(QListView.ViewMode.IconMode)
        view.setResizeMode(QListView.ResizeMode.Adjust)
        view.setMovement(QListView.Movement.Static)
        view.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        view.setUniformItemSizes(True)
        view.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        view.setIconSize(QSize(126, 126))
        view.setGridSize(QSize(136, 152))
        view.setModel(model)
        view.model_kept = model
        return view, lambda: model.set_names(self.names)

    def measure(self, make):
        """Milliseconds by name."""
        start = time.perf_counter()
        view, reset = make()
        view.resize(SIZE)
        painted = Painted(view)
        view.show()
        while not painted.seen:
            self.app.processEvents()
        took = {"first paint": time.perf_counter() - start}
        for _ in range(5):
            self.app.processEvents()
        if isinstance(view, GridView):
            OnePicture.one = picture(view.content.cell)  # what the loader would make
        bar, pages = view.verticalScrollBar(), []
        for page in range(1, 31):
            start = time.perf_counter()
            bar.setValue(page * 800)
            view.viewport().repaint()
            pages.append(time.perf_counter() - start)
        took["page scroll"] = statistics.median(pages)
        start = time.perf_counter()
        view.selectAll()
        view.viewport().repaint()
        took["select all"] = time.perf_counter() - start
        view.clearSelection()
        self.app.processEvents()
        start = time.perf_counter()
        reset()
        took["reset"] = time.perf_counter() - start
        view.viewport().repaint()
        self.app.processEvents()
        took["reset and paint"] = time.perf_counter() - start
        view.close()
        view.deleteLater()
        self.app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        return {name: seconds * 1000 for name, seconds in took.items()}

    def latest_tick(self):
        """How late a 10 ms timer is at worst, in ms, while a thousand photos come into 10,000; and when nothing comes."""
        model = GridModel()
        model.set_table(LABELS, make_table(10_000))
        view = GridView(model, OnePicture(self.tasks, lambda image, cancelled: b""), self.theme)
        view.resize(SIZE)
        view.show()
        coming = (make_image(number, LABELS[number % 10]) for number in range(10**6, 10**6 + 1000))
        feed = QTimer(interval=1)
        feed.timeout.connect(lambda: model.add(list(islice(coming, 5))))
        self._worst_gap(0.5)
        idle = self._worst_gap(1.5)
        view.verticalScrollBar().setValue(3000)
        feed.start()
        busy = self._worst_gap(1.5)
        feed.stop()
        added = model.total - 10_000
        view.close()
        view.deleteLater()
        return idle, busy, added

    def _worst_gap(self, seconds):
        ticks = []
        timer = QTimer(interval=10, timerType=Qt.TimerType.PreciseTimer)
        timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
        timer.start()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.app.processEvents()
            time.sleep(0.0005)
        timer.stop()
        return max(later - sooner for sooner, later in pairwise(ticks)) * 1000 - 10


def make_image(number, label):
    return TrainingImage(
        filename=f"{number:040x}.jpg", url="", label=label, bytes=27_000, original_filename=f"IMG_{number}.jpg"
    )


def make_table(images):
    """What a lane hands to the window."""
    each = images // len(LABELS)
    return tabulate(
        [make_image(at * each + number, label) for at, label in enumerate(LABELS) for number in range(each)]
    )


def main(images=100_000, runs=7):
    app = QApplication(sys.argv[:1])
    bench = Bench(app, images)
    bench.measure(bench.grid), bench.measure(bench.list)
    pairs = [(bench.measure(bench.grid), bench.measure(bench.list)) for _ in range(runs)]
    print(f"{images:,} images, median of {runs} pairs      grid      QListView   ratio")
    for name in pairs[0][0]:
        ours, theirs = ([pair[side][name] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"  {name:24} {statistics.median(ours):10.2f} ms {statistics.median(theirs):10.2f} ms  {ratio:6.3f}")
    bench.table = make_table(images * 10)
    alone = [bench.measure(bench.grid) for _ in range(3)]
    print(f"{images * 10:,} images, the grid alone")
    for name in alone[0]:
        print(f"  {name:24} {statistics.median(run[name] for run in alone):10.2f} ms")
    idle, busy, added = bench.latest_tick()
    print(f"latest tick of a 10 ms timer: {idle:.1f} ms idle, {busy:.1f} ms while {added:,} photos came in")
    bench.tasks.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
