"""The three standard classifiers: safe-for-work, extract-text and design-score."""

from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

SAFE_LABELS: Final = ("safe for work", "not safe for work")
TEXT_LABELS: Final = ("contains text", "does not contain text")
DESIGN_LABELS: Final = ("excellent", "good", "fair", "poor")


@dataclass(frozen=True, slots=True)
class Answer:
    """A standard classifier's answer; the fields are those of the wire's classification.

    `confidence_value` in 0…1, None where the classifier has none; `text` None unless extract-text; `measures` empty
    unless design-score.
    """

    label: str
    sentence: str
    confidence_value: float | None = None
    value: Any = None
    text: str | None = None
    measures: dict[str, float] = field(default_factory=dict)


def safe_for_work(unsafe: float) -> Answer:
    """From the encoder's unsafe score in 0…1."""
    raise NotImplementedError


class TextReader:
    """extract-text: call it with an upright RGB image. Loads its models at the first call; thread-safe."""

    def __call__(self, image: Image.Image) -> Answer:
        """`value` tells whether there is text, `text` is what it says, a line a line."""
        raise NotImplementedError


def design_score(image: Image.Image) -> Answer:
    """`value` is the score 0…100; `measures` has what it was made of, each with 0…1 = how good."""
    raise NotImplementedError
