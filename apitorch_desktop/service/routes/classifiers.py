"""Handlers of classifiers, classifications and feedback, and of what explains an answer: similar images, evidence."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import quote

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.classification import OnnxExporter
from apitorch_desktop.service.classifiers.embeddings import SimilarityIndex
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.images import wire_image
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import ImageRow
from apitorch_desktop.vision.encoder import Encoder, EvidenceMapper, NoEvidence
from apitorch_desktop.vision.images import open_upright

_ONNX_SIZE = 32 * 2**20
"""Bytes of memory reserved for an exported classifier."""
_CLASSIFIER_PATH = "/api/classifier/{slug}"
_WIRE_SIZE = 160
"""Approximate bytes of an image in an answer without its record."""


class ClassifierRoutes:
    """Operations below `/api/classifier`, `/api/classifiers`, `/api/classify` and `/api/feedback`."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._classification = dependencies.classification
        self._trainer = dependencies.trainer
        self._exporter = OnnxExporter(dependencies.store, dependencies.trainer, dependencies.classification)
        self._sets = dependencies.store.training_sets
        self._image_inputs = dependencies.image_inputs
        self._workers = dependencies.workers

    def operations(self) -> list[Operation]:
        """Return the rows of the operation table."""
        tag = "Classifiers"
        return [
            Operation(
                "listClassifiers",
                "GET",
                "/api/classifiers",
                "List the classifiers that may be used to classify an image.",
                self.list_all,
                types.Classifiers,
                tag,
            ),
            Operation(
                "classifyImage",
                "POST",
                "/api/classify",
                "What one to ten classifiers say about an image.",
                self.classify,
                types.Classifications,
                tag,
                body=schemas.Classify,
                by_url=schemas.ClassifyByUrl,
                errors=(404, 409),
                abandonable=True,
                classifies=True,
            ),
            Operation(
                "getClassifier",
                "GET",
                _CLASSIFIER_PATH,
                "One classifier with its labels, its state, and its cross-validated figures.",
                self.one,
                types.Classifier,
                tag,
                extension="training",
                errors=(404,),
            ),
            Operation(
                "listVersions",
                "GET",
                _CLASSIFIER_PATH + "/versions",
                "The versions of a trained classifier that are kept, newest first.",
                self.versions,
                types.ClassifierVersions,
                tag,
                extension="versions",
                errors=(404,),
            ),
            Operation(
                "setCurrentVersion",
                "POST",
                _CLASSIFIER_PATH + "/current",
                "Let a kept version answer until the next retraining.",
                self.make_current,
                types.Classifier,
                tag,
                body=schemas.CurrentVersion,
                extension="versions",
                errors=(404,),
            ),
            Operation(
                "listChanges",
                "GET",
                _CLASSIFIER_PATH + "/changes",
                "The training images that two versions answer differently.",
                self.changes,
                types.ClassificationChanges,
                tag,
                query=schemas.VersionPair,
                extension="versions",
                errors=(404,),
            ),
            Operation(
                "getForecast",
                "GET",
                _CLASSIFIER_PATH + "/forecast",
                "An estimate of what 50 more photos of each label would bring; made in the background when first asked for.",
                self.forecast,
                types.Forecast,
                tag,
                extension="forecast",
                errors=(404,),
            ),
            Operation(
                "exportClassifier",
                "GET",
                _CLASSIFIER_PATH + "/onnx",
                "A trained classifier as one ONNX file, with its labels and how to prepare an image in the metadata.",
                self.onnx,
                "application/octet-stream",
                tag,
                extension="export.onnx",
                errors=(404, 409),
            ),
            Operation(
                "correctClassification",
                "POST",
                "/api/feedback/classification",
                "Correct a classification: its image joins the training images of the label it should have had.",
                self.correct,
                types.FeedbackAnswer,
                "Feedback",
                body=schemas.Correction,
                body_in_query=True,
                errors=(404, 409),
            ),
            Operation(
                "sendMessage",
                "POST",
                "/api/feedback/freeform",
                "Send a message, base64 of UTF-8.",
                self.message,
                types.FeedbackAnswer,
                "Feedback",
                body=schemas.FeedbackMessage,
                body_in_query=True,
            ),
            Operation(
                "listFeedback",
                "GET",
                "/api/feedback",
                "What was sent, newest first, with what came of it.",
                self.feedback,
                types.FeedbackList,
                "Feedback",
                extension="feedback.read",
            ),
        ]

    async def list_all(self, request: Request) -> types.Classifiers:
        """`GET classifiers`."""
        return types.Classifiers(data=await self._workers.run_storage(self._classification.classifiers, request.owner))

    async def one(self, request: Request) -> types.Classifier:
        """`GET classifier/:slug`."""
        return await self._workers.run_storage(self._classification.classifier, request.owner, request.path["slug"])

    async def classify(self, request: Request) -> types.Classifications:
        """`POST classify`."""
        body: schemas.Classify = request.body
        slugs = [body.classifiers] if isinstance(body.classifiers, str) else body.classifiers
        if not 1 <= len(slugs) <= types.MAX_CLASSIFIERS:
            raise HttpError(400, f"Name 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(slugs)}.")
        shown = body.options.show_confidence_value if isinstance(body.options, schemas.ClassifyOptions) else False
        async with self._image_inputs.read(request, body.image_url) as image:
            return await self._workers.run_inference(
                self._classification.classify,
                request.owner,
                slugs,
                image.data,
                image.info,
                filename=image.filename,
                show_confidence_value=shown,
            )

    async def versions(self, request: Request) -> types.ClassifierVersions:
        """`GET classifier/:slug/versions`."""
        set_id = await self._training_set_id(request)
        return types.ClassifierVersions(data=await self._workers.run_storage(self._trainer.versions, set_id))

    async def make_current(self, request: Request) -> types.Classifier:
        """`POST classifier/:slug/current`."""
        body: schemas.CurrentVersion = request.body
        set_id = await self._training_set_id(request)
        waiting = body.waiting or None
        await self._workers.run_storage(self._trainer.set_current, set_id, body.version, waiting)
        return await self.one(request)

    async def changes(self, request: Request) -> types.ClassificationChanges:
        """`GET classifier/:slug/changes`."""
        query: schemas.VersionPair = request.query
        set_id = await self._training_set_id(request)
        data = await self._workers.run_inference(self._trainer.compare_versions, set_id, query.from_, query.to)
        return types.ClassificationChanges(data=data)

    async def forecast(self, request: Request) -> types.Forecast:
        """`GET classifier/:slug/forecast`."""
        set_id = await self._training_set_id(request)
        return await self._workers.run_storage(self._trainer.forecast, set_id)

    async def onnx(self, request: Request) -> LargeResponse:
        """`GET classifier/:slug/onnx`."""
        slug = request.path["slug"]

        async def load() -> Response:
            data = await self._workers.run_inference(self._exporter.onnx, request.owner, slug)
            name = quote(f"{slug}.onnx")
            headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
            return Response(data, media_type="application/octet-stream", headers=headers)

        return LargeResponse(_ONNX_SIZE, load)

    async def correct(self, request: Request) -> types.FeedbackAnswer:
        """`POST feedback/classification`."""
        body: schemas.Correction = request.body
        if not isinstance(body.classification_id, str) or body.correct_label_id is UNSET:
            raise HttpError(400, "Send classification_id and correct_label_id, the label it should have been.")
        return await self._workers.run_storage(
            self._classification.feedback_classification,
            request.owner,
            body.classification_id,
            str(body.correct_label_id),
        )

    async def message(self, request: Request) -> types.FeedbackAnswer:
        """`POST feedback/freeform`."""
        body: schemas.FeedbackMessage = request.body
        if not isinstance(body.message, str):
            raise HttpError(400, "Send message, base64 of UTF-8.")
        return await self._workers.run_storage(
            self._classification.feedback_freeform, request.owner, _decoded(body.message)
        )

    async def feedback(self, request: Request) -> types.FeedbackList:
        """`GET feedback`."""
        return types.FeedbackList(data=await self._workers.run_storage(self._classification.feedback, request.owner))

    async def _training_set_id(self, request: Request) -> int:
        """Return the id of the training set of the classifier in the path. Raises RecordNotFound."""
        return (await self._workers.run_storage(self._sets.by_slug, request.owner, request.path["slug"])).id


