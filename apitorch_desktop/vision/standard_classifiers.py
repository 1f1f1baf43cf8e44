"""The three standard classifiers: safe-for-work, extract-text and design-score."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.vision import image_quality
from apitorch_desktop.vision.encoder import Encoder, model_file

SAFE_LABELS: Final = ("safe for work", "not safe for work")
TEXT_LABELS: Final = ("contains text", "does not contain text")
DESIGN_LABELS: Final = ("excellent", "good", "fair", "poor")

_SURE: Final = 0.8
"""Recognition confidence from which a line counts; with it 7 % of plain photos have text, all of it real lettering."""
_LETTERS: Final = 3
_LONGEST: Final = 1280
"""Longer side in pixels at which text is detected: larger sizes take more time and find hardly more."""
_STRIP: Final = 4
"""Ratio of the sides from which an image is read in pieces; the detector's own limit is some 8."""
_MOST_PIECES: Final = 12
_MOST_DETECTED: Final = 3 * 10**6
"""Pixels in which text is detected in all pieces together, 1.8 times as many where all cuts are early: 2.4 to 4.3 photos."""
_MOST_READ: Final = 2000
"""Longer side in pixels at which the text of a piece is read, rapidocr's own limit."""
_GAP: Final = 25
"""Pixels over which the least is looked for, more than lie between two letters of a word."""
_LOWEST_LETTER: Final = 6
"""Pixels of the shorter side below which there are no letters."""
_FAINTEST: Final = 8
"""Difference of 255 from the ground below which nothing is read."""
_NATIVE: Final = 2048
_SEEN: Final = 1024
_FLOORS: Final = ((80, "excellent"), (60, "good"), (40, "fair"), (0, "poor"))


class ReaderUnavailable(UserError):  # noqa: N818 - named for the condition
    """extract-text cannot work on this machine; `str()` is a sentence with the reason."""


@dataclass(frozen=True, slots=True)
class StandardAnswer:
    """A standard classifier's answer, with the fields of `types.Classification`.

    `confidence_value` in 0…1, None where the classifier has none; `text` None unless extract-text; `measures` empty
    unless design-score.
    """

    label: str
    sentence: str
    confidence_value: float | None = None
    value: Any = None
    text: str | None = None
    measures: dict[str, float] = field(default_factory=dict)


