"""What the store answers with: frozen records, one a row.

Times are ISO 8601 in UTC with milliseconds (`2026-05-01T12:00:00.000Z`); sha256 and ids are lower-case hex.
"""

from typing import Protocol

from msgspec import Struct


class ImageFacts(Protocol):
    """What has to be known of an image before it is stored; `vision.images.ImageInfo` fits.

    Width and height are pixels as shown (orientation applied); `extension` is `.jpg`, `.png`, …
    """

    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def extension(self) -> str: ...  # noqa: D102


class OwnerRow(Struct, frozen=True):
    """Whom training sets and keys belong to. `keys` counts the stored ones."""

    id: int
    name: str
    created_at: str
    keys: int = 0


class ApiKeyRow(Struct, frozen=True):
    """A stored API key: never the key itself. `hint` is its first six characters, to tell keys apart."""

    id: int
    owner_id: int
    owner: str
    hint: str
    note: str
    created_at: str


class TrainingSetRow(Struct, frozen=True):
    """A training set with its labels by name and the images of each, in the same order.

    `revision` grows with each change of its images or labels. `standard` is the slug of the standard classifier whose
    feedback it collects, else "".
    """

    id: int
    owner_id: int
    name: str
    slug: str
    description: str
    standard: str
    revision: int
    created_at: str
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


class LabelRow(Struct, frozen=True):
    """A label. `id` is `tl_` + 40 hex digits, so that no label's name can be taken for an id."""

    id: str
    training_set_id: int
    name: str
    count: int


class ImageRow(Struct, frozen=True, gc=False):
    """A training image. `id` is 40 hex digits without `ti_`; `seq` grows in the order of arrival."""

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

    @property
    def wire_id(self) -> str:
        """`ti_…`, as the API writes it."""
        return "ti_" + self.id

    @property
    def filename(self) -> str:
        """The name in a listing: the id and the extension."""
        return self.id + self.extension


class ImagePage(Struct, frozen=True):
    """Part of a listing in the order of arrival; `next` is the `after` that follows, None at the end."""

    images: list[ImageRow]
    next: str | None


class BlobRow(Struct, frozen=True):
    """The bytes of one image, whoever refers to them."""

    sha256: str
    bytes: int
    width: int
    height: int
    extension: str


class ExampleRow(Struct, frozen=True, gc=False):
    """A training image as training sees it."""

    image_id: str
    label: str
    sha256: str


class EmbeddingRow(Struct, frozen=True, gc=False):
    """`vector`: float32 little-endian; `unsafe` 0…1, or None where the encoder gives none."""

    sha256: str
    vector: bytes
    unsafe: float | None


class VersionRow(Struct, frozen=True):
    """A trained head of a training set. `revision` is the training set's that it was trained on.

    `metrics` is JSON (`api.types.Metrics`); `images` and `labels` are how many it learned from.
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


class NewClassification(Struct, frozen=True):
    """One classifier's answer, to be remembered. `training_set_id` and `version` of a trained one, else None."""

    classifier: str
    label: str
    confidence: float | None = None
    training_set_id: int | None = None
    version: int | None = None


class ClassificationRow(Struct, frozen=True):
    """A remembered answer. `id` is 40 hex digits without `cls_`; `call_id` the same for all answers of one call."""

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
    """Feedback. `kind`: `classification` or `freeform`; what does not apply is "" or None.

    The answer that was corrected is copied in, since classifications are not kept for ever. `image_id` (40 hex digits)
    is the training image that came of it; it may have been deleted since.
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
    """What a sweep found: files nobody refers to (removed), rows whose file is gone (kept, and reported)."""

    removed: int
    missing: tuple[str, ...]
