"""Classifications that were given, and the feedback on them."""

from collections.abc import Sequence

from apitorch_desktop.service.records import (
    ClassificationRow,
    FeedbackRow,
    ImageFacts,
    ImageRow,
    NewClassification,
)

KEPT_CLASSIFICATIONS = 10_000
KEPT_DAYS = 30


class Classifications:
    """Remembered answers and feedback. Thread-safe; what changes something returns when it is durable.

    The newest 10,000 answers of the last 30 days are kept with their images, so that feedback can use them. Ids are
    accepted with and without `cls_`.
    """

    def put(
        self,
        owner: int,
        data: bytes,
        facts: ImageFacts,
        answers: Sequence[NewClassification],
        original_filename: str = "",
    ) -> list[ClassificationRow]:
        """Remember what one call answered about one image, with the image. Raises StorageFull, StorageFault."""
        raise NotImplementedError

    def get(self, owner: int, classification_id: str) -> ClassificationRow:
        """One answer. Raises NotFound."""
        raise NotImplementedError

    def correct(
        self, owner: int, classification_id: str, training_set_id: int | str, label: str
    ) -> tuple[FeedbackRow, ImageRow, bool]:
        """Put the classified image under a label (name or id) of a training set, and keep the feedback, in one.

        An image that is under another label of that set already moves. A new label is made. The third answer is
        whether the label has gained the image. Raises NotFound, Invalid, StorageFull, StorageFault.
        """
        raise NotImplementedError

    def put_message(self, owner: int, message: str) -> FeedbackRow:
        """Keep a free-form message. Raises Invalid over 100,000 characters."""
        raise NotImplementedError

    def feedback(self, owner: int, *, limit: int | None = None) -> list[FeedbackRow]:
        """What was sent, newest first."""
        raise NotImplementedError
