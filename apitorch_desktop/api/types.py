"""Wire types of the API Torch interface (see INTERFACE.md), shared by client and service.

A field that is `UNSET` is not on the wire: the documentation's objects are the required fields, the rest are extensions
of our service (see `EXTENSIONS`) or optional. Decoding ignores unknown fields and takes ids as numbers or strings.
"""

from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apitorch_desktop.utils.decoding import prepared

EXTENSIONS: Final = (
    "training-sets",
    "paging",
    "changes",
    "thumbnails",
    "classify.upload",
    "classify.unkept",
    "training",
    "alternatives",
    "labels",
    "images",
    "images.archive",
    "images.msgpack",
    "images.restore",
    "images.upload",
    "feedback.read",
    "versions",
    "forecast",
    "export.onnx",
    "none_of_these",
    "formats",
    "similar",
    "evidence",
    "unlabelled",
    "splits",
    "encoders",
    "embeddings",
    "monitoring",
)
"""Names that a service may list in its ping; a client makes a call only where its extension is listed."""

CONFIDENCE_WORDS: Final = ("very high", "high", "possible", "low", "very low", "unknown")
MAX_CLASSIFIERS: Final = 10
MAX_UPLOADS: Final = 32
"""Images in one call that adds several (`images.upload`)."""
MAX_EMBEDDINGS: Final = 500
"""Images in one call for embeddings (`embeddings`)."""
KEY_LENGTH: Final = 42
"""Characters of an API key; the published client refuses keys of any other length."""

INBOX: Final = "unlabelled"
"""Label of the images that have none yet: no classifier learns it, and no export counts it as a class (`unlabelled`)."""
SPLITS: Final = ("train", "validation", "test")
"""Values of an image's `split` (`splits`); "" or UNSET stands for none."""
HELD_OUT: Final = ("validation", "test")
"""Splits whose images no classifier learns: its accuracy is measured on them."""

T = TypeVar("T")


class Id(str):
    """Id of a training set, a classifier or a label: text in the program, on the wire a number where it is one."""

    __slots__ = ()

    @property
    def wire(self) -> int | str:
        """The id as it stands in JSON."""
        return int(self) if self.isdecimal() and self == str(int(self)) else str(self)


def _encode_id(value: object) -> int | str:
    if not isinstance(value, Id):
        raise NotImplementedError(type(value).__name__)  # as msgspec asks of a hook
    return value.wire


def _decode_id(kind: type, value: object) -> object:
    if kind is not Id or not isinstance(value, int | str):
        raise NotImplementedError(kind.__name__)
    return Id(value)


def encode_json(value: object) -> bytes:
    """Encode a value with its ids as JSON in UTF-8."""
    return msgspec.json.encode(value, enc_hook=_encode_id)


def decode_json(data: bytes | str, kind: type[T], *, strict: bool = True) -> T:
    """Decode JSON as `kind`. Raises `msgspec.DecodeError`, and UnicodeDecodeError."""
    return msgspec.json.decode(data, type=prepared(kind), strict=strict, dec_hook=_decode_id)


def encode_msgpack(value: object) -> bytes:
    """Encode a value with its ids as MessagePack."""
    return msgspec.msgpack.encode(value, enc_hook=_encode_id)


def decode_msgpack(data: bytes, kind: type[T]) -> T:
    """Decode MessagePack as `kind`. Raises `msgspec.DecodeError`."""
    return msgspec.msgpack.decode(data, type=prepared(kind), dec_hook=_decode_id)


