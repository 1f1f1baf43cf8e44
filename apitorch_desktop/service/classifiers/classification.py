"""Answers: what classify and feedback do, for the standard classifiers and for trained ones."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.standard import (
    STANDARD,
    StandardClassifier,
    StandardClassifierRunner,
    adjust,
    distribution,
)
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.classifiers.training_data import decimal
from apitorch_desktop.service.storage.blobs import Staged
from apitorch_desktop.service.storage.errors import Invalid, RecordConflict, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.records import FeedbackRow, ImageFacts, NewClassification, TrainingSetRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import UnusableEncoder
from apitorch_desktop.vision.head import confidence_word
from apitorch_desktop.vision.images import open_upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from apitorch_desktop.vision.encoder import EncodedBatch, Encoder

_STAGERS = 8  # images on their way to the disk at a time; an answer waits for its own


class ClassificationService:
    """Classification and feedback for one service. All methods block and are thread-safe.

    `encoder_factory` makes the encoder for classification alone, so that it never waits for the trainer's; it is loaded
    by the first classification, or by `warm`.
    """

    def __init__(self, store: "Store", trainer: "Trainer", encoder_factory: "Callable[[], Encoder]") -> None:
        self._store = store
        self._trainer = trainer
        self._factory = encoder_factory
        self._loading = threading.Lock()
        self._encoder: Encoder | None = None
        self._look = StandardClassifierRunner()
        self._stagers = ThreadPoolExecutor(_STAGERS, "stage")

    def close(self) -> None:
        """End the threads; nothing may be classified any more."""
        self._stagers.shutdown(cancel_futures=True)

    def warm(self) -> None:
        """Load the encoder now. Raises StorageFault where its model file cannot be used."""
        self.encoder()

    def encoder(self) -> "Encoder":
        """The encoder that classification uses, loaded when first asked for. Raises StorageFault."""
        with self._loading:
            if self._encoder is None:
                try:
                    self._encoder = self._factory()
                except UnusableEncoder as error:
                    raise StorageFault(str(error)) from error
            return self._encoder

    def classifiers(self, owner: int) -> list[types.Classifier]:
        """The standard classifiers, then the owner's training sets with enough images, whatever their status."""
        rows = self._store.training_sets.all(owner)
        corrections = {row.standard: row for row in rows if row.standard}
        trained = [row for row in rows if not row.standard and not training_data.needs(row)]
        return [_standard(entry, self._corrected(corrections.get(slug))) for slug, entry in STANDARD.items()] + [
            self._trained(row) for row in trained
        ]

    def classifier(self, owner: int, slug: str) -> types.Classifier:
        """One standard classifier or training set, in whatever state it is. Raises NotFound."""
        if entry := STANDARD.get(slug):
            return _standard(entry, self._corrected(self._corrections(owner, slug)))
        return self._trained(self._training_set(owner, slug))

    def classify(
        self,
        owner: int,
        classifiers: Sequence[str],
        data: bytes,
        info: "ImageFacts",
        *,
        filename: str = "",
        show_confidence_value: bool = False,
    ) -> types.Classifications:
        """What each classifier, named by slug, says about a verified image; one encoder pass serves them all.

        Every answer is remembered durably before it is given, since feedback on it may come from then on; the image is
        brought to the disk while the encoder looks at it. Raises Invalid for none or more than ten classifiers,
        NotFound for a slug that is not there, Conflict for a training set that has no head yet (the sentence says what
        it needs), UnreadableImage, StorageFull, StorageFault.
        """
        slugs = list(dict.fromkeys(classifiers))
        if not 1 <= len(slugs) <= types.MAX_CLASSIFIERS:
            raise Invalid(f"Choose 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(slugs)}.")
        wanted = [self._wanted(owner, slug) for slug in slugs]
        encoder = self.encoder()
        sight = _EncodedImage(encoder, data, self._look.shorter_side(slugs, encoder.shorter_side))
        staging = self._stagers.submit(self._store.classifications.stage, data)
        try:
            found = [self._ask(want, sight) for want in wanted]
            staged = staging.result()
        except BaseException:
            staging.add_done_callback(self._drop)
            raise
        new = [
            NewClassification(
                answer.wire.classifier,
                answer.wire.label,
                answer.confidence,
                answer.training_set_id,
                answer.version,
            )
            for answer in found
        ]
        rows = self._store.classifications.put(owner, staged, info, new, filename)
        for row, answer in zip(rows, found, strict=True):
            answer.wire.id = f"cls_{row.id}"
            if show_confidence_value and answer.confidence is not None:
                answer.wire.confidence_value = decimal(answer.confidence)
        return types.Classifications(id=f"api_{rows[0].call_id}", data=[answer.wire for answer in found])

    def _drop(self, staging: "Future[Staged]") -> None:
        if not staging.exception():
            self._store.classifications.drop(staging.result())

    def feedback_classification(
        self, owner: int, classification_id: str, correct_label_id: str
    ) -> types.FeedbackAnswer:
        """Put a classified image under the label it should have had: a label's id, or a label, made where it is new.

        An image already under another label of that training set moves: one image under two labels teaches nothing.
        Raises NotFound, Invalid for a label with no letter in it, StorageFull.
        """
        row = self._store.classifications.get(owner, classification_id)
        set_id = row.training_set_id
        if entry := STANDARD.get(row.classifier):
            set_id = self._store.training_sets.standard(owner, entry.slug, entry.name).id
        if set_id is None:
            raise RecordNotFound(f"The training set of “{row.classifier}” is gone: nothing can be corrected in it.")
        feedback, image, gained = self._store.classifications.correct(owner, row.id, set_id, correct_label_id)
        training_set = self._store.training_sets.get(owner, set_id)
        where = f"“{image.label}” of “{training_set.name}”"
        answer = _feedback(feedback)
        answer.message = f"The image is now under {where}." if gained else f"The image was under {where} already."
        if not training_data.needs(training_set):
            answer.message += " The classifier learns from it."
        elif row.training_set_id is None:
            answer.message += f" {training_data.needs(training_set)}"
        return answer

    def feedback_freeform(self, owner: int, message: str) -> types.FeedbackAnswer:
        """Keep a message (decoded). Raises Invalid, StorageFull."""
        return _feedback(self._store.classifications.put_message(owner, message))

    def feedback(self, owner: int) -> list[types.FeedbackAnswer]:
        """What was sent, newest first, with what came of it."""
        return [_feedback(row) for row in self._store.classifications.feedback(owner)]

    def _wanted(self, owner: int, slug: str) -> "_RequestedClassifier":
        if entry := STANDARD.get(slug):
            return _RequestedClassifier(slug, entry, self._corrections(owner, slug))
        row = self._training_set(owner, slug)
        if needs := training_data.needs(row):
            raise RecordConflict(f"“{slug}” cannot answer yet. {needs}")
        return _RequestedClassifier(slug, None, row)

    def _training_set(self, owner: int, slug: str) -> "TrainingSetRow":
        try:
            return self._store.training_sets.by_slug(owner, slug)
        except RecordNotFound:
            raise RecordNotFound(
                f"There is no classifier “{slug[:80]}”. GET /api/classifiers lists those there are."
            ) from None

    def _corrections(self, owner: int, slug: str) -> "TrainingSetRow | None":
        try:
            return self._store.training_sets.by_slug(owner, slug)
        except RecordNotFound:
            return None

    def _ask(self, want: "_RequestedClassifier", sight: "_EncodedImage") -> "_PendingAnswer":
        if want.entry is None:
            return self._ask_trained(want, sight)
        answer = self._look(want.slug, sight.image, sight.unsafe)
        values = None if answer.confidence_value is None else distribution(want.entry, answer)
        row, version, learned = want.row, None, None
        if row and not training_data.needs(row):
            learned = self._trainer.predict(row, sight.embedding)
        if row and learned:
            version = learned.version
            heard = dict(zip(learned.labels, learned.values, strict=True))
            answer, values = adjust(want.entry, answer, heard, sum(row.counts))
        wire = types.Classification(id="", classifier=want.slug, label=answer.label, sentence=answer.sentence)
        if answer.confidence_value is not None:
            wire.confidence = confidence_word(answer.confidence_value)
        if answer.value is not None:
            wire.value = answer.value
        if answer.text is not None:
            wire.text = answer.text
        if answer.measures:
            wire.measures = answer.measures
        if values:
            wire.alternatives = _alternatives(values, answer.label)
        if learned:
            wire.adjusted, wire.version = True, learned.version
        return _PendingAnswer(wire, answer.confidence_value, row.id if row and learned else None, version)

    def _ask_trained(self, want: "_RequestedClassifier", sight: "_EncodedImage") -> "_PendingAnswer":
        row = want.row
        learned = self._trainer.predict(row, sight.embedding) if row else None
        if row is None or learned is None:
            state = self._trainer.state(row).message if row else ""
            raise RecordConflict(f"“{want.slug}” cannot answer yet. {state}".strip())
        ids = self._label_ids(row)
        values = dict(zip(learned.labels, learned.values, strict=True))
        label, confidence = learned.labels[0], learned.values[0]
        wire = types.Classification(
            id="",
            classifier=want.slug,
            label=label,
            sentence=f"Image is {label.replace('_', ' ')}.",
            confidence=confidence_word(confidence),
            label_id=ids.get(label, UNSET),
            alternatives=_alternatives(values, label, ids),
            version=learned.version,
        )
        return _PendingAnswer(wire, confidence, row.id, learned.version)

    def _label_ids(self, row: "TrainingSetRow") -> dict[str, str]:
        try:
            return {label.name: label.id for label in self._store.labels.all(row.owner_id, row.id)}
        except RecordNotFound:  # deleted in this moment
            return {}

    def _trained(self, row: "TrainingSetRow") -> types.Classifier:
        fields = self._corrected(row)
        return types.Classifier(
            id=row.id,
            name=row.name,
            description=row.description,
            slug=row.slug,
            return_values=[[label, f"Image is {label.replace('_', ' ')}"] for label in fields["labels"]],
            **fields,
        )

    def _corrected(self, row: "TrainingSetRow | None") -> dict[str, Any]:
        """The extension's fields for a training set; none for no training set."""
        if row is None:
            return {}
        state = self._trainer.state(row)
        return {
            "labels": state.labels,
            "status": state.status,
            "status_message": state.message,
            "version": _given(state.version),
            "trained_at": _given(state.trained_at),
            "metrics": _given(state.metrics),
            "training_set_id": row.id,
        }


