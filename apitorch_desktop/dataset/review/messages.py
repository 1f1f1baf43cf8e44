"""Messages between the window's side of Review and its worker process."""

from __future__ import annotations

import msgspec

from apitorch_desktop.dataset.review.findings import Findings


class ReviewStopped(Exception):  # noqa: N818 - not an error
    """Raised inside the worker when another request waits."""


class ReviewItem(msgspec.Struct, array_like=True, frozen=True):
    """Image to analyze. `key` identifies its content: the sha256 where the service gives it, else its id.

    Width, height (pixels as shown) and bytes are 0, `created_at` (ISO 8601) "" where the service does not give them.
    """

    id: str
    key: str
    label: str
    width: int = 0
    height: int = 0
    bytes: int = 0
    created_at: str = ""


# --- to the worker; `serial` numbers the reviews, so that late answers can be recognized


class BeginReview(msgspec.Struct, array_like=True, tag=True):
    """Request for a review of these images; answered by MissingThumbnails.

    `labels`: all labels of the training set, also empty ones. `apart`: pairs of ids that the user keeps apart.
    `encoder`: name of the training set's own encoder, "" for the built-in one.
    """

    serial: int
    connection: str
    training_set: str
    items: list[ReviewItem]
    labels: list[str]
    apart: list[tuple[str, str]]
    encoder: str = ""


class ThumbnailData(msgspec.Struct, array_like=True):
    """Thumbnail of an image, or the reason why there is none."""

    key: str
    data: bytes
    problem: str = ""


class SendThumbnails(msgspec.Struct, array_like=True, tag=True):
    """Thumbnails that were missing; answered by Received."""

    serial: int
    thumbnails: list[ThumbnailData]


class SendSizes(msgspec.Struct, array_like=True, tag=True):
    """Sizes of image files: key → (width, height, bytes); answered by Received."""

    serial: int
    sizes: dict[str, tuple[int, int, int]]


class SendEmbeddings(msgspec.Struct, array_like=True, tag=True):
    """Embeddings by a training set's own encoder: key → float16, little-endian; answered by Received."""

    serial: int
    encoder: str
    vectors: dict[str, bytes]


class Analyze(msgspec.Struct, array_like=True, tag=True):
    """Request to analyze; answered by FindingsUpdate for each part, the last one `final`."""

    serial: int


class StopReview(msgspec.Struct, array_like=True, tag=True):
    """Notice that the review was cancelled; not answered."""


class ReplaceIds(msgspec.Struct, array_like=True, tag=True):
    """Notice that images have other keys, old → new; not answered."""

    connection: str
    ids: dict[str, str]


Request = BeginReview | SendThumbnails | SendSizes | SendEmbeddings | Analyze | StopReview | ReplaceIds

# --- from the worker


class MissingThumbnails(msgspec.Struct, array_like=True, tag=True):
    """Keys of images whose features are not cached, and of those whose embedding by the set's own encoder is not."""

    serial: int
    keys: list[str]
    embeddings: list[str]


class Received(msgspec.Struct, array_like=True, tag=True):
    """Acknowledgement of thumbnails or sizes."""

    serial: int


class FindingsUpdate(msgspec.Struct, array_like=True, tag=True):
    """Findings so far. `unmeasured`: ids of near-duplicates whose size in pixels and bytes is not known."""

    serial: int
    findings: Findings
    unmeasured: list[str]
    final: bool


class ReviewCrashed(msgspec.Struct, array_like=True, tag=True):
    """Notice that the review failed; a sentence with the reason."""

    serial: int
    sentence: str


Answer = MissingThumbnails | Received | FindingsUpdate | ReviewCrashed


# --- to and from the process that makes a map


class MapRequest(msgspec.Struct, array_like=True):
    """Images to lay out by their keys, see `ReviewItem`. `anew` discards the positions that are known.

    `encoder`: name of the training set's own encoder, "" for the built-in one.
    """

    cache: str
    connection: str
    training_set: str
    keys: list[str]
    anew: bool = False
    encoder: str = ""


class MapUpdate(msgspec.Struct, array_like=True):
    """Positions (n, 2) float32 as bytes, of the images with these keys; None while there are none.

    `share` of the layout that is done; `missing` images have no features yet. `problem`: why there is no map. `encoder`: the
    own encoder by whose embeddings the images lie, "" for the built-in one, also where the own one has too few yet.
    """

    keys: list[str]
    positions: bytes | None
    share: float
    missing: int = 0
    final: bool = False
    problem: str = ""
    encoder: str = ""
