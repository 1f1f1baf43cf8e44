"""Training-set issues: image quality flags, suspect labels, imbalance, the copy to keep, and what to label next.

Pure functions of thumbnails, embeddings and out-of-fold probabilities. See `near_duplicates` for duplicates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apitorch_desktop.vision import image_quality
from apitorch_desktop.vision.near_duplicates import pattern

Flag = Literal["blurred", "dark", "bright", "low contrast", "odd shape", "tiny"]
FLAGS: Final[tuple[Flag, ...]] = get_args(Flag)
Rule = Literal["largest", "oldest", "sharpest"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)

_EXPLAINED: Final[Mapping[Flag, str]] = {
    "blurred": "It is not sharp.",
    "dark": "It is almost black.",
    "bright": "It is almost white.",
    "low contrast": "It is nearly one colour.",
    "odd shape": "It is much longer than it is wide.",
    "tiny": "It has very few pixels.",
}
# Measured on the 600 clothing photos (thumbnails of 256 pixels): blur up to .49, and from .58 when blurred by a radius of 3 of
# 400 pixels; bright parts (95th percentile) from .37, dark parts up to .59, contrast from .21.
_BLURRED: Final = 0.52
_BLUR_WINDOW: Final = 7
_DARK: Final = 0.2
_BRIGHT: Final = 0.85
_FLAT: Final = 0.12
_ODD: Final = 3.0
_TINY: Final = 64
_MOST_COMPARED: Final = 2_000
"""Images that `label_next` compares with each other, in some two seconds."""
_OWN: Final = 0.25
"""Power of an image's own uncertainty beside that of the images it stands for."""


@dataclass(frozen=True, slots=True)
class ReviewFeatures:
    """Features of an image: `pattern` for near-duplicates, `blur` (0 crisp … 1), `dark` and `bright` (5th and 95th
    percentile of brightness, 0…1), `contrast` (0…1), and its size in pixels."""

    pattern: NDArray[np.uint8]
    blur: float
    dark: float
    bright: float
    contrast: float
    width: int
    height: int


def review_features(thumbnail: Image.Image, width: int, height: int) -> ReviewFeatures:
    """Measure an upright RGB thumbnail (or the image itself); `width` and `height` are the image's own. Takes about 1 ms."""
    brightness = image_quality.luma(thumbnail)
    dark, bright = image_quality.levels(brightness, 0.05, 0.95)
    return ReviewFeatures(
        pattern=pattern(thumbnail),
        blur=image_quality.blur(brightness, _BLUR_WINDOW),
        dark=dark,
        bright=bright,
        contrast=image_quality.contrast(brightness),
        width=width,
        height=height,
    )


def quality_flags(features: ReviewFeatures) -> tuple[Flag, ...]:
    """Return the quality flags of an image in the order of FLAGS. See `explain`."""
    black, white = features.bright < _DARK, features.dark > _BRIGHT
    flat = features.contrast < _FLAT
    found: dict[Flag, bool] = {
        "blurred": features.blur > _BLURRED and not (flat and (black or white)),
        "dark": black,
        "bright": white,
        "low contrast": flat and not black and not white,
        "odd shape": max(features.width, features.height) > _ODD * min(features.width, features.height),
        "tiny": min(features.width, features.height) < _TINY,
    }
    return tuple(flag for flag in FLAGS if found[flag])


def explain(flag: Flag) -> str:
    """Return a flag as a sentence."""
    return _EXPLAINED[flag]


class KeeperCandidate(NamedTuple):
    """Properties that the keeper rules compare. `created_at` is ISO 8601 or any string that sorts; "" is unknown."""

    width: int
    height: int
    bytes: int
    created_at: str
    blur: float


def choose_keeper(copies: Sequence[KeeperCandidate], rule: Rule = "largest") -> int:
    """Return the index of the copy to keep of a group of near-duplicates.

    `largest`: most pixels, then most bytes; `oldest`: the earliest; `sharpest`: the least blurred. Ties are broken by the
    other rules, then by order.
    """

    def rank(index: int) -> tuple[Any, ...]:
        copy = copies[index]
        largest = (-copy.width * copy.height, -copy.bytes)
        oldest = (not copy.created_at, copy.created_at)
        sharpest = (round(copy.blur, 2),)
        orders = {"largest": (largest, oldest), "oldest": (oldest, largest), "sharpest": (sharpest, largest, oldest)}
        return (*orders[rule], index)

    return min(range(len(copies)), key=rank)


class SuspectedLabel(NamedTuple):
    """An image whose label is doubtful: out-of-fold probabilities of its own label and of the likeliest other."""

    image: int
    given: str
    likely: str
    given_value: float
    likely_value: float


