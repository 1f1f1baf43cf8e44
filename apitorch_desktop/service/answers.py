"""Answers: what classify and feedback do, for the standard classifiers and for trained ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from apitorch_desktop.api import types

if TYPE_CHECKING:
    from apitorch_desktop.service.store import Store
    from apitorch_desktop.service.training import Trainer
    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.images import ImageInfo


class Answers:
    """Classification and feedback for one service. All methods block (call them in a worker thread) and are thread-safe.

    `encoder` is for classification alone, so that it never waits for the trainer's.
    """

    def __init__(self, store: "Store", trainer: "Trainer", encoder: "Encoder") -> None:
        raise NotImplementedError

    def classifiers(self, owner: int) -> list[types.Classifier]:
        """The standard classifiers, then the owner's training sets that have a head, with their training fields."""
        raise NotImplementedError

    def classifier(self, owner: int, slug: str) -> types.Classifier:
        """One standard classifier or training set, in whatever state it is. Raises NotFound."""
        raise NotImplementedError

    def classify(
        self,
        owner: int,
        classifiers: Sequence[str],
        data: bytes,
        info: "ImageInfo",
        *,
        show_confidence_value: bool = False,
    ) -> types.Classifications:
        """What each classifier, named by slug, says about a verified image; one encoder pass serves them all.

        Every answer is remembered durably before it is given. Raises NotFound for a slug that is not there,
        Conflict for a training set that has no head yet (the sentence says what it needs).
        """
        raise NotImplementedError

    def feedback_classification(
        self, owner: int, classification_id: str, correct_label_id: str
    ) -> types.FeedbackAnswer:
        """Put a classified image under the label it should have had: a label's id, or a label, made where it is new.

        An image already under another label of that training set moves: one image under two labels teaches nothing.
        Raises NotFound, and BadRequest's kin of the store for a label with no letter in it.
        """
        raise NotImplementedError

    def feedback_freeform(self, owner: int, message: str) -> types.FeedbackAnswer:
        """Keep a message (decoded)."""
        raise NotImplementedError

    def feedback(self, owner: int) -> list[types.FeedbackAnswer]:
        """What was sent, newest first, with what came of it."""
        raise NotImplementedError
