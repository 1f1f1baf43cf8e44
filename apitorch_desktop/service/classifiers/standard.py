"""The standard classifiers of the service, and their adjustment by corrections."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.service.storage.errors import StorageFault
from apitorch_desktop.vision import standard_classifiers
from apitorch_desktop.vision.encoder import UnusableEncoder
from apitorch_desktop.vision.standard_classifiers import StandardAnswer

if TYPE_CHECKING:
    from PIL import Image

_MIN_PROBABILITY = 0.005
"""The lowest probability of a label, so that no result is beyond correction."""
_DEFAULT_CONFIDENCE = 0.7
"""Used where a classifier gives no confidence."""


@dataclass(frozen=True)
class StandardClassifier:
    """One standard classifier. If its values are true and false, the first of `labels` is the true one.

    `sentence` has a placeholder for the label.
    """

    slug: str
    name: str
    description: str
    labels: tuple[str, ...]
    sentence: str
    truth: bool = True

    def return_values(self) -> list[Any]:
        """Return the values in the form of the documentation's classifier object."""
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
    """Runs the standard classifiers; the text reader is loaded when first used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: Callable[[Image.Image], StandardAnswer] | None = None
        self._safety = standard_classifiers.SafetyScorer()

    @staticmethod
    def shorter_side(slugs: Iterable[str], least: int) -> int | None:
        """Return the image size that these classifiers need at least; None for the full size."""
        sides = {"design-score": None, "extract-text": max(least, standard_classifiers.TextReader.shorter_side)}
        sizes = [sides.get(slug, least) for slug in slugs]
        return None if None in sizes else max(side for side in sizes if side)

    def __call__(self, slug: str, image: "Image.Image") -> StandardAnswer:
        """Classify an upright RGB image.

        Raises StorageFault if safe-for-work or extract-text is not available.
        """
        if slug == "safe-for-work":
            try:
                return self._safety(image)
            except UnusableEncoder as error:
                raise StorageFault(str(error)) from error
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
    """Return a standard classifier's answer as a probability for each of its labels."""
    standard_values = _DEFAULT_CONFIDENCE if answer.confidence_value is None else answer.confidence_value
    others = [label for label in entry.labels if label != answer.label]
    return {answer.label: standard_values} | {label: (1 - standard_values) / len(others) for label in others}


def adjust(
    entry: StandardClassifier, answer: StandardAnswer, learned: Mapping[str, float], corrections: int
) -> tuple[StandardAnswer, dict[str, float]]:
    """Combine an answer with the head trained on corrections; return the new answer and the probability of each label.

    Both are taken as independent evidence: probabilities are multiplied and scaled to 1 (logarithmic opinion pool,
    Genest and Zidek 1986). Where they disagree, the more confident the head, the less the standard classifier counts:
    fully against a head that only guesses, not at all against one that is certain. A label that only one of them knows
    gets the remainder of the other.
    """
    standard_values = distribution(entry, answer)
    spelled = {snake_case(label): label for label in entry.labels}
    learned_values = {spelled.get(label, label.replace("_", " ")): value for label, value in learned.items()}
    top_label = max(learned_values, key=learned_values.__getitem__)
    chance = 1 / len(learned_values)
    weight = 1.0 if top_label == answer.label else 1 - (learned_values[top_label] - chance) / (1 - chance)
    remainder = 1 - learned_values[top_label]
    scores = {
        label: max(standard_values.get(label, _MIN_PROBABILITY), _MIN_PROBABILITY) ** weight
        * max(learned_values.get(label, remainder), _MIN_PROBABILITY)
        for label in {**standard_values, **learned_values}
    }
    total = sum(scores.values())
    values = {label: score / total for label, score in scores.items()}
    best = max(values, key=values.__getitem__)
    photos = f"{corrections:,} corrected photos"
    if best == answer.label:
        how = "agrees" if top_label == best else "speaks against it, but not enough"
        sentence = f"{answer.sentence} What was learned from {photos} {how}."
        return replace(answer, sentence=sentence, confidence_value=values[best]), values
    sentence = f"{entry.sentence.format(best)}, as learned from {photos}."
    value = answer.value
    if entry.truth:
        value = best == entry.labels[0] if best in entry.labels else None
    return replace(answer, label=best, sentence=sentence, confidence_value=values[best], value=value), values