class SafetyScorer:
    """The classifier safe-for-work; call it with an upright RGB image. Loads its model at the first call. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Encoder | None = None

    def __call__(self, image: Image.Image) -> StandardAnswer:
        """Classify an image. Raises UnusableEncoder."""
        with self._lock:
            self._model = self._model or Encoder(model_file("safe_for_work.onnx"), output="outputs")
        return safe_for_work(float(self._model.encode([image])[0, -1]))


def safe_for_work(unsafe: float) -> StandardAnswer:
    """Answer from an unsafe score in 0…1; `value` is whether the image is safe."""
    safe = unsafe < 0.5
    label = SAFE_LABELS[0 if safe else 1]
    return StandardAnswer(label, f"Image is {label}.", confidence_value=max(unsafe, 1 - unsafe), value=safe)


class TextReader:
    """The classifier extract-text; call it with an upright RGB image of at least `shorter_side` pixels if the file has them.

    Loads its models (a second or two) at the first call, from the package and never from the network. Thread-safe; one
    image at a time.
    """

    shorter_side: Final = 960

    def __init__(self, threads: int = 0) -> None:
        """Use `threads` threads, 0 for one per core."""
        self._threads = threads
        self._lock = threading.Lock()
        self._engine: Any = None

    def __call__(self, image: Image.Image) -> StandardAnswer:
        """Read the text from top to bottom; `value` is whether there is any. Raises ReaderUnavailable."""
        lines = []
        for piece in _pieces(image):
            pixels = np.ascontiguousarray(np.asarray(piece.convert("RGB"))[:, :, ::-1])
            if np.ptp(pixels.reshape(-1, 3), axis=0).max() < _FAINTEST:
                continue
            with self._lock:
                self._engine = self._engine or self._load()
                found = self._engine(pixels)
            lines += [
                (text.strip(), float(score))
                for text, score in zip(found.txts or (), found.scores or (), strict=True)
                if score > _SURE and sum(letter.isalnum() for letter in text) >= _LETTERS
            ]
        label = TEXT_LABELS[0 if lines else 1]
        if not lines:
            return StandardAnswer(label, f"Image {label}.", value=False, text="")
        text = "\n".join(line for line, _ in lines)
        return StandardAnswer(
            label, f"Image {label}.", confidence_value=max(score for _, score in lines), value=True, text=text
        )

    def _load(self) -> Any:
        try:
            import rapidocr
        except ImportError as error:
            raise ReaderUnavailable(
                f"Text cannot be read: the package rapidocr does not load here ({error})."
            ) from error
        folder = Path(rapidocr.__file__).parent / "models"
        models = {part: next(iter(sorted(folder.glob(f"*_{part.lower()}_*.onnx"))), None) for part in ("Det", "Rec")}
        if missing := [part for part, path in models.items() if path is None]:  # rapidocr would download them
            raise ReaderUnavailable(
                f"Text cannot be read: rapidocr came without its model {missing[0]}. Install it again."
            )
        settings = {
            "Global.log_level": "critical",
            "Global.use_cls": False,  # upside-down text is not worth the time
            "Det.limit_type": "max",
            "Det.limit_side_len": _LONGEST,
            "EngineConfig.onnxruntime.intra_op_num_threads": self._threads or -1,
            **{f"{part}.model_path": str(path) for part, path in models.items()},
        }
        return rapidocr.RapidOCR(params=settings)


def _pieces(image: Image.Image) -> list[Image.Image]:
    """Cut a long image into pieces in which text can be detected, where they show least; others are one piece.

    Of an image thinner than any letter, none. Scaled as a whole to `_LONGEST`, a strip's letters would vanish. All is
    scaled beforehand to what is read, as a few bytes may be an image of a hundred megapixels.
    """
    shorter, longer = sorted(image.size)
    each = longer
    if longer > max(_LONGEST, _STRIP * shorter):
        dense = int(_LONGEST * (longer * shorter / _MOST_DETECTED) ** 0.5)
        each = max(_LONGEST, 2 * shorter, longer // _MOST_PIECES + 1, dense)
    if each > _MOST_READ:
        size = [max(1, side * _MOST_READ // each) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
        shorter, longer = sorted(size)
        each = _MOST_READ
    if shorter < _LOWEST_LETTER:
        return []
    if longer <= each:
        return [image]
    lying = image.width == longer
    gray = np.asarray(image.convert("L"), np.float32)
    edges = np.abs(np.diff(gray, axis=0 if lying else 1)).mean(axis=0 if lying else 1)  # by column or row
    edges = np.convolve(edges, np.full(_GAP, 1 / _GAP), "same")  # wider than the gap between two letters
    cuts = [0]
    while longer - cuts[-1] > each:
        first = cuts[-1] + each * 3 // 4
        last = cuts[-1] + each - 1
        cuts.append(last - int(edges[last : first - 1 : -1].argmin()))  # the last of several: fewer pieces
    ends = [*cuts[1:], longer]
    if lying:
        return [image.crop((start, 0, end, shorter)) for start, end in zip(cuts, ends, strict=True)]
    return [image.crop((0, start, shorter, end)) for start, end in zip(cuts, ends, strict=True)]


def design_score(image: Image.Image) -> StandardAnswer:
    """Score an upright RGB image: `value` is 0…100, `measures` its parts, each 0 (bad) … 1 (good).

    Takes the image at full size, as scaling removes noise and JPEG blocks. The score is the mean of the measures'
    geometric mean and their minimum, so that one severe fault suffices for a low one.
    """
    native = image_quality.luma(_center(image))
    small = image.copy()
    small.thumbnail((_SEEN, _SEEN), Image.Resampling.LANCZOS)
    scaled = image_quality.luma(small)
    mean, black, white = image_quality.exposure(scaled)
    measures = {
        "sharpness": _good(image_quality.blur(scaled), 0.65, 0.3),
        "exposure": min(_good(abs(mean - 0.5), 0.4, 0.2), _good(max(black, white), 0.7, 0.2)),
        "contrast": _good(image_quality.contrast(scaled), 0.1, 0.5),
        "noise": _good(image_quality.noise(native), 15, 1),
        "blockiness": _good(image_quality.blockiness(native), 6, 1),
        "resolution": _good(float(np.log10(min(image.size))), 2, 3),
    }
    values = np.array(list(measures.values()))
    geometric = float(np.exp(np.log(np.maximum(values, 0.02)).mean()))
    score = round(50 * (geometric + float(values.min())))
    label = next(name for floor, name in _FLOORS if score >= floor)
    return StandardAnswer(label, _sentence(score, label, measures, mean), value=score, measures=measures)


def _sentence(score: int, label: str, measures: dict[str, float], mean: float) -> str:
    faults = {
        "sharpness": "not sharp",
        "exposure": "too dark" if mean < 0.5 else "too bright",
        "contrast": "low in contrast",
        "noise": "grainy",
        "blockiness": "marked by strong compression",
        "resolution": "small",
    }
    worst = sorted((name for name in measures if measures[name] < 0.5), key=lambda name: measures[name])[:2]
    reason = f": it is {' and '.join(faults[name] for name in worst)}" if worst else ""
    return f"Image has {'an' if label == 'excellent' else 'a'} {label} design score, {score} of 100{reason}."


def _good(value: float, bad: float, good: float) -> float:
    """Interpolate linearly from 0 at `bad` to 1 at `good`, to three decimals."""
    return round(min(1.0, max(0.0, (value - bad) / (good - bad))), 3)


def _center(image: Image.Image) -> Image.Image:
    """Crop the center, at most _NATIVE × _NATIVE pixels, without scaling."""
    width, height = min(image.width, _NATIVE), min(image.height, _NATIVE)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
