"""Handlers of classifiers, classifications and feedback, and of what explains an answer: similar images, evidence."""

import asyncio
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
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation, OperationGroup
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.listing import wire_image
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import ImageRow
from apitorch_desktop.vision.encoder import Encoder, EvidenceMapper, NoEvidence
from apitorch_desktop.vision.images import open_upright

_ONNX_SIZE = 32 * 2**20
"""Bytes of memory reserved for an exported classifier."""
_CLASSIFIER_PATH = "/api/classifier/{slug}"
_WIRE_SIZE = 160
"""Approximate bytes of an image in an answer without its record."""
_VECTOR_SIZE = 32 * 2**10
"""Bytes that an embedding of the built-in encoder takes while it is read and answered."""
_HALF = np.finfo(np.float16)


class ClassifierRoutes(OperationGroup):
    """Operations below `/api/classifier`, `/api/classifiers`, `/api/classify` and `/api/feedback`."""

    tag = "Classifiers"

    def __init__(self, dependencies: Dependencies) -> None:
        self._classification = dependencies.classification
        self._trainer = dependencies.trainer
        self._exporter = OnnxExporter(dependencies.store, dependencies.trainer, dependencies.classification)
        self._sets = dependencies.store.training_sets
        self._image_inputs = dependencies.image_inputs
        self._workers = dependencies.workers

    @Operation("GET", "/api/classifiers", types.Classifiers)
    async def list_classifiers(self, request: Request) -> types.Classifiers:
        """List the classifiers that may be used to classify an image."""
        return types.Classifiers(data=await self._workers.run_storage(self._classification.classifiers, request.owner))

    @Operation("GET", _CLASSIFIER_PATH, types.Classifier, extension="training", errors=(404,))
    async def get_classifier(self, request: Request) -> types.Classifier:
        """Return one classifier with its labels, its state, and its cross-validated figures."""
        return await self._workers.run_storage(self._classification.classifier, request.owner, request.path["slug"])

    @Operation(
        "POST",
        "/api/classify",
        types.Classifications,
        body=schemas.Classify,
        by_url=schemas.ClassifyByUrl,
        errors=(404, 409),
        abandonable=True,
        classifies=True,
    )
    async def classify_image(self, request: Request) -> types.Classifications:
        """Ask one to ten classifiers about an image."""
        body: schemas.Classify = request.body
        slugs = [body.classifiers] if isinstance(body.classifiers, str) else body.classifiers
        if not 1 <= len(slugs) <= types.MAX_CLASSIFIERS:
            raise HttpError(400, f"Name 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(slugs)}.")
        options = body.options if isinstance(body.options, schemas.ClassifyOptions) else schemas.ClassifyOptions()
        async with self._image_inputs.receive(request, body.image_url) as image:
            answered = await self._workers.run_inference(
                self._classification.classify,
                request.owner,
                slugs,
                image.data,
                filename=image.filename,
                show_confidence_value=options.show_confidence_value,
                keep=options.keep,
            )
            return await asyncio.shield(asyncio.wrap_future(answered))  # what was answered is stored, whoever waits

    @Operation("GET", _CLASSIFIER_PATH + "/versions", types.ClassifierVersions, extension="versions", errors=(404,))
    async def list_versions(self, request: Request) -> types.ClassifierVersions:
        """List the versions of a trained classifier that are kept, newest first."""
        set_id = await self._training_set_id(request)
        return types.ClassifierVersions(data=await self._workers.run_storage(self._trainer.versions, set_id))

    @Operation(
        "POST",
        _CLASSIFIER_PATH + "/current",
        types.Classifier,
        body=schemas.CurrentVersion,
        extension="versions",
        errors=(404,),
    )
    async def set_current_version(self, request: Request) -> types.Classifier:
        """Let a kept version answer until the next retraining."""
        body: schemas.CurrentVersion = request.body
        set_id = await self._training_set_id(request)
        waiting = body.waiting or None
        await self._workers.run_storage(self._trainer.set_current, set_id, body.version, waiting)
        return await self.get_classifier(request)

    @Operation(
        "GET",
        _CLASSIFIER_PATH + "/changes",
        types.ClassificationChanges,
        query=schemas.VersionPair,
        extension="versions",
        errors=(404,),
    )
    async def list_changes(self, request: Request) -> types.ClassificationChanges:
        """List the training images that two versions answer differently."""
        query: schemas.VersionPair = request.query
        set_id = await self._training_set_id(request)
        data = await self._workers.run_inference(self._trainer.compare_versions, set_id, query.from_, query.to)
        return types.ClassificationChanges(data=data)

    @Operation("GET", _CLASSIFIER_PATH + "/forecast", types.Forecast, extension="forecast", errors=(404,))
    async def get_forecast(self, request: Request) -> types.Forecast:
        """Estimate what 50 more photos of each label would bring; made in the background when first asked for."""
        set_id = await self._training_set_id(request)
        return await self._workers.run_storage(self._trainer.forecast, set_id)

    @Operation(
        "GET", _CLASSIFIER_PATH + "/onnx", "application/octet-stream", extension="export.onnx", errors=(404, 409)
    )
    async def export_classifier(self, request: Request) -> LargeResponse:
        """Return a trained classifier as one ONNX file, with its labels and how to prepare an image in the metadata."""
        slug = request.path["slug"]

        async def load() -> Response:
            data = await self._workers.run_inference(self._exporter.onnx, request.owner, slug)
            name = quote(f"{slug}.onnx")
            headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
            return Response(data, media_type="application/octet-stream", headers=headers)

        return LargeResponse(_ONNX_SIZE, load)

    @Operation(
        "POST",
        "/api/feedback/classification",
        types.FeedbackAnswer,
        tag="Feedback",
        body=schemas.Correction,
        body_in_query=True,
        errors=(404, 409),
    )
    async def correct_classification(self, request: Request) -> types.FeedbackAnswer:
        """Correct a classification: its image joins the training images of the label it should have had."""
        body: schemas.Correction = request.body
        if not isinstance(body.classification_id, str) or body.correct_label_id is UNSET:
            raise HttpError(400, "Send classification_id and correct_label_id, the label it should have been.")
        return await self._workers.run_storage(
            self._classification.feedback_classification,
            request.owner,
            body.classification_id,
            str(body.correct_label_id),
        )

    @Operation(
        "POST",
        "/api/feedback/freeform",
        types.FeedbackAnswer,
        tag="Feedback",
        body=schemas.FeedbackMessage,
        body_in_query=True,
    )
    async def send_message(self, request: Request) -> types.FeedbackAnswer:
        """Send a message, base64 of UTF-8."""
        body: schemas.FeedbackMessage = request.body
        if not isinstance(body.message, str):
            raise HttpError(400, "Send message, base64 of UTF-8.")
        return await self._workers.run_storage(
            self._classification.feedback_freeform, request.owner, _decoded(body.message)
        )

    @Operation("GET", "/api/feedback", types.FeedbackList, tag="Feedback", extension="feedback.read")
    async def list_feedback(self, request: Request) -> types.FeedbackList:
        """List what was sent, newest first, with what came of it."""
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


