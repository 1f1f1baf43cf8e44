"""Handlers of training sets and labels."""

from msgspec import UNSET, UnsetType

from apitorch_desktop.api import types
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.http.signed_urls import SignedUrls
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.records import LabelRow, TrainingSetRow

_SET = "/api/training-set/{id}"
_LABELS = _SET + "/labels"
_LABEL = _LABELS + "/{label}"


class TrainingSetRoutes:
    """Handlers of training sets and labels."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._sets = dependencies.store.training_sets
        self._labels = dependencies.store.labels
        self._workers = dependencies.workers
        self._trainer = dependencies.trainer

    def operations(self) -> list[Operation]:
        """Return the rows of the operation table."""
        one, label, tag = types.TrainingSet, types.ChangedLabel, "Training sets"
        return [
            Operation(
                "listTrainingSets",
                "GET",
                "/api/training-sets",
                "List the training sets of this key.",
                self.list_all,
                types.TrainingSets,
                tag,
            ),
            Operation(
                "createTrainingSet",
                "POST",
                "/api/training-sets",
                "Make a new, empty training set. Names may repeat; the slug tells them apart.",
                self.create,
                one,
                tag,
                body=schemas.NewTrainingSet,
                extension="training-sets",
            ),
            Operation(
                "updateTrainingSet",
                "PATCH",
                _SET,
                "Change the name, the description, or the encoder that it is learned with. The slug goes with the name.",
                self.update,
                one,
                tag,
                body=schemas.TrainingSetChange,
                extension="training-sets",
                errors=(404,),
            ),
            Operation(
                "listEncoders",
                "GET",
                "/api/encoders",
                "List the encoders that a training set can be learned with, and the files that cannot be used, with the reason.",
                self.encoders,
                types.Encoders,
                tag,
                extension="encoders",
            ),
            Operation(
                "tryEncoder",
                "GET",
                _SET + "/encoder-trial",
                "Compare cost and accuracy of an encoder with the built-in one on a sample. Takes up to a minute.",
                self.try_encoder,
                types.EncoderTrials,
                tag,
                query=schemas.EncoderChoice,
                extension="encoders",
                errors=(404, 409),
            ),
            Operation(
                "deleteTrainingSet",
                "DELETE",
                _SET,
                "Delete a training set with its labels, its images and its classifier.",
                self.delete,
                one,
                tag,
                extension="training-sets",
                errors=(404, 507),
            ),
            Operation(
                "listLabels",
                "GET",
                _LABELS,
                "List the labels with their ids and the images of each.",
                self.labels,
                types.LabelCounts,
                tag,
                extension="paging",
                errors=(404,),
            ),
            Operation(
                "createLabel",
                "POST",
                _LABELS,
                "Make a label without images. An upload to a new label makes it as well.",
                self.create_label,
                label,
                tag,
                body=schemas.NewLabel,
                extension="labels",
                errors=(404, 409),
            ),
            Operation(
                "renameLabel",
                "PATCH",
                _LABEL,
                "Rename a label (given by name or id); with `merge` into one that exists, which then takes the images.",
                self.rename_label,
                label,
                tag,
                body=schemas.LabelChange,
                extension="labels",
                errors=(404, 409),
            ),
            Operation(
                "deleteLabel",
                "DELETE",
                _LABEL,
                "Delete a label with its images.",
                self.delete_label,
                label,
                tag,
                extension="labels",
                errors=(404, 507),
            ),
        ]

    async def list_all(self, request: Request) -> types.TrainingSets:
        """`GET training-sets`."""
        rows = await self._workers.run_storage(self._sets.all, request.owner)
        return types.TrainingSets(data=[_wire(row, request.links) for row in rows])

    async def create(self, request: Request) -> types.TrainingSet:
        """`POST training-sets`."""
        body: schemas.NewTrainingSet = request.body
        row = await self._workers.run_storage(self._sets.create, request.owner, body.name, body.description or "")
        return _wire(row, request.links, f"Training set “{row.name}” created.")

    async def update(self, request: Request) -> types.TrainingSet:
        """`PATCH training-set/:id`."""
        body: schemas.TrainingSetChange = request.body
        name = None if isinstance(body.name, UnsetType) else body.name
        description = None if isinstance(body.description, UnsetType) else body.description
        encoder = None if isinstance(body.encoder, UnsetType) else body.encoder
        if name is None and description is None and encoder is None:
            raise HttpError(400, "There is nothing to change. Send a name, a description or an encoder.")
        if encoder:
            await self._workers.run_inference(self._trainer.check_encoder, encoder)
        row = await self._workers.run_storage(
            self._sets.update,
            request.owner,
            request.id_parameter("id", "training set"),
            name=name,
            description=description,
            encoder=encoder,
        )
        if encoder is not None:
            self._trainer.notify_changed(row.id)
        return _wire(row, request.links, "Training set changed.")

    async def encoders(self, _request: Request) -> types.Encoders:
        """`GET encoders`."""
        return types.Encoders(data=await self._workers.run_inference(self._trainer.list_encoders))

    async def try_encoder(self, request: Request) -> types.EncoderTrials:
        """`GET training-set/:id/encoder-trial`."""
        query: schemas.EncoderChoice = request.query
        row = await self._workers.run_storage(self._sets.get, request.owner, request.id_parameter("id", "training set"))
        await self._workers.run_inference(self._trainer.check_encoder, query.encoder)
        return types.EncoderTrials(
            data=await self._workers.run_inference(self._trainer.try_encoder, row.id, query.encoder)
        )

    async def delete(self, request: Request) -> types.TrainingSet:
        """`DELETE training-set/:id`."""
        row = await self._workers.run_storage(
            self._sets.delete, request.owner, request.id_parameter("id", "training set")
        )
        return _wire(row, request.links, f"Training set “{row.name}” deleted.")

    async def labels(self, request: Request) -> types.LabelCounts:
        """`GET training-set/:id/labels`."""
        set_id = request.id_parameter("id", "training set")
        rows = await self._workers.run_storage(self._labels.all, request.owner, set_id)
        data = [types.LabelCount(id=row.id, label=row.name, count=row.count) for row in rows]
        return types.LabelCounts(training_set_id=types.Id(set_id), data=data)

    async def create_label(self, request: Request) -> types.ChangedLabel:
        """`POST training-set/:id/labels`."""
        body: schemas.NewLabel = request.body
        row = await self._workers.run_storage(
            self._labels.create, request.owner, request.id_parameter("id", "training set"), body.label
        )
        return _label(row, f"Label “{row.name}” created.")

    async def rename_label(self, request: Request) -> types.ChangedLabel:
        """`PATCH training-set/:id/labels/:label`."""
        body: schemas.LabelChange = request.body
        set_id = request.id_parameter("id", "training set")
        row = await self._workers.run_storage(
            self._labels.rename, request.owner, set_id, request.path["label"], body.label, merge=body.merge
        )
        return _label(row, f"The label is now “{row.name}”.")

    async def delete_label(self, request: Request) -> types.ChangedLabel:
        """`DELETE training-set/:id/labels/:label`."""
        row = await self._workers.run_storage(
            self._labels.delete, request.owner, request.id_parameter("id", "training set"), request.path["label"]
        )
        return _label(row, f"Label “{row.name}” deleted with its images.")


def _wire(row: TrainingSetRow, links: SignedUrls, message: str = "") -> types.TrainingSet:
    return types.TrainingSet(
        id=types.Id(row.id),
        name=row.name,
        description=row.description,
        url=links.training_set(row),
        labels=list(row.labels),
        slug=row.slug,
        counts=list(row.counts),
        encoder=row.encoder or UNSET,
        message=message or UNSET,
    )


def _label(row: LabelRow, message: str) -> types.ChangedLabel:
    return types.ChangedLabel(label=row.name, id=row.id, count=row.count, message=message)
