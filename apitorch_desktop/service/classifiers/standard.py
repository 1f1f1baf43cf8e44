"""The standard classifiers as the service offers them, and how corrections adjust what they say."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.service.storage.errors import StorageFault
from apitorch_desktop.vision import standard_classifiers
from apitorch_desktop.vision.standard_classifiers import StandardAnswer

if TYPE_CHECKING:
    from PIL import Image

_LEAST = 0.005
"""The least probability that is given to a label, so that no answer is beyond correction."""
_UNSTATED = 0.7
"""Taken where it gives no confidence of its own."""


@dataclass(frozen=True)
class StandardClassifier:
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


STANDARD: Final[Mapping[str, StandardClassifier]] = {
    entry.slug: entry
    for entry in (
        StandardClassifier(
            "safe-for-work",
            "Safe for Work",
            "Tells whether an image is fit to be seen at work: no nudity.",
            standard_classifiers.SAFE_LABELS,
            "Image is {}",
        ),
        StandardClassifier(
            "extract-text",
            "Extract Text",
            "Finds and reads the lettering in an image.",
            standard_classifiers.TEXT_LABELS,
            "Image {}",
        ),
        StandardClassifier(
            "design-score",
            "Design Score",
            "Scores how well made an image is: sharpness, exposure, contrast, noise, blockiness, resolution.",
            standard_classifiers.DESIGN_LABELS,
            "Image has the design score “{}”",
            truth=False,
        ),
    )
}


class StandardClassifierRunner:
    """Runs the standard classifiers; the reader of text is loaded when first asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: Callable[[Image.Image], StandardAnswer] | None = None

    @staticmethod
    def shorter_side(slugs: Iterable[str], least: int) -> int | None:
        """How large an image these classifiers need at least; None for its full size."""
        sides = {"design-score": None, "extract-text": max(least, standard_classifiers.TextReader.shorter_side)}
        wanted = [sides.get(slug, least) for slug in slugs]
        return None if None in wanted else max(side for side in wanted if side)

    def __call__(self, slug: str, image: "Image.Image", unsafe: Callable[[], float]) -> StandardAnswer:
        """What a standard classifier says about an upright RGB image; `unsafe` gives the encoder's score.

        Raises StorageFault where extract-text cannot work here.
        """
        if slug == "safe-for-work":
            return standard_classifiers.safe_for_work(unsafe())
        if slug == "design-score":
            return standard_classifiers.design_score(image)
        with self._lock:
            if self._reader is None:
                self._reader = standard_classifiers.TextReader()
        try:
            return self._reader(image)
        except standard_classifiers.ReaderUnavailable as error:
            raise StorageFault(str(error)) from error


def distribution(entry: StandardClassifier, answer: StandardAnswer) -> dict[str, float]:
    """A standard classifier's answer as a probability for each of its labels."""
    stated = _UNSTATED if answer.confidence_value is None else answer.confidence_value
    others = [label for label in entry.labels if label != answer.label]
    return {answer.label: stated} | {label: (1 - stated) / len(others) for label in others}


def adjust(
    entry: StandardClassifier, answer: StandardAnswer, learned: Mapping[str, float], corrections: int
) -> tuple[StandardAnswer, dict[str, float]]:
    """The answer once the head that learned from corrections has its say, and the probability of each label.

    Both are taken as independent evidence: probabilities are multiplied and scaled to 1 (logarithmic opinion pool,
    Genest and Zidek 1986). Where they disagree the standard classifier's word has the less weight the surer the head
    is: all of it against a head that only guesses, none against one that is certain. A label that only one of them
    knows has, with the other, what that one leaves over.
    """
    stated = distribution(entry, answer)
    spelled = {snake_case(label): label for label in entry.labels}
    heard = {spelled.get(label, label.replace("_", " ")): value for label, value in learned.items()}
    surest = max(heard, key=heard.__getitem__)
    guess = 1 / len(heard)
    weight = 1.0 if surest == answer.label else 1 - (heard[surest] - guess) / (1 - guess)
    left = 1 - heard[surest]
    scores = {
        label: max(stated.get(label, _LEAST), _LEAST) ** weight * max(heard.get(label, left), _LEAST)
        for label in {**stated, **heard}
    }
    total = sum(scores.values())
    values = {label: score / total for label, score in scores.items()}
    best = max(values, key=values.__getitem__)
    photos = f"{corrections:,} corrected photos"
    if best == answer.label:
        how = "agrees" if surest == best else "speaks against it, but not enough"
        sentence = f"{answer.sentence} What was learned from {photos} {how}."
        return replace(answer, sentence=sentence, confidence_value=values[best]), values
    sentence = f"{entry.sentence.format(best)}, as learned from {photos}."
    value = answer.value
    if entry.truth:
        value = best == entry.labels[0] if best in entry.labels else None
    return replace(answer, label=best, sentence=sentence, confidence_value=values[best], value=value), values
