"""Handlers of what changed in a training set, and of one image as it is now."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation, OperationGroup
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.images import WIRE_SIZE, wire_image
from apitorch_desktop.service.storage.changes import MOST


class ChangesQuery(Struct):
    """The `revision` of an earlier answer; without one, the answer has the present revision and no images."""

    since: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET


class ChangeRoutes(OperationGroup):
    """Handlers of changes."""

    tag = "Training images"

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._workers = dependencies.workers

    @Operation(
        "GET",
        "/api/training-set/{id}/changes",
        types.ListingChanges,
        query=ChangesQuery,
        extension="changes",
        errors=(404,),
    )
    async def list_image_changes(self, request: Request) -> LargeResponse:
        """Return what came, changed and went since a revision, or that it is too old: then list the images anew."""
        query: ChangesQuery = request.query
        set_id = request.id_parameter("id", "training set")
        since = query.since if isinstance(query.since, str) else None

        def load() -> Response:
            found = self._store.changes.since(request.owner, set_id, since)
            answer = types.ListingChanges(
                training_set_id=types.Id(str(set_id)),
                revision=found.revision,
                too_old=found.too_old,
                labels=[types.LabelCount(id=row.id, label=row.name, count=row.count) for row in found.labels],
                images=[wire_image(row, request.owner, request.links) for row in found.images],
                removed=[f"ti_{image_id}" for image_id in found.removed],
            )
            return request.large_response(types.encode(answer))

        size = 0 if since is None else WIRE_SIZE * MOST // 20
        return LargeResponse(size, lambda: self._workers.run_storage(load))

    @Operation("GET", "/api/training-image/{image_id}", types.TrainingImage, extension="changes", errors=(404,))
    async def show_image(self, request: Request) -> types.TrainingImage:
        """Return an image as it is in a listing, with URLs that hold for the current UTC day."""
        row = await self._workers.run_storage(self._store.images.get, request.owner, request.path["image_id"])
        return wire_image(row, request.owner, request.links)
