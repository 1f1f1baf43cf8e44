"""Makes the README's film: drives the real window under Xvfb as a user would, and writes what is seen as an animated WebP.

    .venv/bin/python packaging/film.py [PHOTOS]

PHOTOS has `train/<label>/*.jpg` and `test/<label>/*.jpg` (default: `../shared/data/clothing`, else drawn ones). Needs the
extra `test`, Xvfb and xdotool. Waits are for the viewer, and for what the program has to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "packaging" / "screenshots" / "film.webp"
SIZE = (1200, 800)
LABELS = ("dress", "longsleeve", "outwear", "pants", "shirt", "shoes", "t-shirt")
EACH = 9
"""Photos of each label: few enough for a mistake."""
TICK = 100
"""Milliseconds between two looks at the screen."""
QUALITY = 75
SHORTEST = 0.08
"""Seconds that a frame is shown at least."""
LAPSE = 8
"""Times as fast as it was are shown the waits for what the program has to do."""
LIMIT = 1_500_000
"""Bytes of the film at most."""
CORNER = (1340, 860)
"""Of the window that files are dragged from, outside of ours."""


class Recorder:
    """Keeps the frames of a window with the pointer in them, and how long each was seen."""

    def __init__(self, window: Any) -> None:
        from PySide6.QtCore import QTimer

        self.frames: list[tuple[Any, float]] = []
        """Image, and the time of the film at which it is first seen, in seconds."""
        self.pace = 1.0
        self._clock = 0.0
        self._last = time.monotonic()
        self._window = window
        self._timer = QTimer(window, interval=TICK)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _look(self) -> None:
        from PySide6.QtCore import QPoint
        from PySide6.QtGui import QColor, QCursor, QImage, QPainter, QPolygon

        window = self._window
        corner = window.mapToGlobal(QPoint(0, 0))
        shot = window.screen().grabWindow(0, corner.x(), corner.y(), window.width(), window.height()).toImage()
        shot = shot.convertToFormat(QImage.Format.Format_RGB32)
        painter = QPainter(shot)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(QCursor.pos() - corner)
        painter.setPen(QColor("white"))
        painter.setBrush(QColor("black"))
        outline = ((0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12))
        painter.drawPolygon(QPolygon([QPoint(*point) for point in outline]))
        painter.end()
        now = time.monotonic()
        self._clock += (now - self._last) / self.pace
        self._last = now
        if not self.frames or shot != self.frames[-1][0]:
            if len(self.frames) > 1 and self._clock - self.frames[-1][1] < SHORTEST:
                self.frames[-1] = (shot, self.frames[-1][1])
            else:
                self.frames.append((shot, self._clock))

    def save(self, target: Path) -> None:
        """Write the film; each frame is shown for at most 2.5 s, the last one for 3 s."""
        from PIL import Image

        self._timer.stop()
        images = [
            Image.frombytes("RGB", SIZE, bytes(shot.convertToFormat(shot.Format.Format_RGB888).constBits()))
            for shot, _at in self.frames
        ]
        ends = [at for _shot, at in self.frames[1:]]
        seen = [min(2500, round((end - at) * 1000)) for (_shot, at), end in zip(self.frames, ends, strict=False)]
        target.parent.mkdir(exist_ok=True)
        images[0].save(
            target,
            save_all=True,
            append_images=images[1:],
            duration=[*seen, 3000],
            loop=0,
            quality=QUALITY,
            method=4,
            minimize_size=True,
        )


def film(photos: Path, work: Path) -> None:
    """Drop a folder, import it, drop a photo that the classifier has wrong, correct it, and see it right."""
    import pytest
    from PySide6.QtCore import QPoint

    from apitorch_desktop.ui.classify.feedback import FeedbackDialog
    from apitorch_desktop.ui.importer.dialog import ImportDialog
    from tests.helpers import app_runner as program
    from tests.helpers import x11_pointer as pointer
    from tests.helpers.event_loop import turn

    folder = work / "Summer"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for photo in sorted((photos / "train" / label).iterdir())[:EACH]:
            shutil.copy(photo, folder / label)
    corner = QPoint(*CORNER)

    def pause(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            turn()
            time.sleep(0.01)

    def lapse(recorder: Recorder, condition: Any, what: str) -> Any:
        recorder.pace = LAPSE
        try:
            return program.wait(condition, what)
        finally:
            recorder.pace = 1

    def press(widget: Any) -> None:
        from PySide6.QtGui import QCursor

        start, end = QCursor.pos(), pointer.center(widget)
        steps: list[object] = []
        for part in range(1, 9):
            at = start + (end - start) * (part / 8)
            steps += ["mousemove", at.x(), at.y(), "sleep", 0.07]
        pointer.xdotool(*steps)
        program.press(widget)

    def mistaken(made: Any) -> tuple[Path, str]:
        for label in LABELS:
            for photo in sorted((photos / "test" / label).iterdir()):
                [answer] = made.session.workspace.classify(["summer"], path=photo)
                if answer.label != label.replace("-", "_"):
                    return photo, label.replace("-", "_")
        raise SystemExit("The classifier has all photos right: nothing to correct.")

    def steps(made: Any) -> None:
        window, frame, panel = made.window, made.central_widget, made.classify_panel
        window.setGeometry(0, 0, *SIZE)
        program.wait(lambda: made.session.sets_confirmed, "the service")
        program.wait(lambda: frame.empty.title() == "Drop a folder of photos here", "the empty window")
        pause(0.5)
        recorder = Recorder(window)
        pause(1.5)
        pointer.drag([folder], pointer.center(frame.pages), corner)
        plan = lapse(recorder, lambda: program.dialog(ImportDialog), "the plan")
        lapse(recorder, plan.start.isEnabled, "the look at the photos")
        pause(2)
        press(plan.start)
        lapse(recorder, lambda: made.model.total == len(LABELS) * EACH, "the photos")
        status = lambda: made.session.open_set and made.session.open_set.classifier_status.classifier  # noqa: E731
        lapse(recorder, lambda: status() is not None and status().status == "ready", "the classifier")
        pause(2)
        recorder.pace = 1000
        photo, right = mistaken(made)
        pause(0.2)
        recorder.pace = 1
        pointer.drag([photo], pointer.center(panel.photo), corner)
        card = lapse(recorder, lambda: panel.cards.get("summer"), "the answer's card")
        lapse(recorder, lambda: card.answer, "the answer")
        pause(2.2)
        press(card.wrong)
        question = program.wait(lambda: program.dialog(FeedbackDialog), "the feedback")
        program.wait(question.isActiveWindow, "its focus")
        pause(1)
        for letter in right.replace("_", "-")[:4]:
            pointer.write(letter)
            pause(0.2)
        program.wait(lambda: question.chosen() == right, "the label")
        pause(0.8)
        pointer.key("Return")
        lapse(recorder, lambda: card.answer is not None and card.answer.label == right, "the second answer")
        pause(2.5)
        recorder.save(TARGET)

    patch = pytest.MonkeyPatch()
    try:
        program.run(patch, steps)
    finally:
        patch.undo()


def main() -> None:
    """Start a screen, make the film, check its size."""
    sys.path.insert(0, str(ROOT))
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data" / "clothing"
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp", "-noreset"]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(words, pass_fds=[write]) as screen:
        os.close(write)
        with os.fdopen(read) as number:
            os.environ["DISPLAY"] = f":{number.readline().strip()}"
        os.environ |= {
            "QT_QPA_PLATFORM": "xcb",
            "APITORCH_DESKTOP_HOME": str(Path(folder, "home")),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }
        try:
            if not given.is_dir():
                from tests.helpers.photos import make

                given = make(Path(folder, "photos"))
            film(given, Path(folder))
        finally:
            screen.terminate()
    size = TARGET.stat().st_size
    print(f"{TARGET}: {size / 1e6:.2f} MB")  # noqa: T201
    if size > LIMIT:
        sys.exit(f"That is more than {LIMIT / 1e6} MB: lower QUALITY or SIZE.")


if __name__ == "__main__":
    main()