class ExplanationRoutes(OperationGroup):
    """Searches for similar images by a training image, a classified image and any image; evidence in the first two."""

    tag = "Training images"

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._classification = dependencies.classification
        self._image_inputs = dependencies.image_inputs
        self._workers = dependencies.workers
        self._trainer = dependencies.trainer
        self._index = dependencies.similarity
        self._mapper: EvidenceMapper | None = None

    @Operation(
        "GET",
        "/api/training-image/{image_id}/similar",
        types.SimilarImages,
        query=schemas.SimilarQuery,
        extension="similar",
        errors=(404,),
    )
    async def list_similar_to_image(self, request: Request) -> LargeResponse:
        """List the training images most similar to one, of its training set or of all."""
        query: schemas.SimilarQuery = request.query
        row = await self._workers.run_storage(self._store.images.get, request.owner, request.path["image_id"])
        set_ids = await self._set_ids(request.owner, None if query.everywhere else row.training_set_id)
        return self._answer(
            request, set_ids, query.limit, row.sha256, lambda: self._store.read(row.sha256), row.wire_id
        )

    @Operation(
        "GET",
        "/api/classification/{classification_id}/similar",
        types.SimilarImages,
        tag="Classifiers",
        query=schemas.SimilarQuery,
        extension="similar",
        errors=(404,),
    )
    async def list_similar_to_classified(self, request: Request) -> LargeResponse:
        """List the training images of a trained classifier most similar to an image that it has classified."""
        query: schemas.SimilarQuery = request.query
        row = await self._workers.run_storage(
            self._store.classifications.get, request.owner, request.path["classification_id"]
        )
        if row.training_set_id is None and not query.everywhere:
            raise RecordNotFound(f"“{row.classifier}” has no training images of its own.")
        set_ids = await self._set_ids(request.owner, None if query.everywhere else row.training_set_id)
        return self._answer(request, set_ids, query.limit, row.sha256, lambda: self._store.read(row.sha256))

    @Operation(
        "POST",
        "/api/similar",
        types.SimilarImages,
        body=schemas.SimilarSearch,
        by_url=schemas.SimilarSearchByUrl,
        extension="similar",
        errors=(404,),
        abandonable=True,
    )
    async def list_similar(self, request: Request) -> Response:
        """List the training images most similar to any image, of one training set or of all."""
        body: schemas.SimilarSearch = request.body
        set_ids = await self._set_ids(
            request.owner, None if isinstance(body.training_set_id, UnsetType) else body.training_set_id
        )
        async with self._image_inputs.read(request, body.image_url) as image:
            data = image.data
            sha256 = hashlib.sha256(data).hexdigest()
            return await self._answer(request, set_ids, body.limit, sha256, lambda: data).load()

    @Operation(
        "GET",
        "/api/training-image/{image_id}/evidence",
        types.Evidence,
        query=schemas.EvidenceQuery,
        extension="evidence",
        errors=(404, 409),
    )
    async def show_evidence_in_image(self, request: Request) -> types.Evidence:
        """Return where in a training image the evidence for a label of its classifier lies."""
        row = await self._workers.run_storage(self._store.images.get, request.owner, request.path["image_id"])
        return await self._workers.run_inference(self._evidence, row.training_set_id, row.sha256, request.query.label)

    @Operation(
        "GET",
        "/api/classification/{classification_id}/evidence",
        types.Evidence,
        tag="Classifiers",
        query=schemas.EvidenceQuery,
        extension="evidence",
        errors=(404, 409),
    )
    async def show_evidence_in_classified(self, request: Request) -> types.Evidence:
        """Return where in a classified image the evidence for a label of its trained classifier lies."""
        row = await self._workers.run_storage(
            self._store.classifications.get, request.owner, request.path["classification_id"]
        )
        if row.training_set_id is None:
            raise RecordNotFound(f"“{row.classifier}” was not trained here: it cannot show what its answers rest on.")
        set_id = (await self._workers.run_storage(self._store.training_sets.get, request.owner, row.training_set_id)).id
        return await self._workers.run_inference(self._evidence, set_id, row.sha256, request.query.label)

    @Operation(
        "POST",
        "/api/training-set/{id}/images/embeddings",
        types.Embeddings,
        body=schemas.ImageSelection,
        extension="embeddings",
        errors=(404,),
    )
    async def list_embeddings(self, request: Request) -> LargeResponse:
        """Return what the training set's encoder has made of many images. Those not encoded yet are left out."""
        body: schemas.ImageSelection = request.body
        if len(body.image_ids) > types.MAX_EMBEDDINGS:
            raise HttpError(400, f"Ask for at most {types.MAX_EMBEDDINGS} images at once.")
        set_id = request.id_parameter("id", "training set")
        rows = await self._workers.run_storage(self._store.images.some, request.owner, set_id, body.image_ids)

        def load() -> Response:
            training_set = self._store.training_sets.get(request.owner, set_id)
            encoder = training_set.encoder or self._classification.encoder().name
            stored = self._store.models.embeddings(encoder, {row.sha256 for row in rows})
            data = [
                types.ImageEmbedding(image_id=row.wire_id, vector=_halved(stored[row.sha256].vector))
                for row in rows
                if row.sha256 in stored
            ]
            answer = types.Embeddings(encoder=encoder, data=data)
            return Response(types.encode(answer), media_type="application/json")

        return LargeResponse(_VECTOR_SIZE * len(rows), lambda: self._workers.run_storage(load))

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
            data: list[types.SimilarImage] = []
            compared = 0
            for encoder, ids in self._by_encoder(set_ids):
                embedding = self._embedding(encoder, sha256, read)
                some, count = self._index.search(ids, encoder.name, embedding, limit, without=without)
                data, compared = data + some, compared + count
            if len(set_ids) > 1:
                data = sorted(data, key=lambda image: -image.similarity)[:limit]
            if limit <= types.MAX_SIMILAR_DETAILS and data:
                self._add_records(request, data)
            answer = types.SimilarImages(data=data, compared=compared)
            return Response(types.encode(answer), media_type="application/json")

        return LargeResponse(_WIRE_SIZE * limit, lambda: self._workers.run_inference(load))

    def _by_encoder(self, set_ids: Sequence[int]) -> "list[tuple[Encoder, list[int]]]":
        """Return the training sets by their encoder, in place of one that is not there the built-in one."""
        found: dict[str, tuple[Encoder, list[int]]] = {}
        for set_id in set_ids:
            if row := self._store.training_sets.find(set_id):
                encoder = self._classification.encoder_named(row.encoder) or self._classification.encoder()
                found.setdefault(encoder.name, (encoder, []))[1].append(set_id)
        return list(found.values())

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
        damaged = self._store.damaged()
        for each in data:
            if (row := rows.get(each.image_id)) is not None:
                each.image = wire_image(row, request.owner, request.links, damaged)


def _halved(vector: bytes) -> bytes:
    """Return a stored embedding as float16; numbers beyond its range become the largest there are."""
    halved: NDArray[np.float16] = np.clip(np.frombuffer(vector, "<f4"), _HALF.min, _HALF.max).astype("<f2")
    return halved.tobytes()
