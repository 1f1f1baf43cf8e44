"""How well and how fast the built-in encoder and head learn, beside the encoder of version 0.1.0.

    python tests/benchmarks/bench_learning.py [ENCODER.onnx]

Prints, for the built-in encoder and for another (by default that of version 0.1.0, whose embedding safe_for_work.onnx still
has), both under the present head, on ../shared/data/clothing: milliseconds an image; accuracy and calibration error with the
given split (600 to train, 179 to test), on random splits of the same size, and with 2, 4, 10 and 20 photos a label; and
which share is taken for none of the labels: photos of known labels, of labels left out, and drawn images; accuracy with 100
labels chosen by what to label next, beside that with 100, 130 and 160 random ones, mean of five splits. Then fit times on
made-up embeddings, to the preview where there is one and to the end: CPU seconds (what an idle core takes) and elapsed ones.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from apitorch_desktop.vision.calibration import calibration_error
from apitorch_desktop.vision.encoder import Encoder, model_file
from apitorch_desktop.vision.folds import sibling_groups
from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.images import open_upright
from apitorch_desktop.vision.issues import label_next
from tests.helpers.image_samples import photo_like

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing"
FEW = (2, 4, 10, 20)
SPLITS = 10
RUNS = 5
DRAWS = 8
CHOSEN, START, STEP = 100, 20, 20
"""Labels of what to label next, of which START are random, as without a classifier nothing can be chosen; STEP at a time."""
DRAWN = 40
SIZES = ((8, 2), (100, 10), (600, 10), (1_000, 10), (1_000, 43), (10_000, 10), (10_000, 43))
"""Images and labels."""


class Clothing:
    """The photos' embeddings by one encoder."""

    def __init__(self, encoder: Encoder) -> None:
        files = sorted(PHOTOS.glob("t*/*/*.jpg"))
        self.labels = np.array([file.parent.name for file in files])
        self.given = np.array([file.parents[1].name == "train" for file in files])
        images = [open_upright(file.read_bytes(), encoder.shorter_side) for file in files]
        encoder.encode(images[:2])
        rows, times = [], []
        for image in images:
            start = time.process_time()
            rows.append(encoder.encode([image])[0])
            times.append(1000 * (time.process_time() - start))
        self.rows, self.milliseconds = np.stack(rows), statistics.median(times)
        self.drawn = encoder.encode([photo_like(400, 300, seed) for seed in range(DRAWN)])

    def split(self, seed: int, each: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Indices to train and to test on: `each` of a label, or as many as in the given split."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        if each is None:
            return order[: self.given.sum()], order[self.given.sum() :]
        training = np.concatenate([order[self.labels[order] == label][:each] for label in np.unique(self.labels)])
        return training, np.setdiff1d(order, training)

    def learn(self, training: np.ndarray, test: np.ndarray) -> tuple[float, float]:
        """Accuracy and calibration error on the test photos."""
        rows, labels = self.rows[training], self.labels[training].tolist()
        head = train(rows, labels, groups=sibling_groups(rows, labels)).head
        probabilities = head.predict(self.rows[test])
        answers = np.searchsorted(head.labels, self.labels[test])
        return float(np.mean(probabilities.argmax(axis=1) == answers)), calibration_error(probabilities, answers)

    def novelty(self, seed: int) -> tuple[float, float, float]:
        """Shares taken for none of the labels, with three labels left out: known, left out, drawn."""
        training, test = self.split(seed)
        left_out = np.random.default_rng(seed).permutation(np.unique(self.labels))[:3]
        training = training[~np.isin(self.labels[training], left_out)]
        strange = np.isin(self.labels[test], left_out)
        head = train(self.rows[training], self.labels[training].tolist()).head
        none = head.is_none(self.rows[test])
        return float(none[~strange].mean()), float(none[strange].mean()), float(head.is_none(self.drawn).mean())

    def chosen(self, seed: int) -> float:
        """Accuracy on the test photos with CHOSEN labels, chosen by what to label next."""
        training, test = self.split(seed)
        labeled, rest = training[:START], training[START:]
        while len(labeled) < CHOSEN:
            head = train(self.rows[labeled], self.labels[labeled].tolist()).head
            wanted = label_next(head.predict(self.rows[rest]), self.rows[rest], STEP, self.rows[labeled])
            labeled, rest = np.concatenate([labeled, rest[wanted]]), np.delete(rest, wanted)
        return self.learn(labeled, test)[0]

    def random(self, seed: int, count: int) -> float:
        """Mean accuracy on the test photos with `count` random labels, drawn DRAWS times."""
        training, test = self.split(seed)
        lots = (np.random.default_rng(draw).permutation(training)[:count] for draw in range(DRAWS))
        return float(np.mean([self.learn(lot, test)[0] for lot in lots]))


def measure(encoder: Encoder) -> None:
    clothing = Clothing(encoder)
    print(f"\n{encoder.name}: {encoder.dimensions} numbers, {clothing.milliseconds:.1f} ms CPU an image, one thread")
    accuracy, error = clothing.learn(np.flatnonzero(clothing.given), np.flatnonzero(~clothing.given))
    print(f"600 to train, 179 to test: accuracy {accuracy:.3f}, calibration error {error:.3f}")
    for name, each in (("random splits", None), *((f"{each} photos a label", each) for each in FEW)):
        found = [clothing.learn(*clothing.split(seed, each)) for seed in range(SPLITS)]
        (accuracy, error), spread = np.mean(found, axis=0), np.std(found, axis=0)[0]
        print(f"{name}: accuracy {accuracy:.3f} ± {spread:.3f}, calibration error {error:.3f}")
    known, left_out, drawn = np.mean([clothing.novelty(seed) for seed in range(SPLITS)], axis=0)
    print(
        f"none of the labels: {known:.3f} of known labels, {left_out:.3f} of labels left out, {drawn:.3f} of drawn images"
    )
    chosen = np.mean([clothing.chosen(seed) for seed in range(RUNS)])
    random = {count: np.mean([clothing.random(seed, count) for seed in range(RUNS)]) for count in (100, 130, 160)}
    beside = ", ".join(f"{count} random {accuracy:.3f}" for count, accuracy in random.items())
    print(f"{CHOSEN} labels chosen by what to label next: accuracy {chosen:.3f}; {beside}")


def fit_times(dimensions: int) -> None:
    print("\nimages × labels: CPU seconds to the preview, to the end (elapsed)")
    random = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(1 + np.arange(dimensions))
    for images, labels in SIZES:
        centers = random.normal(0, 0.35, (labels, dimensions)) * spectrum
        answers = random.permutation(np.arange(images) % labels)
        rows = centers[answers] + random.normal(0, 1, (images, dimensions)) * spectrum
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        names = [f"label_{answer:02}" for answer in answers]
        previews: list[float] = []
        cpu, start = time.process_time(), time.perf_counter()
        groups = sibling_groups(rows, names)
        train(rows, names, groups=groups, preview=lambda _, seen=previews: seen.append(time.process_time()))
        whole, elapsed = time.process_time() - cpu, time.perf_counter() - start
        preview = f"{previews[0] - cpu:.2f}, " if previews else ""
        print(f"{images:,} × {labels}: {preview}{whole:.2f} ({elapsed:.2f})")


if __name__ == "__main__":
    other = Path(sys.argv[1]) if len(sys.argv) > 1 else model_file("safe_for_work.onnx")
    built_in = Encoder(threads=1)
    measure(built_in)
    measure(Encoder(other, threads=1))
    fit_times(built_in.dimensions)
