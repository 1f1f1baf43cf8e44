"""Classification and feedback, for the standard and the trained classifiers, and the export of the latter as ONNX."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray
from PIL import Image

from apitorch_desktop.api import types
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.service.classifiers.cluster import ClusterAway
from apitorch_desktop.service.classifiers.encoders import EncoderPool, OwnEncoders
from apitorch_desktop.service.classifiers.exporting import export_onnx
from apitorch_desktop.service.classifiers.trainer import Trainer, unmet_requirements
from apitorch_desktop.service.classifiers.training_data import decimal
from apitorch_desktop.service.storage.blobs import Staged
from apitorch_desktop.service.storage.errors import Invalid, RecordConflict, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.records import FeedbackRow, ImageFacts, NewClassification, TrainingSetRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import standard_classifiers
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder
from apitorch_desktop.vision.head import NONE_OF_THESE, confidence_word
from apitorch_desktop.vision.images import UnreadableImage, open_verified
from apitorch_desktop.vision.standard_classifiers import StandardAnswer

_log = logging.getLogger(__name__)
_STORING_THREADS = 16
"""Images and answers that are written at a time; those of several requests share a commit."""


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

    def __call__(self, slug: str, image: Image.Image) -> StandardAnswer:
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


class ClassificationService:
    """Classification and feedback for one service. All methods block and are thread-safe.

    `encoder_factory` makes an encoder for classification alone, which never waits for the trainer's; the first
    classification loads it, or `load_encoder`.
    """

    def __init__(
        self,
        store: Store,
        trainer: Trainer,
        encoder_factory: Callable[[], Encoder],
        own: OwnEncoders | None = None,
    ) -> None:
        self._store = store
        self._trainer = trainer
        self._encoders = EncoderPool(encoder_factory, own)
        self._standard = StandardClassifierRunner()
        self._storing_pool = ThreadPoolExecutor(_STORING_THREADS, "stage")

    def close(self) -> None:
        """End the threads; nothing can be classified afterwards."""
        self._storing_pool.shutdown(cancel_futures=True)

    def load_encoder(self) -> None:
        """Load the encoder now. Raises StorageFault if its model file cannot be used."""
        self.encoder()

    def encoder(self) -> Encoder:
        """Return the built-in encoder, loaded at the first call. Raises StorageFault."""
        try:
            return self._encoders.built_in()
        except UnusableEncoder as error:
            raise StorageFault(str(error)) from error

    def encoder_named(self, name: str) -> "Encoder | None":
        """Return the encoder of this name, also an earlier version's or a user's own; None without such a one."""
        return self._encoders.named(name)

    def classifiers(self, owner: int) -> list[types.Classifier]:
        """Return the standard classifiers, then the owner's training sets with enough images, whatever their status."""
        rows = self._store.training_sets.all(owner)
        corrections = {row.standard: row for row in rows if row.standard}
        trained = [row for row in rows if not row.standard and not unmet_requirements(row)]
        return [_standard(entry, self._corrected(corrections.get(slug))) for slug, entry in STANDARD.items()] + [
            self._trained(row) for row in trained
        ]

    def classifier(self, owner: int, slug: str) -> types.Classifier:
        """Return one standard classifier or training set in its current state. Raises RecordNotFound."""
        if entry := STANDARD.get(slug):
            return _standard(entry, self._corrected(self._corrections(owner, slug)))
        return self._trained(self._training_set(owner, slug))

    def classify(
        self,
        owner: int,
        classifiers: Sequence[str],
        data: bytes,
        *,
        filename: str = "",
        show_confidence_value: bool = False,
        keep: bool = True,
    ) -> "Future[types.Classifications]":
        """Classify an image by each classifier, given by slug; it is decoded once and encoded once for all of them.

        Returns a future of the answers, whose errors are those of storing: every result is stored durably first, since feedback
        may follow at once. That is done on another thread, so that this one can encode the next image; the image is written
        to disk while the encoder runs. The future must not be cancelled. Unless `keep`, nothing is stored, and the ids are
        empty. A classifier that fails is named in `errors` beside the answers of the others; if all do, the first one's
        error is raised. Raises Invalid for none or more than ten classifiers, RecordNotFound for an unknown slug,
        RecordConflict for a training set without a head (the sentence states what it needs), UnreadableImage, StorageFault.
        """
        slugs = list(dict.fromkeys(classifiers))
        if not 1 <= len(slugs) <= types.MAX_CLASSIFIERS:
            raise Invalid(f"Choose 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(slugs)}.")
        requests = [self._find_classifier(owner, slug) for slug in slugs]
        encoder = self.encoder()
        at_least = self._standard.shorter_side(slugs, encoder.shorter_side)
        image, info = open_verified(data, at_least)
        encoded_image = _EncodedImage(encoder, self.encoder_named, image)
        if not keep:
            pending, errors = self._classify_each(requests, encoded_image)
            answered: Future[types.Classifications] = Future()
            answered.set_result(_answers("", pending, errors, show_confidence_value=show_confidence_value))
            return answered
        staging = self._storing_pool.submit(self._store.classifications.stage, data)

        def store() -> types.Classifications:
            # On a thread of the pool that began to stage the image earlier, and thus has a thread at it or is done
            call_id = self._put(owner, staging.result(), info, pending, filename)
            return _answers(call_id, pending, errors, show_confidence_value=show_confidence_value)

        try:
            pending, errors = self._classify_each(requests, encoded_image)
            return self._storing_pool.submit(store)
        except BaseException:
            staging.add_done_callback(self._discard)
            raise

    def _put(
        self, owner: int, staged: "Staged", info: "ImageFacts", pending: "list[_PendingAnswer]", filename: str
    ) -> str:
        """Store the answers about an image, and give them their ids; return that of the call."""
        new = [
            NewClassification(
                answer.wire.classifier,
                answer.wire.label,
                answer.confidence,
                answer.training_set_id,
                answer.version,
            )
            for answer in pending
        ]
        rows = self._store.classifications.put(owner, staged, info, new, filename)
        for row, answer in zip(rows, pending, strict=True):
            answer.wire.id = f"cls_{row.id}"
        return f"api_{rows[0].call_id}"

    def _classify_each(
        self, requests: "list[_RequestedClassifier]", encoded_image: "_EncodedImage"
    ) -> "tuple[list[_PendingAnswer], list[types.ClassifierError]]":
        """Return the answers, and what failed. Raises the first failure if there is no answer, and errors of the request."""
        pending: list[_PendingAnswer] = []
        failures: list[tuple[str, Exception]] = []
        for requested in requests:
            try:
                pending.append(self._classify_one(requested, encoded_image))
            except (Invalid, RecordConflict, RecordNotFound, UnreadableImage):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the others answer
                if not isinstance(error, StorageFault):
                    _log.exception("the classifier %s failed", requested.slug)
                failures.append((requested.slug, error))
        if failures and not pending:
            raise failures[0][1]
        return pending, [
            types.ClassifierError(
                classifier=slug,
                message=str(error) if isinstance(error, StorageFault) else "The classifier failed on this image.",
            )
            for slug, error in failures
        ]

    def _discard(self, staging: "Future[Staged]") -> None:
        if not staging.exception():
            self._store.classifications.discard(staging.result())

    def feedback_classification(
        self, owner: int, classification_id: str, correct_label_id: str
    ) -> types.FeedbackAnswer:
        """Assign a classified image to its correct label: a label's id, or a name, created if new.

        An image under another label of that training set moves, since one image must not have two labels. Raises
        RecordNotFound, Invalid for a label without letters, DiskFull.
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
        if not unmet_requirements(training_set):
            answer.message += " The classifier learns from it."
        elif row.training_set_id is None:
            answer.message += f" {unmet_requirements(training_set)}"
        return answer

    def feedback_freeform(self, owner: int, message: str) -> types.FeedbackAnswer:
        """Store a message (decoded). Raises Invalid, DiskFull."""
        return _feedback(self._store.classifications.put_message(owner, message))

    def feedback(self, owner: int) -> list[types.FeedbackAnswer]:
        """Return the feedback, newest first, with its results."""
        return [_feedback(row) for row in self._store.classifications.feedback(owner)]

    def _find_classifier(self, owner: int, slug: str) -> "_RequestedClassifier":
        if entry := STANDARD.get(slug):
            return _RequestedClassifier(slug, entry, self._corrections(owner, slug))
        row = self._training_set(owner, slug)
        if unmet := unmet_requirements(row):
            raise RecordConflict(f"“{slug}” cannot answer yet. {unmet}")
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

    def _classify_one(self, requested: "_RequestedClassifier", encoded_image: "_EncodedImage") -> "_PendingAnswer":
        if requested.entry is None:
            return self._classify_trained(requested, encoded_image)
        answer = self._standard(requested.slug, encoded_image.image)
        values = None if answer.confidence_value is None else distribution(requested.entry, answer)
        row, version, prediction = requested.row, None, None
        if row and not unmet_requirements(row):
            prediction = self._trainer.predict(row, encoded_image.embedding)
        if row and prediction:
            version = prediction.version
            learned_values = dict(zip(prediction.labels, prediction.values, strict=True))
            answer, values = adjust(requested.entry, answer, learned_values, sum(row.classes.values()))
        wire = types.Classification(id="", classifier=requested.slug, label=answer.label, sentence=answer.sentence)
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
        if prediction:
            wire.adjusted, wire.version = True, prediction.version
        return _PendingAnswer(wire, answer.confidence_value, row.id if row and prediction else None, version)

    def _classify_trained(self, requested: "_RequestedClassifier", encoded_image: "_EncodedImage") -> "_PendingAnswer":
        row = requested.row
        prediction = self._trainer.predict(row, encoded_image.embedding) if row else None
        if row is None or prediction is None:
            state = self._trainer.state(row).message if row else ""
            raise RecordConflict(f"“{requested.slug}” cannot answer yet. {state}".strip())
        ids = dict(zip(row.labels, row.label_ids, strict=True))
        values = dict(zip(prediction.labels, prediction.values, strict=True))
        label, confidence = prediction.labels[0], prediction.values[0]
        wire = types.Classification(
            id="",
            classifier=requested.slug,
            label=label,
            sentence=f"Image is {label.replace('_', ' ')}.",
            confidence=confidence_word(confidence),
            label_id=ids.get(label, UNSET),
            alternatives=_alternatives(values, label, ids),
            version=prediction.version,
        )
        if prediction.none_of_these:
            wire.none_of_these, wire.confidence = True, confidence_word(None)
            nearest = "" if label == NONE_OF_THESE else f"; the nearest is {label.replace('_', ' ')}"
            wire.sentence = f"Image is none of these{nearest}."
        return _PendingAnswer(wire, confidence, row.id, prediction.version)

    def _trained(self, row: "TrainingSetRow") -> types.Classifier:
        fields = self._corrected(row)
        return types.Classifier(
            id=types.Id(row.id),
            name=row.name,
            description=row.description,
            slug=row.slug,
            return_values=[[label, f"Image is {label.replace('_', ' ')}"] for label in fields["labels"]],
            **fields,
        )

    def _corrected(self, row: "TrainingSetRow | None") -> dict[str, Any]:
        """Return the fields of the extension for a training set; empty without one."""
        if row is None:
            return {}
        state = self._trainer.state(row)
        return {
            "labels": state.labels,
            "status": state.status,
            "status_message": state.message,
            "version": _or_unset(state.version),
            "trained_at": _or_unset(state.trained_at),
            "metrics": _or_unset(state.metrics),
            "training_set_id": row.id,
            "waiting_version": _or_unset(state.waiting),
        }


@dataclass(frozen=True)
class _RequestedClassifier:
    """A requested classifier: a standard one, with the training set of its corrections, or a trained one."""

    slug: str
    entry: StandardClassifier | None
    row: "TrainingSetRow | None"


@dataclass
class _PendingAnswer:
    """A result that is not stored yet."""

    wire: types.Classification
    confidence: float | None
    training_set_id: int | None
    version: int | None


def _answers(
    call_id: str, pending: list[_PendingAnswer], errors: list[types.ClassifierError], *, show_confidence_value: bool
) -> types.Classifications:
    if show_confidence_value:
        for answer in pending:
            if answer.confidence is not None:
                answer.wire.confidence_value = decimal(answer.confidence)
    answers = types.Classifications(id=call_id, data=[answer.wire for answer in pending])
    if errors:
        answers.errors = errors
    return answers


class _EncodedImage:
    """One opened image, encoded at most once by the built-in encoder.

    For one thread. `functools.cached_property` would do, but until Python 3.12 it has one lock for all instances, under
    which one photo was encoded at a time.
    """

    def __init__(self, encoder: Encoder, others: "Callable[[str], Encoder | None]", image: Image.Image) -> None:
        self.encoder, self.others, self.image = encoder, others, image
        self._embedding: NDArray[np.float32] | None = None

    def embedding(self, encoder: str) -> "NDArray[np.float32] | None":
        """The embedding by the encoder of this name: the built-in one, an earlier version's, or a user's own; else None."""
        if encoder == self.encoder.name:
            if self._embedding is None:
                self._embedding = self.encoder.encode([self.image])[0]
            return self._embedding
        other = self.others(encoder)
        return other.encode([self.image])[0] if other else None


def _standard(entry: StandardClassifier, fields: dict[str, Any]) -> types.Classifier:
    """Describe a standard classifier; `fields` are those of the training set of its corrections, which has a state of
    its own.
    """
    extra = [label.replace("_", " ") for label in fields.get("labels", [])]
    labels = [*entry.labels, *(label for label in extra if label not in entry.labels)]
    prediction = fields.get("version", UNSET) is not UNSET
    return types.Classifier(
        id=types.Id(entry.slug),
        name=entry.name,
        description=entry.description,
        slug=entry.slug,
        return_values=entry.return_values(),
        **{
            **fields,
            "labels": labels,
            "status": "ready",
            "status_message": f"Adjusted by corrections. {fields['status_message']}" if prediction else "Ready.",
        },
    )


def _alternatives(values: dict[str, float], label: str, ids: dict[str, str] | None = None) -> list[types.Alternative]:
    others = sorted((name for name in values if name != label), key=values.__getitem__, reverse=True)
    return [
        types.Alternative(label=name, confidence_value=decimal(values[name]), label_id=(ids or {}).get(name, UNSET))
        for name in others
    ]


def _feedback(row: FeedbackRow) -> types.FeedbackAnswer:
    answer = types.FeedbackAnswer(id=f"fb_{row.id}", kind=row.kind, created_at=row.created_at)
    if row.kind == "freeform":
        answer.message, answer.text = "Thank you: the message is kept.", row.message
        return answer
    answer.message = f"The image went under “{row.label}”."
    answer.label, answer.classifier, answer.from_label = row.label, row.classifier, row.predicted
    answer.training_set_id = _or_unset(row.training_set_id)
    answer.training_image_id = f"ti_{row.image_id}" if row.image_id else UNSET
    answer.classification_id = f"cls_{row.classification_id}" if row.classification_id else UNSET
    answer.confidence_value = decimal(row.confidence) if row.confidence is not None else UNSET
    answer.version = _or_unset(row.version)
    return answer


def _or_unset(value: Any) -> Any | UnsetType:
    return UNSET if value is None else value


class OnnxExporter:
    """Exports classifiers. Blocking and thread-safe."""

    def __init__(self, store: Store, trainer: Trainer, classification: ClassificationService) -> None:
        self._store = store
        self._trainer = trainer
        self._classification = classification

    def onnx(self, owner: int, slug: str) -> bytes:
        """Return the current version of a training set's classifier as an ONNX file.

        Raises RecordNotFound, RecordConflict if nothing has been trained yet, StorageFault if the file's results differ
        from those of the service.
        """
        row = self._store.training_sets.by_slug(owner, slug)
        found = self._trainer.current_head(row.id)
        if found is None:
            raise RecordConflict(
                f"The classifier “{slug}” has not been trained yet: add images, and wait until it is ready."
            )
        if self._trainer.cluster is not None and not found.provisional:
            with suppress(ClusterAway):
                return self._trainer.cluster.export(row.id, found.version, found.encoder)
        encoder = self._classification.encoder_named(found.encoder)
        if encoder is None:
            raise RecordConflict(
                f"The classifier “{slug}” was trained with another encoder, which is not there any more."
            )
        return export_onnx(self._store, row, found, encoder)
