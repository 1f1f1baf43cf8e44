"""Handlers of training sets and labels."""

from msgspec import UNSET, UnsetType

from apitorch_desktop.api import types
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import Request
from apitorch_desktop.service.http.routing import Operation, OperationGroup
from apitorch_desktop.service.http.signed_urls import SignedUrls
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.records import LabelRow, TrainingSetRow

_SET = "/api/training-set/{id}"
_LABELS = _SET + "/labels"
_LABEL = _LABELS + "/{label}"


class TrainingSetRoutes(OperationGroup):
    """Handlers of training sets and labels."""

    tag = "Training sets"

    def __init__(self, dependencies: Dependencies) -> None:
        self._sets = dependencies.store.training_sets
        self._labels = dependencies.store.labels
        self._workers = dependencies.workers
        self._trainer = dependencies.trainer

    @Operation("GET", "/api/training-sets", types.TrainingSets)
    async def list_training_sets(self, request: Request) -> types.TrainingSets:
        """List the training sets of this key."""
        rows = await self._workers.run_storage(self._sets.all, request.owner)
        return types.TrainingSets(data=[_wire(row, request.links) for row in rows])

    @Operation("POST", "/api/training-sets", types.TrainingSet, body=schemas.NewTrainingSet, extension="training-sets")
    async def create_training_set(self, request: Request) -> types.TrainingSet:
        """Make a new, empty training set. Names may repeat; the slug tells them apart."""
        body: schemas.NewTrainingSet = request.body
        row = await self._workers.run_storage(self._sets.create, request.owner, body.name, body.description or "")
        return _wire(row, request.links, f"Training set “{row.name}” created.")

    @Operation(
        "PATCH", _SET, types.TrainingSet, body=schemas.TrainingSetChange, extension="training-sets", errors=(404,)
    )
    async def update_training_set(self, request: Request) -> types.TrainingSet:
        """Change the name, the description, or the encoder that it is learned with. The slug goes with the name."""
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

    @Operation("GET", "/api/encoders", types.Encoders, extension="encoders")
    async def list_encoders(self, _request: Request) -> types.Encoders:
        """List the encoders that a training set can be learned with, and the files that cannot be used, with the reason."""
        return types.Encoders(data=await self._workers.run_inference(self._trainer.list_encoders))

    @Operation(
        "GET",
        _SET + "/encoder-trial",
        types.EncoderTrials,
        query=schemas.EncoderChoice,
        extension="encoders",
        errors=(404, 409),
    )
    async def try_encoder(self, request: Request) -> types.EncoderTrials:
        """Compare cost and accuracy of an encoder with the built-in one on a sample. Takes up to a minute."""
        query: schemas.EncoderChoice = request.query
        row = await self._workers.run_storage(self._sets.get, request.owner, request.id_parameter("id", "training set"))
        await self._workers.run_inference(self._trainer.check_encoder, query.encoder)
        return types.EncoderTrials(
            data=await self._workers.run_inference(self._trainer.try_encoder, row.id, query.encoder)
        )

    @Operation("DELETE", _SET, types.TrainingSet, extension="training-sets", errors=(404, 507))
    async def delete_training_set(self, request: Request) -> types.TrainingSet:
        """Delete a training set with its labels, its images and its classifier."""
        row = await self._workers.run_storage(
            self._sets.delete, request.owner, request.id_parameter("id", "training set")
        )
        return _wire(row, request.links, f"Training set “{row.name}” deleted.")

    @Operation("GET", _LABELS, types.LabelCounts, extension="paging", errors=(404,))
    async def list_labels(self, request: Request) -> types.LabelCounts:
        """List the labels with their ids and the images of each."""
        set_id = request.id_parameter("id", "training set")
        rows = await self._workers.run_storage(self._labels.all, request.owner, set_id)
        data = [types.LabelCount(id=row.id, label=row.name, count=row.count) for row in rows]
        return types.LabelCounts(training_set_id=types.Id(set_id), data=data)

    @Operation("POST", _LABELS, types.ChangedLabel, body=schemas.NewLabel, extension="labels", errors=(404, 409))
    async def create_label(self, request: Request) -> types.ChangedLabel:
        """Make a label without images. An upload to a new label makes it as well."""
        body: schemas.NewLabel = request.body
        row = await self._workers.run_storage(
            self._labels.create, request.owner, request.id_parameter("id", "training set"), body.label
        )
        return _label(row, f"Label “{row.name}” created.")

    @Operation("PATCH", _LABEL, types.ChangedLabel, body=schemas.LabelChange, extension="labels", errors=(404, 409))
    async def rename_label(self, request: Request) -> types.ChangedLabel:
        """Rename a label (given by name or id); with `merge` into one that exists, which then takes the images."""
        body: schemas.LabelChange = request.body
        set_id = request.id_parameter("id", "training set")
        row = await self._workers.run_storage(
            self._labels.rename, request.owner, set_id, request.path["label"], body.label, merge=body.merge
        )
        return _label(row, f"The label is now “{row.name}”.")

    @Operation("DELETE", _LABEL, types.ChangedLabel, extension="labels", errors=(404, 507))
    async def delete_label(self, request: Request) -> types.ChangedLabel:
        """Delete a label with its images."""
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