@dataclass(frozen=True)
class _RequestedClassifier:
    """A classifier that was named: a standard one, with the training set of its corrections, or a trained one."""

    slug: str
    entry: StandardClassifier | None
    row: "TrainingSetRow | None"


@dataclass
class _PendingAnswer:
    """An answer, and what is to be remembered of it."""

    wire: types.Classification
    confidence: float | None
    training_set_id: int | None
    version: int | None


@dataclass
class _EncodedImage:
    """One image, opened and encoded at most once. `at_least`: pixels of its shorter side, None for its full size."""

    encoder: "Encoder"
    data: bytes
    at_least: int | None

    @cached_property
    def image(self) -> "Image":
        return open_upright(self.data, self.at_least)

    @cached_property
    def encoded(self) -> "EncodedBatch":
        return self.encoder.encode([self.image])

    @property
    def embedding(self) -> "NDArray[np.float32]":
        embedding: NDArray[np.float32] = self.encoded.embeddings[0]
        return embedding

    def unsafe(self) -> float:
        scores = self.encoded.unsafe
        if scores is None:
            raise RecordConflict("The encoder in use gives no safe-for-work score: choose the built-in one.")
        return float(scores[0])


def _standard(entry: StandardClassifier, fields: dict[str, Any]) -> types.Classifier:
    """A standard classifier; `fields` are of the training set of its corrections, whose state is not its own."""
    extra = [label.replace("_", " ") for label in fields.get("labels", [])]
    labels = [*entry.labels, *(label for label in extra if label not in entry.labels)]
    learned = fields.get("version", UNSET) is not UNSET
    return types.Classifier(
        id=entry.slug,
        name=entry.name,
        description=entry.description,
        slug=entry.slug,
        return_values=entry.return_values(),
        **{
            **fields,
            "labels": labels,
            "status": "ready",
            "status_message": f"Adjusted by corrections. {fields['status_message']}" if learned else "Ready.",
        },
    )


def _alternatives(values: dict[str, float], label: str, ids: dict[str, str] | None = None) -> list[types.Alternative]:
    others = sorted((name for name in values if name != label), key=values.__getitem__, reverse=True)
    return [
        types.Alternative(label=name, confidence_value=decimal(values[name]), label_id=(ids or {}).get(name, UNSET))
        for name in others
    ]


def _feedback(row: "FeedbackRow") -> types.FeedbackAnswer:
    answer = types.FeedbackAnswer(id=f"fb_{row.id}", kind=row.kind, created_at=row.created_at)
    if row.kind == "freeform":
        answer.message, answer.text = "Thank you: the message is kept.", row.message
        return answer
    answer.message = f"The image went under “{row.label}”."
    answer.label, answer.classifier, answer.from_label = row.label, row.classifier, row.predicted
    answer.training_set_id = _given(row.training_set_id)
    answer.training_image_id = f"ti_{row.image_id}" if row.image_id else UNSET
    answer.classification_id = f"cls_{row.classification_id}" if row.classification_id else UNSET
    answer.confidence_value = decimal(row.confidence) if row.confidence is not None else UNSET
    answer.version = _given(row.version)
    return answer


def _given(value: Any) -> Any | UnsetType:
    return UNSET if value is None else value
