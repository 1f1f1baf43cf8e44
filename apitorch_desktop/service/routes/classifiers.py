"""Classifiers and what they answer: listed, asked, corrected, taken back to an older version, exported."""

import base64
import binascii
from urllib.parse import quote

from msgspec import UNSET
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.onnx_export import OnnxExporter
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import LargeAnswer, Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.routes.dependencies import Dependencies

_ONNX_SIZE = 32 * 2**20
_ONE = "/api/classifier/{slug}"


class ClassifierRoutes:
    """Handlers on classifiers, classifications and feedback."""

    def __init__(self, context: Dependencies) -> None:
        self._answers = context.answers
        self._trainer = context.trainer
        self._exporter = OnnxExporter(context.store, context.trainer, context.answers)
        self._sets = context.store.training_sets
        self._pictures = context.pictures
        self._work = context.work

    def operations(self) -> list[Operation]:
        """The rows of the table."""
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
            ),
            Operation(
                "getClassifier",
                "GET",
                _ONE,
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
                _ONE + "/versions",
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
                _ONE + "/current",
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
                _ONE + "/changes",
                "The training images that two versions answer differently.",
                self.changes,
                types.ClassificationChanges,
                tag,
                query=schemas.VersionPair,
                extension="versions",
                errors=(404,),
            ),
            Operation(
                "exportClassifier",
                "GET",
                _ONE + "/onnx",
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
                loose=True,
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
                loose=True,
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

    async def list_all(self, call: Request) -> types.Classifiers:
        """`GET classifiers`."""
        return types.Classifiers(data=await self._work.store(self._answers.classifiers, call.owner))

    async def one(self, call: Request) -> types.Classifier:
        """`GET classifier/:slug`."""
        return await self._work.store(self._answers.classifier, call.owner, call.path["slug"])

    async def classify(self, call: Request) -> types.Classifications:
        """`POST classify`."""
        body: schemas.Classify = call.body
        slugs = [body.classifiers] if isinstance(body.classifiers, str) else body.classifiers
        if not 1 <= len(slugs) <= types.MAX_CLASSIFIERS:
            raise HttpError(400, f"Name 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(slugs)}.")
        shown = body.options.show_confidence_value if isinstance(body.options, schemas.ClassifyOptions) else False
        async with self._pictures.of(call, body.image_url) as picture:
            return await self._work.answer(
                self._answers.classify,
                call.owner,
                slugs,
                picture.data,
                picture.info,
                filename=picture.filename,
                show_confidence_value=shown,
            )

    async def versions(self, call: Request) -> types.ClassifierVersions:
        """`GET classifier/:slug/versions`."""
        set_id = await self._trained(call)
        return types.ClassifierVersions(data=await self._work.store(self._trainer.versions, set_id))

    async def make_current(self, call: Request) -> types.Classifier:
        """`POST classifier/:slug/current`."""
        body: schemas.CurrentVersion = call.body
        set_id = await self._trained(call)
        await self._work.store(self._trainer.make_current, set_id, body.version)
        return await self.one(call)

    async def changes(self, call: Request) -> types.ClassificationChanges:
        """`GET classifier/:slug/changes`."""
        query: schemas.VersionPair = call.query
        set_id = await self._trained(call)
        data = await self._work.answer(self._trainer.changes, set_id, query.from_, query.to)
        return types.ClassificationChanges(data=data)

    async def onnx(self, call: Request) -> LargeAnswer:
        """`GET classifier/:slug/onnx`."""
        slug = call.path["slug"]

        async def load() -> Response:
            data = await self._work.answer(self._exporter.onnx, call.owner, slug)
            name = quote(f"{slug}.onnx")
            headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
            return Response(data, media_type="application/octet-stream", headers=headers)

        return LargeAnswer(_ONNX_SIZE, load)

    async def correct(self, call: Request) -> types.FeedbackAnswer:
        """`POST feedback/classification`."""
        body: schemas.Correction = call.body
        if not isinstance(body.classification_id, str) or body.correct_label_id is UNSET:
            raise HttpError(400, "Send classification_id and correct_label_id, the label it should have been.")
        return await self._work.store(
            self._answers.feedback_classification, call.owner, body.classification_id, str(body.correct_label_id)
        )

    async def message(self, call: Request) -> types.FeedbackAnswer:
        """`POST feedback/freeform`."""
        body: schemas.FeedbackMessage = call.body
        if not isinstance(body.message, str):
            raise HttpError(400, "Send message, base64 of UTF-8.")
        return await self._work.store(self._answers.feedback_freeform, call.owner, _decoded(body.message))

    async def feedback(self, call: Request) -> types.FeedbackList:
        """`GET feedback`."""
        return types.FeedbackList(data=await self._work.store(self._answers.feedback, call.owner))

    async def _trained(self, call: Request) -> int:
        return (await self._work.store(self._sets.by_slug, call.owner, call.path["slug"])).id


def _decoded(message: str) -> str:
    # A form turns a + that was not percent-encoded into a space, and `base64` breaks its lines: neither is in base64
    coded = message.replace(" ", "+").replace("\r", "").replace("\n", "")
    try:
        text = base64.b64decode(coded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise HttpError(400, "The message is not base64 of UTF-8 text. Encode it, and send it again.") from None
    if not text.strip():
        raise HttpError(400, "The message is empty. Write something.")
    return text
