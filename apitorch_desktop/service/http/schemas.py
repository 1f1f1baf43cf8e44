"""The fields of request bodies and queries, for JSON and forms alike. Other fields are ignored."""

from typing import Annotated, ClassVar, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from apitorch_desktop.api.types import MAX_CLASSIFIERS, MAX_SIMILAR

_MORE_THAN_SPACE = r"[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""A character that `str.split` does not remove; the meaning of `\\s` differs between languages."""

Url = Annotated[str, Meta(description="Address of an image, http:// or https://.", extra_json_schema={"format": "uri"})]
Label = Annotated[
    str,
    Meta(
        min_length=1,
        description="Name of a label, with a letter or a digit; any spelling is turned into snake_case.",
        extra_json_schema={"format": "label"},
    ),
]
After = Annotated[str, Meta(extra_json_schema={"pattern": "^([1-9][0-9]{0,17}|(ti_)?[0-9a-f]{40})$"})]
Coded = Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64", "format": "base64-utf8", "minLength": 4})]
Name = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": _MORE_THAN_SPACE})]
EncoderName = Annotated[str, Meta(max_length=300, description="Name of an encoder; empty for the built-in one.")]
Description = Annotated[str, Meta(max_length=10_000)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
SimilarLimit = Annotated[int, Meta(ge=1, le=MAX_SIMILAR)]
TrainingSetId = Annotated[int, Meta(ge=1, le=2**63 - 1, extra_json_schema={"format": "training-set-id"})]
ImageId = Annotated[
    str,
    Meta(description="Identifier of an image, with or without `ti_`.", extra_json_schema={"format": "image-id"}),
]
ImageIds = Annotated[list[ImageId], Meta(min_length=1, max_length=200_000)]
Split = Literal["train", "validation", "test"]
Slug = Annotated[str, Meta(description="Slug of a classifier.", extra_json_schema={"format": "slug"})]
Slugs = Annotated[
    list[Slug], Meta(min_length=1, max_length=MAX_CLASSIFIERS, description="Slugs of one to ten classifiers.")
]


_T = TypeVar("_T")


def or_none(value: _T | UnsetType) -> _T | None:
    """Return the value of a field, None where it was not sent."""
    return None if isinstance(value, UnsetType) else value


class UploadFields(Struct):
    """An image by its address; a file comes as multipart field `image`. `split` is the part of a data set it is in."""

    image_url: Url | UnsetType | None = UNSET
    split: Split | UnsetType = UNSET


class UploadByUrl(Struct):
    """An image by its address, and the part of a data set it is in."""

    image_url: Url
    split: Split | UnsetType = UNSET


class SeveralUploads(Struct):
    """The part of a data set that several images are in; they come as multipart files `images[]`."""

    split: Split | UnsetType = UNSET


class ListQuery(Struct):
    """Part of a listing: one label (name or id), the images after a page's `next`, at most `limit` of them."""

    label: str | UnsetType = UNSET
    after: After | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET


class NewTrainingSet(Struct):
    """A training set to be made."""

    name: Name
    description: Description | None = ""


class TrainingSetChange(Struct):
    """Changes to a training set; omitted fields stay as they are."""

    any_of: ClassVar = ("name", "description", "encoder")

    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    encoder: EncoderName | UnsetType = UNSET


class EncoderChoice(Struct):
    """An encoder by its name, "" for the built-in one."""

    encoder: EncoderName


class NewLabel(Struct):
    """A label to be made."""

    label: Label


class LabelChange(Struct):
    """The label's new name; with `merge` it may be one that exists, which then takes the images."""

    label: Label
    merge: bool = False


class MoveImage(Struct):
    """The new label of an image."""

    label: Label


class MoveImages(Struct):
    """Images to move, and their new label."""

    image_ids: ImageIds
    label: Label


class SplitImages(Struct):
    """Images, and the part of a data set they are in from now on, null for none."""

    image_ids: ImageIds
    split: Split | None


class ImageSelection(Struct):
    """Images of a training set."""

    image_ids: ImageIds


class ClassifyOptions(Struct):
    """`show_confidence_value`: whether `confidence_value` is wanted, a decimal number in a string. `keep` false: the image
    and the answer are not stored, so that the answer has no id and cannot be corrected.
    """

    show_confidence_value: bool = False
    keep: bool = True


class Classify(Struct):
    """An image to classify, and the classifiers; a file comes as multipart field `image`."""

    classifiers: Slugs | Slug
    image_url: Url | UnsetType | None = UNSET
    options: ClassifyOptions | UnsetType | None = UNSET


class ClassifyByUrl(Struct):
    """An image to classify, by its address, and the classifiers."""

    classifiers: Slugs | Slug
    image_url: Url
    options: ClassifyOptions | UnsetType | None = UNSET


class EvidenceQuery(Struct):
    """The label, by default the one that the classifier answers."""

    label: str | UnsetType = UNSET


class SimilarQuery(Struct):
    """At most `limit` images; `everywhere`: of all training sets of the owner."""

    limit: SimilarLimit = 100
    everywhere: bool = False


class SimilarSearch(Struct):
    """An image to compare, and a training set, by default all; a file comes as multipart field `image`."""

    image_url: Url | UnsetType | None = UNSET
    training_set_id: TrainingSetId | UnsetType = UNSET
    limit: SimilarLimit = 100


class SimilarSearchByUrl(Struct):
    """An image to compare, by its address, and a training set, by default all."""

    image_url: Url
    training_set_id: TrainingSetId | UnsetType = UNSET
    limit: SimilarLimit = 100


class CurrentVersion(Struct):
    """The version to use; `waiting` takes back the decision about one that was clearly worse."""

    version: Version
    waiting: Version | UnsetType = UNSET


class VersionPair(Struct, rename={"from_": "from"}):
    """The two versions to compare."""

    from_: Version
    to: Version


class Correction(Struct):
    """A wrong classification, and the label (its id, or its name) it should have had."""

    classification_id: str | UnsetType = UNSET
    correct_label_id: Label | int | UnsetType = UNSET


class FeedbackMessage(Struct):
    """A message: base64 of UTF-8."""

    message: Coded | UnsetType = UNSET
