"""Board: which image is under which label of a training set at this moment, asked for as far as it is needed."""

from __future__ import annotations

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.edits.model import image_id
from apitorch_desktop.dataset.workspace.listing import iter_images, list_labels
from apitorch_desktop.dataset.workspace.workspace import Workspace

_PAGE = 10_000


class LabelIndex:
    """A training set as its service lists it. What was asked for is kept until `forget`. Raises ApiError."""

    def __init__(self, workspace: Workspace, training_set_id: Id) -> None:
        self._workspace = workspace
        self._set = training_set_id
        self._counts: dict[str, int] | None = None
        self._groups: dict[str, dict[str, TrainingImage]] = {}
        self._whole = False

    def forget(self) -> None:
        """Things have changed: ask again."""
        self._counts, self._groups, self._whole = None, {}, False

    def counts(self) -> dict[str, int]:
        """The labels with their numbers of images, empty ones included."""
        if self._counts is None:
            if self._workspace.has("paging"):
                scratch_label = self._workspace.scratch_label(self._set)
                labels = list_labels(self._workspace.client, self._set, scratch_label)
                self._counts = {one.label: one.count for one in labels}
            else:
                self.all()
        return dict(self._counts or {})

    def under(self, label: str) -> dict[str, TrainingImage]:
        """The images under a label by id, in the service's order; none for a label that is not there."""
        if label in self._groups or self._whole:
            return self._groups.get(label, {})
        if not self._workspace.has("paging"):
            return self.all().get(label, {})
        found: dict[str, TrainingImage] = {}
        if self.counts().get(label):
            images = iter_images(self._workspace.client, self._set, paged=True, label=label, limit=_PAGE)
            found = {image_id(image.image_id): image for image in images}
        self._groups[label] = found
        return found

    def all(self) -> dict[str, dict[str, TrainingImage]]:
        """All images by label and id."""
        if not self._whole:
            listing = self._workspace.listing(self._set)
            self._groups = {snake_case(label) or label: {} for label in listing.labels}
            for image in listing.images:
                label = snake_case(str(image.label)) or str(image.label)
                self._groups[label][image_id(image.image_id)] = image
            self._counts = {label: len(images) for label, images in self._groups.items()}
            self._whole = True
        return self._groups

    def where(self, wanted: str) -> str | None:
        """The label an image is under; None where it is nowhere."""
        for label, images in self.all().items():
            if wanted in images:
                return label
        return None

    def twin(self, label: str, sha256: str) -> str | None:
        """The id of the image with these bytes under a label, where the service tells the content."""
        if sha256:
            for found, image in self.under(label).items():
                if image.sha256 == sha256:
                    return found
        return None
