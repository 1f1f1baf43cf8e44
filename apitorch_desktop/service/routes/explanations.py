"""Handlers of what explains an answer: similar training images, and where in an image the evidence lies."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import UnsetType
from starlette.responses import Response

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers.similarity import SimilarityIndex
from apitorch_desktop.service.http import schemas
from apitorch_desktop.service.http.request import LargeResponse, Request
from apitorch_desktop.service.http.routing import Operation
from apitorch_desktop.service.routes.dependencies import Dependencies
from apitorch_desktop.service.routes.images import wire_image
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import ImageRow
from apitorch_desktop.vision.images import open_upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from apitorch_desktop.vision.encoder import Encoder
    from apitorch_desktop.vision.evidence import EvidenceMapper

_WIRE_SIZE = 160
"""Approximate bytes of an image in an answer without its record."""


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
        from apitorch_desktop.vision.evidence import EvidenceMapper, NoEvidence

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

    def _encoder(self, set_ids: Sequence[int]) -> "Encoder":
        """Return the encoder of the training sets; the built-in one where they have several, or it is not there."""
        rows = [self._store.training_sets.find(set_id) for set_id in set_ids]
        names = {row.encoder for row in rows if row is not None}
        found = self._classification.encoder_named(names.pop()) if len(names) == 1 else None
        return found or self._classification.encoder()

    def _embedding(self, encoder: "Encoder", sha256: str, read: Callable[[], bytes]) -> "NDArray[np.float32]":
        """Return the stored embedding of an image, or make it."""
        import numpy as np

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
