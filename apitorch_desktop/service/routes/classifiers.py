"""Handlers of classifiers, classifications and feedback."""

import base64
import binascii
from urllib.parse import quote

from msgspec import UNSET
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.classification import OnnxExporter
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.routes.dependencies import Dependencies

_ONNX_SIZE = 32 * 2**20
"""Bytes of memory reserved for an exported classifier."""
_CLASSIFIER_PATH = "/api/classifier/{slug}"


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
