"""Training sets and their labels: listed, made, changed, deleted."""

from msgspec import UNSET, UnsetType

from apitorch_desktop.api import types
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.request import Request, SignedUrls
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.storage.records import LabelRow, TrainingSetRow

_SET = "/api/training-set/{id}"
_LABELS = _SET + "/labels"
_LABEL = _LABELS + "/{label}"


class TrainingSetRoutes:
    """Handlers on training sets and labels."""

    def __init__(self, context: Dependencies) -> None:
        self._sets = context.store.training_sets
        self._labels = context.store.labels
        self._work = context.work

    def operations(self) -> list[Operation]:
        """The rows of the table."""
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
                "Change the name, the description or both. The slug goes with the name.",
                self.update,
                one,
                tag,
                body=schemas.TrainingSetChange,
                extension="training-sets",
                errors=(404,),
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

    async def list_all(self, call: Request) -> types.TrainingSets:
        """`GET training-sets`."""
        rows = await self._work.store(self._sets.all, call.owner)
        return types.TrainingSets(data=[_wire(row, call.links) for row in rows])

    async def create(self, call: Request) -> types.TrainingSet:
        """`POST training-sets`."""
        body: schemas.NewTrainingSet = call.body
        row = await self._work.store(self._sets.create, call.owner, body.name, body.description or "")
        return _wire(row, call.links, f"Training set “{row.name}” created.")

    async def update(self, call: Request) -> types.TrainingSet:
        """`PATCH training-set/:id`."""
        body: schemas.TrainingSetChange = call.body
        name = None if isinstance(body.name, UnsetType) else body.name
        description = None if isinstance(body.description, UnsetType) else body.description
        if name is None and description is None:
            raise HttpError(400, "There is nothing to change. Send a name, a description or both.")
        row = await self._work.store(
            self._sets.update, call.owner, call.number("id", "training set"), name=name, description=description
        )
        return _wire(row, call.links, "Training set changed.")

    async def delete(self, call: Request) -> types.TrainingSet:
        """`DELETE training-set/:id`."""
        row = await self._work.store(self._sets.delete, call.owner, call.number("id", "training set"))
        return _wire(row, call.links, f"Training set “{row.name}” deleted.")

    async def labels(self, call: Request) -> types.LabelCounts:
        """`GET training-set/:id/labels`."""
        set_id = call.number("id", "training set")
        rows = await self._work.store(self._labels.all, call.owner, set_id)
        data = [types.LabelCount(id=row.id, label=row.name, count=row.count) for row in rows]
        return types.LabelCounts(training_set_id=set_id, data=data)

    async def create_label(self, call: Request) -> types.ChangedLabel:
        """`POST training-set/:id/labels`."""
        body: schemas.NewLabel = call.body
        row = await self._work.store(self._labels.create, call.owner, call.number("id", "training set"), body.label)
        return _label(row, f"Label “{row.name}” created.")

    async def rename_label(self, call: Request) -> types.ChangedLabel:
        """`PATCH training-set/:id/labels/:label`."""
        body: schemas.LabelChange = call.body
        set_id = call.number("id", "training set")
        row = await self._work.store(
            self._labels.rename, call.owner, set_id, call.path["label"], body.label, merge=body.merge
        )
        return _label(row, f"The label is now “{row.name}”.")

    async def delete_label(self, call: Request) -> types.ChangedLabel:
        """`DELETE training-set/:id/labels/:label`."""
        row = await self._work.store(
            self._labels.delete, call.owner, call.number("id", "training set"), call.path["label"]
        )
        return _label(row, f"Label “{row.name}” deleted with its images.")


def _wire(row: TrainingSetRow, links: SignedUrls, message: str = "") -> types.TrainingSet:
    return types.TrainingSet(
        id=row.id,
        name=row.name,
        description=row.description,
        url=links.training_set(row),
        labels=list(row.labels),
        slug=row.slug,
        counts=list(row.counts),
        message=message or UNSET,
    )


def _label(row: LabelRow, message: str) -> types.ChangedLabel:
    return types.ChangedLabel(label=row.name, id=row.id, count=row.count, message=message)
