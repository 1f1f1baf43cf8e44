"""Page of the map: makes it beside the window, colors it, and selects in the grid what the lasso holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent, QShowEvent, Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from apitorch_desktop.dataset.review.map import make_map
from apitorch_desktop.dataset.review.messages import MapRequest, MapUpdate
from apitorch_desktop.dataset.review.reviewer import item_of
from apitorch_desktop.ui.grid.view import GridView
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.map.view import MapView
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import ComboBox, ElidedLabel, ProgressBar, button, icon_button, label, surface
from apitorch_desktop.utils.text import plural

UPDATE_DELAY = 120
"""Milliseconds in which changes are gathered before the points are colored again."""
RETRY_DELAY = 3_000
"""Milliseconds after which photos that Review had not looked at are asked for again."""
COLORINGS = (("label", "By label"), ("confidence", "By confidence"), ("right", "By right and wrong"))
_KEYS = (
    "Drag: lasso · Ctrl+drag adds · right drag or arrows move · wheel, + and − zoom · Home shows all · "
    "1–0, letters and Delete as among the photos"
)


class MapPage(QWidget):
    """The open training set as a plane, on which photos that look alike lie together."""

    closed = Signal()
    open_requested = Signal(object)
    """The `TrainingImage` to open full size."""

    def __init__(self, session: Session, grid: GridView, loader: ThumbnailLoader, cache: Path, theme: Theme) -> None:
        super().__init__()
        surface(self, "canvas")
        self._session = session
        self._grid = grid
        self._model = grid.images
        self._cache = cache
        self._theme = theme
        self._task: Task | None = None
        self._update: MapUpdate | None = None
        self._of: object = None
        self.view = MapView(theme, loader, self._model.record, self._describe)
        self.coloring = ComboBox(theme, "Color")
        for key, text in COLORINGS:
            self.coloring.addItem(text, key)
        self.again = button("Lay out anew", "", lambda: self.make(anew=True))
        self.note = ElidedLabel("", "base", "muted")
        self.meter = ProgressBar(0, thin=True)
        self._close = icon_button(theme, "close", "Back to the photos (Esc)")
        self._lay_out()
        self._later = QTimer(self, interval=UPDATE_DELAY, singleShot=True)
        self._later.timeout.connect(self._place)
        self._retry = QTimer(self, interval=RETRY_DELAY, singleShot=True)
        self._retry.timeout.connect(self.make)
        self._wire()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(16, 8, 8, 4)
        head.setSpacing(8)
        head.addWidget(label("Map", "title"))
        head.addWidget(self.note, 1)
        head.addWidget(self.coloring)
        head.addWidget(self.again)
        head.addWidget(self._close)
        foot = QHBoxLayout()
        foot.setContentsMargins(16, 4, 16, 8)
        foot.addWidget(label(_KEYS, "small", "muted", wrap=True))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.meter)
        column.addWidget(self.view, 1)
        column.addLayout(foot)

    def _wire(self) -> None:
        self._close.clicked.connect(self.closed)
        self.coloring.currentIndexChanged.connect(lambda _index: self._color())
        self.view.selected.connect(self._select)
        self.view.activated.connect(self._open)
        self.view.key_pressed.connect(self._key)
        self._session.open_set_changed.connect(self._on_open_set_changed)
        self._session.listing_changed.connect(self._on_listing_changed)
        self._model.counts_changed.connect(self._later.start)
        self._model.modelReset.connect(self._later.start)
        self._model.dataChanged.connect(lambda *_: self._later.start())
        self._grid.summary_changed.connect(lambda _summary: self._mark())

    # --- making

    def make(self, *, anew: bool = False) -> None:
        """Make the map of the open training set, or complete it."""
        open_set, workspace = self._session.open_set, self._session.workspace
        if open_set is None or workspace is None or (self._task is not None and not anew):
            return
        self._cancel()
        self._of = open_set
        connection, set_id = workspace.connection.id, str(open_set.training_set.id)
        images = self._model.records()

        def job(context: JobContext) -> MapUpdate:
            import numpy as np  # noqa: F401 - for the view, which must not wait for it

            keys = [item_of(image).key for image in images]
            request = MapRequest(str(self._cache), connection, set_id, keys, anew)
            return make_map(request, context.post, context.cancelled)

        self.meter.show()
        self.meter.set_share(None)
        self._task = self._session.run(
            "Map", job, self._done, failed=self._failed, progress=self._show, lane=Lane.WATCH, owner=open_set
        )

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None

    def _done(self, update: MapUpdate) -> None:
        self._task = None
        self.meter.hide()
        self._show(update)
        if update.missing and self.isVisible():
            self._retry.start()

    def _failed(self, error: Exception) -> bool:
        self._task = None
        self.meter.hide()
        self.note.setText(error_message(error).text)
        return True

    def _show(self, update: MapUpdate) -> None:
        self.meter.set_share(update.share)
        count = plural(len(update.keys), "photo")
        waiting = f"; {plural(update.missing, 'photo')} not looked at yet" if update.missing else ""
        self.note.setText(f"{count}{waiting}" if update.final else f"Laying out {count}{waiting}…")
        if update.positions is not None:
            self._update = update
            self._place()

    # --- showing

    def _place(self) -> None:
        """Give the view the positions of the photos that the grid shows."""
        update = self._update
        if update is None or update.positions is None or not self.isVisible():
            return
        import numpy as np

        places = {key: index for index, key in enumerate(update.keys)}
        ids, index = [], []
        for image in self._model.records():
            place = places.get(item_of(image).key)
            if place is not None and self._model.row_of(image.image_id) is not None:
                ids.append(image.image_id)
                index.append(place)
        positions = np.frombuffer(update.positions, "<f4").reshape(-1, 2)
        self.view.set_points(ids, positions[np.array(index, np.intp)])
        self._color()
        self._mark()

    def _color(self) -> None:
        ids = self.view.ids
        if not ids:
            return
        import numpy as np

        colors, legend = self._colorings()[str(self.coloring.currentData())](ids)
        self.view.set_colors(np.array(colors, np.uint32), legend)

    def _colorings(self) -> dict[str, Callable[[list[str]], tuple[list[int], list[tuple[str, QColor]]]]]:
        return {"label": self._by_label, "confidence": self._by_confidence, "right": self._by_right}

    def _by_label(self, ids: list[str]) -> tuple[list[int], list[tuple[str, QColor]]]:
        labels = [self._model.label_of(image_id) or "" for image_id in ids]
        colors = {name: label_color(place) for place, name in enumerate(sorted(set(labels)))}
        values = {name: color.rgb() for name, color in colors.items()}
        return [values[name] for name in labels], list(colors.items())

    def _by_confidence(self, ids: list[str]) -> tuple[list[int], list[tuple[str, QColor]]]:
        answers, muted = self._model.answers, self._theme.color("muted")
        ramp = [_mixed(self._theme, step / 20) for step in range(21)]
        values = [color.rgb() for color in ramp]
        found = [answers.get(image_id) for image_id in ids]
        colors = [muted.rgb() if answer is None else values[round(answer.confidence * 20)] for answer in found]
        return colors, [("sure", ramp[20]), ("half sure", ramp[10]), ("unsure", ramp[4]), ("not answered yet", muted)]

    def _by_right(self, ids: list[str]) -> tuple[list[int], list[tuple[str, QColor]]]:
        right, wrong, muted = (self._theme.color(token) for token in ("good", "bad", "muted"))
        colors = []
        for image_id in ids:
            answer = self._model.answers.get(image_id)
            tone = muted if answer is None else right if answer.label == self._model.label_of(image_id) else wrong
            colors.append(tone.rgb())
        return colors, [("right", right), ("wrong", wrong), ("not answered yet", muted)]

    def _mark(self) -> None:
        if not self.view.ids or not self.isVisible():
            return
        import numpy as np

        chosen = set(self._model.selected_ids())
        self.view.set_chosen(np.array([image_id in chosen for image_id in self.view.ids], bool))

    def _describe(self, image_id: str) -> str:
        image = self._model.record(image_id)
        if image is None:
            return ""
        answer = self._model.answers.get(image_id)
        lines = [image.display_name, str(image.label), answer.text if answer is not None else ""]
        return "\n".join(line for line in lines if line)

    # --- acts

    def focus(self) -> None:
        """Focus the widget that handles the keys."""
        self.view.setFocus()

    def _select(self, ids: list[str], add: bool) -> None:
        self._grid.select([*(self._model.selected_ids() if add else ()), *ids])
        self._mark()

    def _open(self, image_id: str) -> None:
        image = self._model.record(image_id)
        if image is not None:
            self.open_requested.emit(image)

    def _key(self, event: QKeyEvent) -> None:
        text = event.text()
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        elif event.key() == Qt.Key.Key_Delete or (len(text) == 1 and text.isalnum()):
            self._grid.keyPressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """Make the map when it is first shown, else complete it."""
        super().showEvent(event)
        self._place()
        self.make()

    def _on_open_set_changed(self) -> None:
        self._cancel()
        self._retry.stop()
        self._update = None
        self.view.clear()
        self.meter.hide()
        self.note.setText("")

    def _on_listing_changed(self) -> None:
        if self.isVisible():
            self._later.start()
            self._retry.start()


def label_color(place: int) -> QColor:
    """Return the color of the label at a place: hues by the golden angle, so that neighbors differ."""
    return QColor.fromHsvF(
        (0.03 + place * 0.61803398875) % 1.0, 0.62 if place % 2 else 0.78, 0.85 if place % 3 else 0.7
    )


def _mixed(theme: Theme, share: float) -> QColor:
    """Return a color between bad (0), warn and good (1)."""
    tokens = ("bad", "warn") if share < 0.5 else ("warn", "good")
    low, high = (theme.color(token) for token in tokens)
    part = share * 2 % 1 if share < 1 else 1.0
    return QColor.fromRgbF(
        *(
            a + (b - a) * part
            for a, b in ((low.redF(), high.redF()), (low.greenF(), high.greenF()), (low.blueF(), high.blueF()))
        )
    )
