"""The frozen records that the repositories return.

Times are ISO 8601 in UTC with milliseconds (`2026-05-01T12:00:00.000Z`); sha256 and ids are lower-case hex.
"""

from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from apitorch_desktop.api.types import INBOX


class ImageFacts(Protocol):
    """The properties of an image that are stored with it, such as `vision.images.ImageInfo`.

    Width and height are pixels as displayed (orientation applied); `extension` is `.jpg`, `.png`, …
    """

    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def extension(self) -> str: ...  # noqa: D102


class OwnerRow(Struct, frozen=True):
    """An owner of training sets and keys. `keys` counts the stored keys."""

    id: int
    name: str
    created_at: str
    keys: int = 0


class ApiKeyRow(Struct, frozen=True):
    """A stored API key, without the key itself. `hint` is its first six characters."""

    id: int
    owner_id: int
    owner: str
    hint: str
    note: str
    created_at: str


class TrainingSetRow(Struct, frozen=True):
    """A training set with its labels by name, and in the same order the number of images and the id of each.

    `held_out` counts those of the images that are not learned, by their split (`api.types.HELD_OUT`).

    `revision` grows with each change of its images or labels. `standard` is the slug of the standard classifier whose
    feedback it collects, else "". `encoder` is the name of the encoder it is learned with, "" the built-in one.
    """

    id: int
    owner_id: int
    name: str
    slug: str
    description: str
    standard: str
    revision: int
    created_at: str
    encoder: str = ""
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    label_ids: tuple[str, ...] = ()
    held_out: tuple[int, ...] = ()

    def label_rows(self) -> "list[LabelRow]":
        """Return the labels as rows of their own, by name."""
        held = zip(self.label_ids, self.labels, self.counts, strict=True)
        return [LabelRow(label_id, self.id, name, count) for label_id, name, count in held]

    @property
    def classes(self) -> dict[str, int]:
        """Number of images that a classifier learns by label: of all but the inbox, without those held out."""
        held = zip(self.labels, self.counts, self.held_out, strict=True)
        return {label: count - held_out for label, count, held_out in held if label != INBOX}


class LabelRow(Struct, frozen=True):
    """A label. `id` is `tl_` + 40 hex digits, so that no name can be mistaken for an id."""

    id: str
    training_set_id: int
    name: str
    count: int


class ImageRow(Struct, frozen=True, gc=False):
    """A training image. `id` is 40 hex digits without `ti_`; `seq` grows in the order of arrival; `split` may be ""."""

    seq: int
    id: str
    training_set_id: int
    label: str
    sha256: str
    extension: str
    width: int
    height: int
    bytes: int
    original_filename: str
    created_at: str
    split: str

    @property
    def wire_id(self) -> str:
        """The id in the form of the API, `ti_…`."""
        return "ti_" + self.id

    @property
    def filename(self) -> str:
        """The name in a listing: the id and the extension."""
        return self.id + self.extension


ImageTuple = tuple[int, str, str, str, str, int, int, int, str, str, str]
"""The fields of an `ImageRow` but for `training_set_id`."""


class ImagePage(NamedTuple):
    """A part of a listing of one training set in the order of arrival, as the database has it.

    `next` is the `after` of the following page, None at the end.
    """

    training_set_id: int
    rows: list[ImageTuple]
    next: str | None

    @property
    def images(self) -> list[ImageRow]:
        """The images as records, which take longer to make than the query takes."""
        rows: list[Any] = self.rows
        return [ImageRow(seq, digits, self.training_set_id, *rest) for seq, digits, *rest in rows]


class BlobRow(Struct, frozen=True):
    """The stored bytes of one image, which any number of records refer to."""

    sha256: str
    bytes: int
    width: int
    height: int
    extension: str


class ExampleRow(Struct, frozen=True, gc=False):
    """A training image as a training example."""

    image_id: str
    label: str
    sha256: str
    split: str = ""


class EmbeddingRow(Struct, frozen=True, gc=False):
    """An embedding. `vector` is float32 little-endian; `unsafe` is 0…1, or None if the encoder gives none."""

    sha256: str
    vector: bytes
    unsafe: float | None


class VersionRow(Struct, frozen=True):
    """A trained head of a training set. `revision` is that of the training set it was trained on.

    `metrics` is JSON (`api.types.Metrics`); `images` and `labels` count what it was trained on. `difference` is JSON
    (`api.types.VersionDifference`), None for the first version and those of older programs. `waiting`: it is clearly worse
    than the current one, and replaces it only when the user says so.
    """

    training_set_id: int
    version: int
    revision: int
    encoder: str
    trained_at: str
    current: bool
    images: int
    labels: int
    metrics: str
    difference: str | None = None
    waiting: bool = False


class NewClassification(Struct, frozen=True):
    """One classifier's result, to be stored. `training_set_id` and `version` are those of a trained classifier, else
    None.
    """

    classifier: str
    label: str
    confidence: float | None = None
    training_set_id: int | None = None
    version: int | None = None


class ClassificationRow(Struct, frozen=True):
    """A stored classification. `id` is 40 hex digits without `cls_`; `call_id` is the same for all results of one
    request.
    """

    id: str
    owner_id: int
    call_id: str
    classifier: str
    label: str
    confidence: float | None
    training_set_id: int | None
    version: int | None
    sha256: str
    original_filename: str
    created_at: str


class FeedbackRow(Struct, frozen=True):
    """Feedback. `kind` is `classification` or `freeform`; fields that do not apply are "" or None.

    The corrected classification is copied, since classifications expire. `image_id` (40 hex digits) is the resulting
    training image, which may have been deleted since.
    """

    id: str
    owner_id: int
    kind: str
    created_at: str
    message: str = ""
    classification_id: str = ""
    classifier: str = ""
    predicted: str = ""
    confidence: float | None = None
    version: int | None = None
    training_set_id: int | None = None
    label: str = ""
    image_id: str = ""


class SweepReport(Struct, frozen=True):
    """The result of a sweep.

    `quarantined` counts the files in quarantine, `new` those that were added by this sweep, `left` those of the new ones
    that were there before the folder was opened, and `newer` those of them that are newer than the newest row. `removed`
    counts the files whose time in quarantine was over. `missing` are the images whose file does not exist (their rows are
    kept).
    """

    removed: int
    missing: tuple[str, ...]
    quarantined: int = 0
    new: int = 0
    left: int = 0
    newer: int = 0
