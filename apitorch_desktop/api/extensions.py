"""Calls beyond the documentation; a client may make one only where `ping` lists its extension."""

import io
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from apitorch_desktop.api import types
from apitorch_desktop.api.errors import ApiError, BadRequest, NotApiTorch
from apitorch_desktop.api.multipart import Multipart, SentFile
from apitorch_desktop.api.packed_listing import decode_listing
from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.transport import Transport

_PAGE = 1000
_LARGEST_ARCHIVE = 128 * 2**20
_LARGEST_MODEL = 1024 * 2**20


def query(**parameters: object) -> str:
    """Build a query string of the parameters that are not None."""
    return urlencode({name: str(value) for name, value in parameters.items() if value is not None})


def label_of(text: str) -> str:
    """Return the label as it is stored. Raises BadRequest where it has neither a letter nor a digit."""
    label = snake_case(text)
    if not label:
        raise BadRequest(f"“{text[:80]}” cannot be a label: it has no letter and no digit.")
    return label


def segment(value: str) -> str:
    """Quote one segment of a path. Raises BadRequest for an empty one, “.” and “..”."""
    if value in {"", ".", ".."}:
        raise BadRequest(f"“{value}” names nothing.")
    return quote(value.encode("utf-8", "replace"), safe="")


class Extensions:
    """Part of `ApiClient` that needs extensions; each docstring begins with the name of its extension."""

    _transport: Transport
    _takes_packed = False

    def create_training_set(self, name: str, description: str = "") -> types.TrainingSet:
        """`training-sets`: create an empty training set."""
        json = {"name": name, "description": description}
        return self._transport.call("POST", "training-sets", types.TrainingSet, json=json)

    def update_training_set(
        self,
        training_set_id: types.Id,
        *,
        name: str | None = None,
        description: str | None = None,
        encoder: str | None = None,
    ) -> types.TrainingSet:
        """`training-sets`: change the name, the description or (`encoders`) the encoder; None keeps the present one."""
        given = {"name": name, "description": description, "encoder": encoder}
        json = {field: value for field, value in given.items() if value is not None}
        return self._transport.call(
            "PATCH", f"training-set/{segment(training_set_id)}", types.TrainingSet, json=json, repeatable=True
        )

    def delete_training_set(self, training_set_id: types.Id) -> None:
        """`training-sets`: delete a training set with its images."""
        self._delete(f"training-set/{segment(training_set_id)}")

    def labels(self, training_set_id: types.Id) -> list[types.LabelCount]:
        """`paging`: return the labels with their ids and counts."""
        route = f"training-set/{segment(training_set_id)}/labels"
        return self._transport.call("GET", route, types.LabelCounts).data

    def image_page(
        self,
        training_set_id: types.Id,
        *,
        label: str | None = None,
        after: str | None = None,
        limit: int = _PAGE,
        cancelled: Callable[[], bool] | None = None,
    ) -> types.TrainingImages:
        """`paging`: return at most `limit` images of one label or of all; `next` of the answer is `after` of the next page."""
        parameters = query(label=label, after=after, limit=limit)
        route = f"training-set/{segment(training_set_id)}/images?{parameters}"
        return self._listing(route, cancelled)

    def _listing(self, route: str, cancelled: Callable[[], bool] | None) -> types.TrainingImages:
        """Return a listing, by `images.msgpack` where the last ping named it."""
        unpack = decode_listing if self._takes_packed else None
        return self._transport.call("GET", route, types.TrainingImages, unpack=unpack, cancelled=cancelled)

    def image_changes(
        self,
        training_set_id: types.Id,
        since: str | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> types.ListingChanges:
        """`changes`: return what came, changed and went since a `revision`; None for the present revision alone."""
        route = f"training-set/{segment(training_set_id)}/changes?{query(since=since)}".rstrip("?")
        return self._transport.call("GET", route, types.ListingChanges, cancelled=cancelled)

    def training_image(self, image_id: str) -> types.TrainingImage:
        """`changes`: return an image as it is in a listing, with fresh URLs."""
        return self._transport.call("GET", f"training-image/{segment(image_id)}", types.TrainingImage)

    def classifier(self, slug: str) -> types.Classifier:
        """`training`: return one classifier with its labels, status, version and metrics."""
        return self._transport.call("GET", f"classifier/{segment(slug)}", types.Classifier)

    def create_label(self, training_set_id: types.Id, label: str) -> types.TrainingLabel:
        """`labels`: create a label without images."""
        route = f"training-set/{segment(training_set_id)}/labels"
        return self._label("POST", route, {"label": label_of(label)})

    def rename_label(
        self, training_set_id: types.Id, label: str, new: str, *, merge: bool = False
    ) -> types.TrainingLabel:
        """`labels`: rename a label; only with `merge` to one that exists, which then receives the images."""
        json: dict[str, object] = {"label": label_of(new)}
        if merge:
            json["merge"] = True
        return self._label("PATCH", f"training-set/{segment(training_set_id)}/labels/{segment(label)}", json)

    def merge_labels(self, training_set_id: types.Id, label: str, into: str) -> types.TrainingLabel:
        """`labels`: move all images of `label` to the label `into`, and delete `label`."""
        return self.rename_label(training_set_id, label, into, merge=True)

    def delete_label(self, training_set_id: types.Id, label: str) -> None:
        """`labels`: delete a label with its images."""
        self._delete(f"training-set/{segment(training_set_id)}/labels/{segment(label)}")

    def move_images(self, training_set_id: types.Id, image_ids: Sequence[str], label: str) -> list[types.TrainingImage]:
        """`images`: move many images to a label, all or none; returns an image for each id, in the order given.

        Where the label has an image with the same bytes, that one is returned, and the moved one no longer exists.
        """
        json = {"image_ids": list(image_ids), "label": label_of(label)}
        route = f"training-set/{segment(training_set_id)}/images/move"
        return self._transport.call("POST", route, types.ChangedImages, json=json, repeatable=True).data

    def set_split(self, training_set_id: types.Id, image_ids: Sequence[str], split: str) -> None:
        """`splits`: put many images into one of types.SPLITS, "" for none; all or none of them."""
        json = {"image_ids": list(image_ids), "split": split or None}
        route = f"training-set/{segment(training_set_id)}/images/split"
        self._transport.call("POST", route, types.ChangedImages, json=json, repeatable=True)

    def delete_images(self, training_set_id: types.Id, image_ids: Sequence[str]) -> None:
        """`images`: delete many images, all or none."""
        route = f"training-set/{segment(training_set_id)}/images/delete"
        self._transport.call("POST", route, dict[str, Any], json={"image_ids": list(image_ids)})

    def restore_images(self, training_set_id: types.Id, image_ids: Sequence[str]) -> dict[str, types.TrainingImage]:
        """`images.restore`: bring back images that were deleted within a day, with their ids; harmless for those that are
        there.

        Returns id → image, without those that the service no longer has; another image where its label has the same bytes.
        """
        route = f"training-set/{segment(training_set_id)}/images/restore"
        answer = self._transport.call(
            "POST", route, types.RestoredImages, json={"image_ids": list(image_ids)}, repeatable=True
        )
        missing = set(answer.missing)
        restored = [each for each in image_ids if each not in missing]
        if len(restored) != len(answer.data):
            raise NotApiTorch("The service restored other photos than it was asked for.")
        return dict(zip(restored, answer.data, strict=True))

    def forget_deleted_images(self) -> None:
        """`images.restore`: have the service forget what was deleted, so that it cannot be restored."""
        self._delete("deleted-images")

    def upload_images(
        self,
        training_set_id: types.Id,
        label: str,
        files: Sequence[SentFile],
        *,
        split: str = "",
        on_sent: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        repeat: bool = True,
    ) -> list[types.ImageAnswer | ApiError]:
        """`images.upload`: add up to types.MAX_UPLOADS images to a label; return the answer to each, or its error.

        The options are those of `upload_image`. A file that cannot be read is the error of the call.
        """
        body = Multipart([("split", split)] if split else [], files, "images[]", on_sent)
        route = f"training-set/{segment(training_set_id)}/{segment(label_of(label))}/images"
        answer = self._transport.call(
            "POST",
            route,
            types.UploadedImages,
            multipart=body,
            repeatable=repeat,
            cancelled=body.delayed(cancelled) if cancelled is not None else None,
        )
        refused = {error.index: self._transport.error(error.status, error.message) for error in answer.errors}
        if len(refused) + len(answer.data) != len(files) or not refused.keys() <= set(range(len(files))):
            raise NotApiTorch("The service did not answer for each image that was sent.")
        added = iter(answer.data)
        return [refused[index] if index in refused else next(added) for index in range(len(files))]

    def archive(
        self, training_set_id: types.Id, image_ids: Sequence[str], *, cancelled: Callable[[], bool] | None = None
    ) -> dict[str, bytes]:
        """`images.archive`: return the bytes of many images by file name, without those that no longer exist.

        Ask for some MiB at a time: the answer is held in memory, and a service refuses too many at once.
        """
        import tarfile

        route = f"training-set/{segment(training_set_id)}/images/archive"
        packed = self._transport.file(
            route, limit=_LARGEST_ARCHIVE, json={"image_ids": list(image_ids)}, cancelled=cancelled
        )
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
                for entry in archive:
                    if entry.isreg() and (file := archive.extractfile(entry)) is not None:
                        found[entry.name] = file.read()
        except tarfile.TarError as error:
            damaged = NotApiTorch("The archive of images breaks off or is damaged.")
            damaged.truncated = True
            raise damaged from error
        return found

    def similar(
        self,
        training_set_id: types.Id | None,
        *,
        image_id: str = "",
        classification_id: str = "",
        image: bytes | None = None,
        image_url: str | None = None,
        limit: int = 100,
        cancelled: Callable[[], bool] | None = None,
    ) -> types.SimilarImages:
        """`similar`: return the training images most similar to one image, best first; the image itself is not among them.

        It is given as a training image, a classification's, bytes or an address. Of the training set (that of the
        training image, that of the classification's classifier), or with None of all.
        """
        if image_id or classification_id:
            kind, one = ("training-image", image_id) if image_id else ("classification", classification_id)
            parameters = query(limit=limit, everywhere="true" if training_set_id is None else None)
            route = f"{kind}/{segment(one)}/similar?{parameters}"
            return self._transport.call("GET", route, types.SimilarImages, cancelled=cancelled)
        fields = {"limit": limit} if training_set_id is None else {"limit": limit, "training_set_id": training_set_id}
        if image_url is not None:
            json = {"image_url": image_url, **fields}
            return self._transport.call("POST", "similar", types.SimilarImages, json=json, cancelled=cancelled)
        body = Multipart([(name, str(value)) for name, value in fields.items()], [SentFile(image or b"", "image")])
        return self._transport.call("POST", "similar", types.SimilarImages, multipart=body, cancelled=cancelled)

    def evidence(
        self,
        *,
        image_id: str = "",
        classification_id: str = "",
        label: str | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> types.Evidence:
        """`evidence`: return where in a training image, or a classified one, the evidence for a label lies; by default
        for the label that the classifier answers.
        """
        kind, one = ("training-image", image_id) if image_id else ("classification", classification_id)
        route = f"{kind}/{segment(one)}/evidence?{query(label=label)}".rstrip("?")
        return self._transport.call("GET", route, types.Evidence, cancelled=cancelled)

    def versions(self, slug: str) -> list[types.ClassifierVersion]:
        """`versions`: return the kept versions of a trained classifier, newest first."""
        return self._transport.call("GET", f"classifier/{segment(slug)}/versions", types.ClassifierVersions).data

    def make_current(self, slug: str, version: int, waiting: int | None = None) -> types.Classifier:
        """`versions`: make a kept version answer until the next retraining.

        `waiting`: the version that waits for the user's decision; by default none, which decides against one that did.
        """
        route = f"classifier/{segment(slug)}/current"
        json = {"version": version} if waiting is None else {"version": version, "waiting": waiting}
        return self._transport.call("POST", route, types.Classifier, json=json, repeatable=True)

    def changes(self, slug: str, from_version: int, to_version: int) -> list[types.ClassificationChange]:
        """`versions`: return the training images that two versions classify differently."""
        parameters = urlencode({"from": from_version, "to": to_version})
        route = f"classifier/{segment(slug)}/changes?{parameters}"
        return self._transport.call("GET", route, types.ClassificationChanges).data

    def encoders(self, *, cancelled: Callable[[], bool] | None = None) -> list[types.ListedEncoder]:
        """`encoders`: return the encoders that a training set can be learned with, the built-in one first."""
        return self._transport.call("GET", "encoders", types.Encoders, cancelled=cancelled).data

    def try_encoder(
        self, training_set_id: types.Id, encoder: str, *, cancelled: Callable[[], bool] | None = None
    ) -> list[types.EncoderTrial]:
        """`encoders`: return the figures on a training set of the built-in encoder, then of another; takes up to a minute."""
        route = f"training-set/{segment(training_set_id)}/encoder-trial?{query(encoder=encoder)}"
        return self._transport.call("GET", route, types.EncoderTrials, cancelled=cancelled).data

    def embeddings(
        self, training_set_id: types.Id, image_ids: Sequence[str], *, cancelled: Callable[[], bool] | None = None
    ) -> types.Embeddings:
        """`embeddings`: return those of types.MAX_EMBEDDINGS images at most that the training set's encoder has made."""
        route = f"training-set/{segment(training_set_id)}/images/embeddings"
        json = {"image_ids": list(image_ids)}
        return self._transport.call("POST", route, types.Embeddings, json=json, repeatable=True, cancelled=cancelled)

    def forecast(self, slug: str) -> types.Forecast:
        """`forecast`: return what more images of each label would bring, or that it is being estimated."""
        return self._transport.call("GET", f"classifier/{segment(slug)}/forecast", types.Forecast)

    def onnx(self, slug: str, *, cancelled: Callable[[], bool] | None = None) -> bytes:
        """`export.onnx`: return a trained classifier as an ONNX file, with labels and preprocessing in its metadata."""
        return self._transport.file(f"classifier/{segment(slug)}/onnx", limit=_LARGEST_MODEL, cancelled=cancelled)

    def feedback(self) -> list[types.FeedbackAnswer]:
        """`feedback.read`: return the feedback that was sent, with its outcome."""
        return self._transport.call("GET", "feedback", types.FeedbackList).data

    def _label(self, method: str, route: str, json: dict[str, object]) -> types.TrainingLabel:
        answer = self._transport.call(method, route, types.ChangedLabel, json=json)
        return types.TrainingLabel(label=answer.label, images=[], id=answer.id, count=answer.count)

    def _delete(self, route: str) -> None:
        self._transport.call("DELETE", route, dict[str, Any], missing={})