def _decoded(message: str) -> str:
    # An unencoded + in a form becomes a space, and `base64` wraps its lines: neither is part of the alphabet
    coded = message.replace(" ", "+").replace("\r", "").replace("\n", "")
    try:
        text = base64.b64decode(coded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise HttpError(400, "The message is not base64 of UTF-8 text. Encode it, and send it again.") from None
    if not text.strip():
        raise HttpError(400, "The message is empty. Write something.")
    return text


class ExplanationRoutes:
    """Searches for similar images by a training image, a classified image and any image; evidence in the first two."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._classification = dependencies.classification
        self._image_inputs = dependencies.image_inputs
        self._workers = dependencies.workers
        self._trainer = dependencies.trainer
        self._index = SimilarityIndex(dependencies.store)
        self._mapper: EvidenceMapper | None = None

    def operations(self) -> list[Operation]:
        """Return the rows of the operation table."""
        return [
            Operation(
                "listSimilarToImage",
                "GET",
                "/api/training-image/{image_id}/similar",
                "The training images most similar to one, of its training set or of all.",
                self.to_training_image,
                types.SimilarImages,
                "Training images",
                query=schemas.SimilarQuery,
                extension="similar",
                errors=(404,),
            ),
            Operation(
                "listSimilarToClassified",
                "GET",
                "/api/classification/{classification_id}/similar",
                "The training images of a trained classifier most similar to an image that it has classified.",
                self.to_classified,
                types.SimilarImages,
                "Classifiers",
                query=schemas.SimilarQuery,
                extension="similar",
                errors=(404,),
            ),
            Operation(
                "listSimilar",
                "POST",
                "/api/similar",
                "The training images most similar to any image, of one training set or of all.",
                self.to_any,
                types.SimilarImages,
                "Training images",
                body=schemas.SimilarSearch,
                by_url=schemas.SimilarSearchByUrl,
                extension="similar",
                errors=(404,),
                abandonable=True,
            ),
            Operation(
                "showEvidenceInImage",
                "GET",
                "/api/training-image/{image_id}/evidence",
                "Where in a training image the evidence for a label of its classifier lies.",
                self.evidence_in_image,
                types.Evidence,
                "Training images",
                query=schemas.EvidenceQuery,
                extension="evidence",
                errors=(404, 409),
            ),
            Operation(
                "showEvidenceInClassified",
                "GET",
                "/api/classification/{classification_id}/evidence",
                "Where in a classified image the evidence for a label of its trained classifier lies.",
                self.evidence_in_classified,
                types.Evidence,
                "Classifiers",
                query=schemas.EvidenceQuery,
                extension="evidence",
                errors=(404, 409),
            ),
        ]

    async def to_training_image(self, request: Request) -> LargeResponse:
        """`GET training-image/:image_id/similar`."""
        query: schemas.SimilarQuery = request.query
        row = await self._workers.run_storage(self._store.images.get, request.owner, request.path["image_id"])
        set_ids = await self._set_ids(request.owner, None if query.everywhere else row.training_set_id)
        return self._answer(
            request, set_ids, query.limit, row.sha256, lambda: self._store.read(row.sha256), row.wire_id
        )

    async def to_classified(self, request: Request) -> LargeResponse:
        """`GET classification/:classification_id/similar`."""
        query: schemas.SimilarQuery = request.query
        row = await self._workers.run_storage(
            self._store.classifications.get, request.owner, request.path["classification_id"]
        )
        if row.training_set_id is None and not query.everywhere:
            raise RecordNotFound(f"“{row.classifier}” has no training images of its own.")
        set_ids = await self._set_ids(request.owner, None if query.everywhere else row.training_set_id)
        return self._answer(request, set_ids, query.limit, row.sha256, lambda: self._store.read(row.sha256))

    async def to_any(self, request: Request) -> Response:
        """`POST similar`."""
        body: schemas.SimilarSearch = request.body
        set_ids = await self._set_ids(
            request.owner, None if isinstance(body.training_set_id, UnsetType) else body.training_set_id
        )
        async with self._image_inputs.read(request, body.image_url) as image:
            data = image.data
            sha256 = hashlib.sha256(data).hexdigest()
            return await self._answer(request, set_ids, body.limit, sha256, lambda: data).load()

    async def evidence_in_image(self, request: Request) -> types.Evidence:
        """`GET training-image/:image_id/evidence`."""
        row = await self._workers.run_storage(self._store.images.get, request.owner, request.path["image_id"])
        return await self._workers.run_inference(self._evidence, row.training_set_id, row.sha256, request.query.label)

    async def evidence_in_classified(self, request: Request) -> types.Evidence:
        """`GET classification/:classification_id/evidence`."""
        row = await self._workers.run_storage(
            self._store.classifications.get, request.owner, request.path["classification_id"]
        )
        if row.training_set_id is None:
            raise RecordNotFound(f"“{row.classifier}” was not trained here: it cannot show what its answers rest on.")
        set_id = (await self._workers.run_storage(self._store.training_sets.get, request.owner, row.training_set_id)).id
        return await self._workers.run_inference(self._evidence, set_id, row.sha256, request.query.label)

    def _evidence(self, set_id: int, sha256: str, label: str | UnsetType) -> types.Evidence:
        current = self._trainer.current_head(set_id)
        if current is None:
            raise RecordConflict("There is no classifier yet.")
        encoder = self._classification.encoder_named(current.encoder)
        if encoder is None:
            raise RecordConflict("The encoder that the classifier was trained with is not there any more.")
        mapper = self._mapper
        if mapper is None or mapper.encoder is not encoder:
            mapper = self._mapper = EvidenceMapper(encoder)
        image = open_upright(self._store.read(sha256), encoder.shorter_side)
        try:
            found = mapper.map(image, current.head, None if isinstance(label, UnsetType) else label)
        except NoEvidence as error:
            raise RecordConflict(str(error)) from error
        largest = float(abs(found.values).max()) or 1.0
        return types.Evidence(
            label=found.label,
            version=current.version,
            rows=len(found.values),
            columns=len(found.values[0]),
            values=[round(value / largest, 3) for value in found.values.reshape(-1).tolist()],
            box=[round(side, 4) for side in found.box],
            share=round(found.share, 3),
        )

    async def _set_ids(self, owner: int, set_id: int | None) -> list[int]:
        """Return the training set if it is the owner's, or all of the owner's. Raises RecordNotFound."""
        if set_id is not None:
            return [(await self._workers.run_storage(self._store.training_sets.get, owner, set_id)).id]
        return [row.id for row in await self._workers.run_storage(self._store.training_sets.all, owner)]

    def _answer(
        self,
        request: Request,
        set_ids: Sequence[int],
        limit: int,
        sha256: str,
        read: Callable[[], bytes],
        without: str = "",
    ) -> LargeResponse:
        def load() -> Response:
            encoder = self._encoder(set_ids)
            embedding = self._embedding(encoder, sha256, read)
            data, compared = self._index.search(set_ids, encoder.name, embedding, limit, without=without)
            if limit <= types.MAX_SIMILAR_DETAILS and data:
                self._add_records(request, data)
            answer = types.SimilarImages(data=data, compared=compared)
            return Response(types.encode(answer), media_type="application/json")

        return LargeResponse(_WIRE_SIZE * limit, lambda: self._workers.run_inference(load))

    def _encoder(self, set_ids: Sequence[int]) -> Encoder:
        """Return the encoder of the training sets; the built-in one where they have several, or it is not there."""
        rows = [self._store.training_sets.find(set_id) for set_id in set_ids]
        names = {row.encoder for row in rows if row is not None}
        found = self._classification.encoder_named(names.pop()) if len(names) == 1 else None
        return found or self._classification.encoder()

    def _embedding(self, encoder: Encoder, sha256: str, read: Callable[[], bytes]) -> NDArray[np.float32]:
        """Return the stored embedding of an image, or make it."""
        stored = self._store.models.embeddings(encoder.name, [sha256]).get(sha256)
        if stored is not None:
            return np.frombuffer(stored.vector, "<f4")
        made: NDArray[np.float32] = encoder.encode([open_upright(read(), encoder.shorter_side)])[0]
        return made

    def _add_records(self, request: Request, data: list[types.SimilarImage]) -> None:
        by_set: dict[int, list[str]] = {}
        for each in data:
            by_set.setdefault(int(each.training_set_id), []).append(each.image_id)
        rows: dict[str, ImageRow] = {}
        for set_id, image_ids in by_set.items():
            with suppress(RecordNotFound):  # all of them deleted meanwhile
                rows |= {row.wire_id: row for row in self._store.images.some(request.owner, set_id, image_ids)}
        for each in data:
            if (row := rows.get(each.image_id)) is not None:
                each.image = wire_image(row, request.owner, request.links)