def id_schema(kind: type) -> dict[str, object]:
    """JSON Schema of an id, as msgspec asks of a hook."""
    if kind is not Id:
        raise NotImplementedError(kind.__name__)
    return {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def label_name(label: str) -> str:
    """Return a label as it is shown: the inbox has a name of its own."""
    return "No label yet" if label == INBOX else label


def label_order(label: str) -> tuple[bool, str]:
    """Return the sort key of a label: the inbox is first, then by name."""
    return label != INBOX, label


class Error(Struct):
    """Body of every answer that is not 200."""

    message: str
    type: str
    object: str = "error"


class Health(Struct):
    """`GET health`: `live` where the process answers, `ready` where its storage does too."""

    object: str = "health"
    live: bool = True
    ready: bool | UnsetType = UNSET


class Ping(Struct):
    """`GET ping`."""

    object: str = "ping"
    message: str = "ok"
    service: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    extensions: list[str] | UnsetType = UNSET


class TrainingSet(Struct, kw_only=True):
    """A training set. `counts`, an extension, are images per label in the order of `labels`.

    `encoder` (`encoders`) is the name of the one it is learned with, where that is not the built-in one.
    """

    object: str = "training_set"
    id: Id
    name: str
    description: str | None = ""
    url: str = ""
    labels: list[str] | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    counts: list[int] | UnsetType = UNSET
    encoder: str | UnsetType = UNSET
    message: str | UnsetType = UNSET

    @property
    def own_encoder(self) -> str:
        """Name of the encoder, "" for the built-in one."""
        return self.encoder if isinstance(self.encoder, str) else ""

    @property
    def classes(self) -> list[str]:
        """The labels as far as known, in their order, without the inbox."""
        return [label for label in self.labels or () if label != INBOX]


class ListedEncoder(Struct, kw_only=True):
    """An encoder that a training set can be learned with, or a file that cannot be used for the reason in `problem`.

    `name` is "" for the built-in one; `milliseconds` is processor time an image on one thread.
    """

    object: str = "encoder"
    name: str
    file: str
    problem: str = ""
    dimensions: int = 0
    milliseconds: float = 0.0


class Encoders(Struct, kw_only=True):
    """`GET encoders` (`encoders`), the built-in one first."""

    object: str = "list"
    data: list[ListedEncoder]


class EncoderTrial(Struct, kw_only=True):
    """Figures of one encoder on a sample of a training set, cross-validated; `milliseconds` an image, as it was busy."""

    object: str = "encoder_trial"
    name: str
    images: int
    accuracy: float
    calibration_error: float
    milliseconds: float


class EncoderTrials(Struct, kw_only=True):
    """`GET training-set/:id/encoder-trial` (`encoders`): the built-in encoder, then the one asked for."""

    object: str = "list"
    data: list[EncoderTrial]


class ImageEmbedding(Struct, kw_only=True, gc=False):
    """An image in `Embeddings`; `vector` is float16, little-endian, base64 on the wire."""

    image_id: str
    vector: bytes


class Embeddings(Struct, kw_only=True):
    """`POST training-set/:id/images/embeddings` (`embeddings`), by the training set's encoder; without images not encoded yet."""

    object: str = "list"
    encoder: str
    data: list[ImageEmbedding]


class TrainingSets(Struct, kw_only=True):
    """`GET training-sets`."""

    object: str = "list"
    data: list[TrainingSet]


class TrainingImage(Struct, kw_only=True, gc=False):
    """An image in a listing; after `filename` and `url` all fields are extensions.

    `created_at` is ISO 8601 in UTC; `sha256` the hex digest of the stored bytes; `original_filename` the name it was
    uploaded under; width and height are pixels as shown (orientation applied); `split` is one of SPLITS.
    """

    filename: str
    url: str
    object: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    thumbnail_url: str | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    original_filename: str | UnsetType = UNSET
    split: str | UnsetType = UNSET

    @property
    def image_id(self) -> str:
        """The `id` where the service gives one, else `ti_` and the filename without its extension."""
        return self.id if self.id is not UNSET else "ti_" + self.filename.rpartition(".")[0]

    @property
    def known_split(self) -> str:
        """The `split`, "" for none."""
        return self.split if isinstance(self.split, str) else ""

    @property
    def display_name(self) -> str:
        """Name that the user knows: that of the uploaded file, else the service's."""
        original = self.original_filename
        return original if isinstance(original, str) and original else self.filename


class TrainingLabel(Struct, kw_only=True):
    """A label with its images, in the listing of a training set."""

    label: str
    images: list[TrainingImage]
    object: str = "training_label"
    id: str | UnsetType = UNSET
    count: int | UnsetType = UNSET


class TrainingImages(Struct, kw_only=True):
    """`GET training-set/:id/images`. `next` (`paging`) is the value of `after` for the next page, or UNSET."""

    object: str = "list"
    training_set_id: Id
    training_set_slug: str
    training_set_url: str = ""
    data: list[TrainingLabel]
    next: str | UnsetType = UNSET


class LabelCount(Struct, kw_only=True):
    """A label in `GET training-set/:id/labels` (`paging`)."""

    object: str = "training_label"
    id: str
    label: str
    count: int


class LabelCounts(Struct, kw_only=True):
    """`GET training-set/:id/labels` (`paging`)."""

    object: str = "list"
    training_set_id: Id
    data: list[LabelCount]


class ListingChanges(Struct, kw_only=True):
    """`GET training-set/:id/changes?since=` (`changes`): what came, changed and went since a `revision`.

    `images` have their present `label`; `labels` are all there are. `too_old`: the images have to be listed anew.
    """

    object: str = "training_set_changes"
    training_set_id: Id
    revision: str
    too_old: bool = False
    labels: list[LabelCount]
    images: list[TrainingImage]
    removed: list[str]


class ImageAnswer(Struct, kw_only=True):
    """Answer to an upload or a deletion. Our service adds the fields of a listing to that of an upload."""

    object: str = "training_image"
    id: str
    message: str = ""
    label: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    thumbnail_url: str | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    original_filename: str | UnsetType = UNSET
    split: str | UnsetType = UNSET


class UploadError(Struct, kw_only=True):
    """An image that was not added, by its place among those sent, with the `status` that it would have had alone."""

    object: str = "error"
    index: int
    status: int
    message: str
    type: str = ""


class UploadedImages(Struct, kw_only=True):
    """Answer to an upload of several images (`images.upload`): `data` in the order sent, without those in `errors`."""

    object: str = "list"
    data: list[ImageAnswer]
    errors: list[UploadError] = []


class LabelMetrics(Struct, kw_only=True):
    """Cross-validated figures of one label: `accuracy` is the share of its images that were classified correctly."""

    label: str
    count: int
    accuracy: float


class SplitMetrics(Struct, kw_only=True):
    """Accuracy (0 to 1) on the `images` of one split, validation or test, of which the head has learned none."""

    split: str
    images: int
    accuracy: float


class Metrics(Struct, kw_only=True):
    """Cross-validated figures of a classifier: out-of-fold, on images that the head was not trained on.

    `confusion[i][j]` counts images of label i predicted as label j, in the order of `labels`. `held_out` (`splits`) are
    the figures on the splits validation and test, as far as they have images.
    """

    accuracy: float
    images: int
    folds: int
    labels: list[LabelMetrics]
    confusion: list[list[int]] | UnsetType = UNSET
    calibration_error: float | UnsetType = UNSET
    held_out: list[SplitMetrics] | UnsetType = UNSET


class Classifier(Struct, kw_only=True):
    """A classifier. Fields after `slug` are the extension `training`.

    `status`: needs_images, training, ready or failed; `status_message` is a sentence for the user.
    A classifier that is retraining while an older head answers has `status` training and a `version`.
    `waiting_version` (`versions`): a newer version that is clearly worse, and waits for the user's decision.
    """

    object: str = "classifier"
    id: Id = msgspec.field(default_factory=Id)
    name: str = ""
    description: str | None = ""
    return_values: list[Any] | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    labels: list[str] | UnsetType = UNSET
    status: str | UnsetType = UNSET
    status_message: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    trained_at: str | UnsetType = UNSET
    metrics: Metrics | UnsetType = UNSET
    training_set_id: Id | UnsetType = UNSET
    waiting_version: int | UnsetType = UNSET


class Classifiers(Struct, kw_only=True):
    """`GET classifiers`."""

    object: str = "list"
    data: list[Classifier]


class VersionDifference(Struct, kw_only=True):
    """Differences of a version from `version`, the one in use when it was trained (`versions`).

    `added`, `removed` and `relabeled` count training images. Of the `images` that both were trained on under the same
    label, `better` ones are classified right by the newer version only, `worse` ones by the older only, `sideways` ones
    differently and wrong by both: out of fold, by heads that had not seen the image. `p_value`: of McNemar's exact test.
    """

    version: int
    added: int
    removed: int
    relabeled: int
    images: int
    better: int
    worse: int
    sideways: int
    p_value: float


class ClassifierVersion(Struct, kw_only=True):
    """A kept version of a trained classifier (`versions`); `images` counts those it was trained on.

    `waiting`: it is clearly worse than the current one, and is used only when that is asked for.
    """

    object: str = "classifier_version"
    version: int
    trained_at: str
    current: bool
    images: int
    labels: list[str]
    metrics: Metrics | UnsetType = UNSET
    waiting: bool | UnsetType = UNSET
    difference: VersionDifference | UnsetType = UNSET


class ClassifierVersions(Struct, kw_only=True):
    """`GET classifier/:slug/versions` (`versions`), newest first."""

    object: str = "list"
    data: list[ClassifierVersion]


class ClassificationChange(Struct, kw_only=True):
    """A training image that two versions classify differently; `label` is the one it is under.

    The values are the two answers' probabilities, decimals in strings. `kind` is better (right now), worse (no longer
    right) or sideways (wrong in another way).
    """

    object: str = "classification_change"
    image_id: str
    label: str
    from_label: str
    to_label: str
    from_value: str
    to_value: str
    kind: str | UnsetType = UNSET


class ClassificationChanges(Struct, kw_only=True):
    """`GET classifier/:slug/changes?from=&to=` (`versions`)."""

    object: str = "list"
    data: list[ClassificationChange]


class Evidence(Struct, kw_only=True):
    """Places in an image that speak for a label, against the average of the other labels (`evidence`).

    `values` are rows × columns from the top left, −1…1 of the strongest; above 0 speaks for the label. `box`: left, top,
    right and bottom of the map as shares of the sides of the upright image. `share`: part of all evidence that the map shows.
    """

    object: str = "evidence"
    label: str
    version: int
    rows: int
    columns: int
    values: list[float]
    box: list[float]
    share: float


LONGEST_LABEL: Final = 200
"""Most characters of a label, and of the name of a training set."""
MAX_SIMILAR: Final = 100_000
"""Most images of an answer to a search for similar ones."""
MAX_SIMILAR_DETAILS: Final = 200
"""Most images of such an answer for which it has their records."""


class SimilarImage(Struct, kw_only=True, gc=False):
    """A training image, and how similar it is: the cosine of the two embeddings, −1…1 (`similar`).

    `image` is its record as in a listing, in answers for a `limit` up to `MAX_SIMILAR_DETAILS`.
    """

    object: str = "similar_image"
    training_set_id: Id
    image_id: str
    label: str
    similarity: float
    image: TrainingImage | UnsetType = UNSET


class SimilarImages(Struct, kw_only=True):
    """Training images in the order of their similarity; `compared` counts those that were compared (`similar`)."""

    object: str = "list"
    data: list[SimilarImage]
    compared: int


class LabelForecast(Struct, kw_only=True):
    """Estimate for one label with `count` images: its `accuracy` now and `accuracy_then`, with more of its images.

    `gain` is that of the accuracy on images of all labels, in the proportions of the training set. `measured`: with fewer of
    its own images; else from the other labels.
    """

    label: str
    count: int
    accuracy: float
    accuracy_then: float
    gain: float
    measured: bool = True


class Forecast(Struct, kw_only=True):
    """`GET classifier/:slug/forecast` (`forecast`): what `more` images of each label would bring.

    `status`: ready, estimating (ask again), needs_images or failed; `message` is the basis or the reason, as a sentence;
    `accuracy` is that of `version` on images of all labels.
    """

    object: str = "forecast"
    status: str
    message: str = ""
    version: int | UnsetType = UNSET
    more: int | UnsetType = UNSET
    accuracy: float | UnsetType = UNSET
    data: list[LabelForecast] = []


class Alternative(Struct, kw_only=True):
    """Another label of a classification, with its decimal probability in a string (`alternatives`)."""

    label: str
    confidence_value: str
    label_id: str | UnsetType = UNSET


NONE_OF_THESE = "none_of_these"
"""Label of the user's own for images that belong to no other label; `vision.head` learns it as a rejection."""


class Classification(Struct, kw_only=True):
    """One classifier's answer. `value`, `text` and `measures` are of the standard classifiers.

    `none_of_these`: the image is probably none of the classifier's labels; `label` is the nearest, `confidence` "unknown".
    """

    object: str = "classification"
    id: str
    classifier: str
    label: str
    sentence: str = ""
    confidence: str | UnsetType = UNSET
    confidence_value: str | UnsetType = UNSET
    value: Any = UNSET
    label_id: str | UnsetType = UNSET
    alternatives: list[Alternative] | UnsetType = UNSET
    text: str | UnsetType = UNSET
    measures: dict[str, float] | UnsetType = UNSET
    adjusted: bool | UnsetType = UNSET
    none_of_these: bool | UnsetType = UNSET
    version: int | UnsetType = UNSET

    @property
    def label_text(self) -> str:
        """The label, or "none of these" with the nearest label."""
        if self.none_of_these is not True:
            return self.label
        return "none of these" if self.label == NONE_OF_THESE else f"none of these, nearest {self.label}"


class ClassifierError(Struct, kw_only=True):
    """A classifier that failed, and a sentence for people."""

    object: str = "error"
    classifier: str
    message: str


class Classifications(Struct, kw_only=True):
    """`POST classify`. `errors`: the classifiers that failed while others answered; these are not in `data`."""

    object: str = "list"
    id: str
    data: list[Classification]
    errors: list[ClassifierError] | UnsetType = UNSET


class FeedbackAnswer(Struct, kw_only=True):
    """Answer to feedback, with its outcome. The fields after `training_set_id` are those of `GET feedback`.

    `kind` is "classification" or "freeform"; `from_label`, `confidence_value` and `version` are of the classification
    that was corrected; `text` is the freeform message.
    """

    object: str = "feedback"
    id: str = ""
    message: str = ""
    training_image_id: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    training_set_id: Id | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    classification_id: str | UnsetType = UNSET
    classifier: str | UnsetType = UNSET
    from_label: str | UnsetType = UNSET
    confidence_value: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    text: str | UnsetType = UNSET


class FeedbackList(Struct, kw_only=True):
    """`GET feedback` (`feedback.read`)."""

    object: str = "list"
    data: list[FeedbackAnswer]


class ChangedLabel(Struct, kw_only=True):
    """Answer to creating, renaming, merging or deleting a label (`labels`)."""

    object: str = "training_label"
    label: str
    id: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    message: str | UnsetType = UNSET


class ChangedImages(Struct, kw_only=True):
    """Answer to moving or deleting many images (`images`).

    After a move `data` has an image for each id in the order given; two become one where the label had the same already.
    """

    object: str = "list"
    data: list[TrainingImage]
    message: str = ""


class RestoredImages(Struct, kw_only=True):
    """Answer to restoring deleted images (`images.restore`).

    `data` has an image for each id that was given, in that order, without those in `missing`. It has another id than
    was asked for where the label has the same bytes already.
    """

    object: str = "list"
    data: list[TrainingImage]
    missing: list[str]
    message: str = ""


def encode(answer: Struct) -> bytes:
    """Encode an answer as JSON in UTF-8, without the fields that are UNSET."""
    return encode_json(answer)
