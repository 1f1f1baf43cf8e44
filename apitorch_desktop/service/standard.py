"""The standard classifiers as the service offers them, and how corrections adjust what they say."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.vision import standard
from apitorch_desktop.vision.standard import Answer

if TYPE_CHECKING:
    from PIL import Image

_BOUNDS = 0.02, 0.98
"""How sure a standard classifier is taken to be at most, so that a correction can outweigh it."""
_UNSTATED = 0.7
"""Taken where it gives no confidence of its own."""


@dataclass(frozen=True)
class Standard:
    """One standard classifier. `labels`: the first is the one whose `value` is true, where values are true or false.

    `sentence` has a place for the label.
    """

    slug: str
    name: str
    description: str
    labels: tuple[str, ...]
    sentence: str
    truth: bool = True

    def return_values(self) -> list[Any]:
        """As the documentation's classifier object has them."""
        values = [True, False] if self.truth else self.labels
        return [[value, self.sentence.format(label)] for value, label in zip(values, self.labels, strict=True)]


STANDARD: Final[Mapping[str, Standard]] = {
    entry.slug: entry
    for entry in (
        Standard(
            "safe-for-work",
            "Safe for Work",
            "Tells whether an image is fit to be seen at work: no nudity.",
            standard.SAFE_LABELS,
            "Image is {}",
        ),
        Standard(
            "extract-text",
            "Extract Text",
            "Finds and reads the lettering in an image.",
            standard.TEXT_LABELS,
            "Image {}",
        ),
        Standard(
            "design-score",
            "Design Score",
            "Scores how well made an image is: sharpness, exposure, contrast, noise, blockiness, resolution.",
            standard.DESIGN_LABELS,
            "Design is {}",
            truth=False,
        ),
    )
}


class Looker:
    """Runs the standard classifiers; the reader of text is loaded when first asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: Callable[[Image.Image], Answer] | None = None

    def __call__(self, slug: str, image: "Image.Image", unsafe: Callable[[], float]) -> Answer:
        """What a standard classifier says about an upright RGB image; `unsafe` gives the encoder's score."""
        if slug == "safe-for-work":
            return standard.safe_for_work(unsafe())
        if slug == "design-score":
            return standard.design_score(image)
        with self._lock:
            if self._reader is None:
                self._reader = standard.TextReader()
        return self._reader(image)


def distribution(entry: Standard, answer: Answer) -> dict[str, float]:
    """A standard classifier's answer as a probability for each of its labels."""
    stated = _UNSTATED if answer.confidence_value is None else answer.confidence_value
    others = [label for label in entry.labels if label != answer.label]
    return {answer.label: stated} | {label: (1 - stated) / len(others) for label in others}


def adjust(
    entry: Standard, answer: Answer, learned: Mapping[str, float], corrections: int
) -> tuple[Answer, dict[str, float]]:
    """The answer once the head that learned from corrections has its say, and the probability of each label.

    Both are taken as independent evidence: the probabilities are multiplied and scaled to 1 (logarithmic opinion pool,
    Genest and Zidek 1986). A label that only one of them knows has, with the other, what that one leaves over.
    """
    said = {label: min(max(value, _BOUNDS[0]), _BOUNDS[1]) for label, value in distribution(entry, answer).items()}
    spelled = {snake_case(label): label for label in entry.labels}
    heard = {spelled.get(label, label.replace("_", " ")): max(value, 1e-6) for label, value in learned.items()}
    left = max(1 - max(heard.values()), 1e-6)
    weights = {label: said.get(label, _BOUNDS[0]) * heard.get(label, left) for label in {**said, **heard}}
    total = sum(weights.values())
    values = {label: weight / total for label, weight in weights.items()}
    best = max(values, key=values.__getitem__)
    photos = f"{corrections:,} corrected photos"
    if best == answer.label:
        sentence = f"{answer.sentence} What was learned from {photos} agrees."
        if values[best] < distribution(entry, answer)[answer.label]:
            sentence = f"{answer.sentence} What was learned from {photos} speaks against it."
        return replace(answer, sentence=sentence, confidence_value=values[best]), values
    sentence = f"{entry.sentence.format(best)}, as learned from {photos}."
    value = answer.value
    if entry.truth:
        value = best == entry.labels[0] if best in entry.labels else None
    return replace(answer, label=best, sentence=sentence, confidence_value=values[best], value=value), values