def find_suspects(out_of_fold: NDArray[Any], given: Sequence[str], labels: Sequence[str]) -> list[SuspectedLabel]:
    """Return the images with a doubtful label, the most doubtful first.

    `out_of_fold` (n, k) in the order of `labels` (k), `given` the n labels. An image is a suspect when another label is
    likelier than its own; order is by the difference of logits (Northcutt et al. 2021 rank by the same margin of
    out-of-fold probabilities).
    """
    probabilities = np.asarray(out_of_fold, float)
    place = {label: index for index, label in enumerate(labels)}
    own = np.array([place[label] for label in given], int)
    rows = np.arange(len(own))
    others = probabilities.copy()
    others[rows, own] = -1
    best = others.argmax(axis=1) if len(own) else own
    mine, theirs = probabilities[rows, own], probabilities[rows, best]
    margin = np.log(np.maximum(theirs, 1e-9)) - np.log(np.maximum(mine, 1e-9))
    doubtful = [int(image) for image in np.argsort(-margin, kind="stable") if theirs[image] > mine[image]]
    return [SuspectedLabel(i, labels[own[i]], labels[best[i]], float(mine[i]), float(theirs[i])) for i in doubtful]


class BalanceAdvice(NamedTuple):
    """A sentence about one label, or about the set (`label` None). `urgent` when it prevents training."""

    label: str | None
    sentence: str
    urgent: bool = False


def label_balance(counts: Mapping[str, int], accuracy: Mapping[str, float] | None = None) -> list[BalanceAdvice]:
    """Return advice on the number of images per label, the urgent first.

    `accuracy`: cross-validated, by label.
    """
    found: list[BalanceAdvice] = []
    enough = [label for label, count in counts.items() if count >= 2]
    if len(enough) < 2:
        found.append(BalanceAdvice(None, "A classifier needs two labels with at least two photos each.", urgent=True))
    middle = float(np.median([count for count in counts.values() if count] or [0]))
    for label, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        right = (accuracy or {}).get(label)
        if count == 0:
            found.append(BalanceAdvice(label, f"“{label}” has no photos: add some, or delete the label.", urgent=True))
        elif count < 2:
            found.append(BalanceAdvice(label, f"“{label}” has one image: it needs at least two.", urgent=True))
        elif count < 10:
            found.append(
                BalanceAdvice(label, f"“{label}” has {count} photos: from some ten on, answers become reliable.")
            )
        elif count * 3 < middle:
            found.append(
                BalanceAdvice(
                    label,
                    f"“{label}” has {count} photos, others have about {middle:.0f}: add photos so that it is not overlooked.",
                )
            )
        elif right is not None and right < 0.5:
            found.append(
                BalanceAdvice(
                    label,
                    f"“{label}” is recognized in {right * 100:.0f} % of its photos: look at its suspects, or add photos.",
                )
            )
        elif count > max(3 * middle, 100):
            found.append(
                BalanceAdvice(
                    label, f"“{label}” has {count} photos, others have about {middle:.0f}: more of it helps little."
                )
            )
    return sorted(found, key=lambda advice: not advice.urgent)


def label_next(
    probabilities: NDArray[Any],
    embeddings: NDArray[Any] | Callable[[NDArray[np.intp]], NDArray[Any]],
    number: int = 20,
    known: NDArray[Any] | None = None,
) -> list[int]:
    """Return indices of the images most useful to label next: typical of what is uncertain, and unlike one another.

    Greedy maximization of the cosine similarity of each image to the nearest one chosen or `known`, weighted by how close its two
    likeliest labels are (facility location, Wei et al. 2015, on margins). Takes (n, k) and (n, d) or what reads rows of it, and
    for `known` the embeddings (m, d) of images whose labels are certain.
    Of more than _MOST_COMPARED images, that many are candidates (the
    most uncertain) and that many stand for all.

    On clothing (16 splits), 20 random labels and 80 of these in steps of 20 give .799, as some 150 random ones do; 100 random
    ones .767, 130 .787. Of 12 splits, without _OWN: .803; the most uncertain images .794, k-means++ on gradients (BADGE) .791,
    entropy times distance to those chosen .784, typical images without uncertainty .766.
    """
    chances = np.sort(np.asarray(probabilities, np.float32), axis=1)
    if not len(chances):
        return []
    margin = chances[:, -1] - chances[:, -2] if chances.shape[1] > 1 else np.zeros(len(chances), np.float32)
    unsure = np.maximum(1 - margin, 1e-3)
    read = embeddings if callable(embeddings) else embeddings.__getitem__
    candidates = of = np.arange(len(chances))
    if len(chances) > _MOST_COMPARED:
        candidates = np.sort(np.argsort(-unsure, kind="stable")[:_MOST_COMPARED])
        of = np.linspace(0, len(chances) - 1, _MOST_COMPARED).astype(int)
    rows = np.asarray(read(of), np.float32)
    center = rows.mean(axis=0)
    some = _unit(rows, center)
    like = np.maximum(_unit(np.asarray(read(candidates), np.float32), center) @ some.T, 0)
    covered = np.zeros(len(of), np.float32)
    if known is not None and len(known):
        certain = known[np.linspace(0, len(known) - 1, min(len(known), 2 * _MOST_COMPARED)).astype(int)]
        covered = np.maximum((some @ _unit(np.asarray(certain, np.float32), center).T).max(axis=1), 0)
    chosen: list[int] = []
    for _ in range(min(number, len(candidates))):
        gain = (np.maximum(like - covered, 0) @ unsure[of]) * unsure[candidates] ** _OWN
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        covered = np.maximum(covered, like[best])
    return [int(candidates[index]) for index in chosen]


def _unit(rows: NDArray[np.float32], center: NDArray[np.float32]) -> NDArray[np.float32]:
    apart = rows - center
    return np.asarray(apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-6), np.float32)
