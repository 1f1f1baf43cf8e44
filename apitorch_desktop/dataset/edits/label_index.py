"""Index of a training set: the images under each label at this moment, requested as far as needed."""

from __future__ import annotations

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import Id, TrainingImage
from apitorch_desktop.dataset.edits.model import image_id
from apitorch_desktop.dataset.workspace.listing import iter_images, list_labels
from apitorch_desktop.dataset.workspace.workspace import Workspace

_PAGE = 10_000


class LabelIndex:
    """A training set as its service lists it. Answers are kept until `refresh`. Methods raise ApiError."""

    def __init__(self, workspace: Workspace, training_set_id: Id) -> None:
        self._workspace = workspace
        self._set_id = training_set_id
        self._counts: dict[str, int] | None = None
        self._groups: dict[str, dict[str, TrainingImage]] = {}
        self._complete = False

    def refresh(self) -> None:
        """Forget all answers: the training set has changed."""
        self._counts, self._groups, self._complete = None, {}, False

    def counts(self) -> dict[str, int]:
        """Return the labels with their numbers of images, empty labels included."""
        if self._counts is None:
            if self._workspace.has("paging"):
                scratch_label = self._workspace.scratch_label(self._set_id)
                labels = list_labels(self._workspace.client, self._set_id, scratch_label)
                self._counts = {item.label: item.count for item in labels}
            else:
                self.all()
        return dict(self._counts or {})

    def under(self, label: str) -> dict[str, TrainingImage]:
        """Return the images under a label by id, in the order of the service; none for an unknown label."""
        if label in self._groups or self._complete:
            return self._groups.get(label, {})
        if not self._workspace.has("paging"):
            return self.all().get(label, {})
        found: dict[str, TrainingImage] = {}
        if self.counts().get(label):
            images = iter_images(self._workspace.client, self._set_id, paged=True, label=label, limit=_PAGE)
            found = {image_id(image.image_id): image for image in images}
        self._groups[label] = found
        return found

    def all(self) -> dict[str, dict[str, TrainingImage]]:
        """Return all images by label and id."""
        if not self._complete:
            listing = self._workspace.listing(self._set_id)
            self._groups = {snake_case(label) or label: {} for label in listing.labels}
            for image in listing.images:
                label = snake_case(str(image.label)) or str(image.label)
                self._groups[label][image_id(image.image_id)] = image
            self._counts = {label: len(images) for label, images in self._groups.items()}
            self._complete = True
        return self._groups

    def labels_by_id(self) -> dict[str, str]:
        """Return the label of every image, by image id."""
        return {found: label for label, images in self.all().items() for found in images}

    def find_twin(self, label: str, sha256: str) -> str | None:
        """Return the id of the image with this content under a label, where the service lists hashes."""
        if sha256:
            for found, image in self.under(label).items():
                if image.sha256 == sha256:
                    return found
        return None
