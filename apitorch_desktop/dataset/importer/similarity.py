"""Near-duplicates of a plan's images: in the training set, and in the plan itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.importer.plan import SENT, Plan, PlanItem
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import ImageUrl, SourceMissing
from apitorch_desktop.dataset.workspace.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class KnownImage:
    """Image of the training set: its name and label as the user knows them, and its `near_duplicates.pattern`."""

    name: str
    label: str
    pattern: "NDArray[np.uint8]"


def known_of(
    workspace: "Workspace", training_set_id: Id, cancelled: Callable[[], bool] | None = None
) -> list[KnownImage]:
    """Return the images of a training set, by their thumbnails, which are cached. Raises ApiError.

    An image that cannot be shown is left out.
    """
    from apitorch_desktop.vision import images, near_duplicates

    known: list[KnownImage] = []
    for image in workspace.listing(training_set_id, cancelled=cancelled).images:
        if cancelled is not None and cancelled():
            return []
        try:
            data = workspace.thumbnail(training_set_id, image, cancelled=cancelled)
            pattern = near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
        except images.UnreadableImage:
            continue
        name = image.original_filename if isinstance(image.original_filename, str) else image.filename
        known.append(KnownImage(name, str(image.label), pattern))
    return known


def find_similar(
    plan: Plan,
    there: Sequence[KnownImage],
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[int, str]:
    """Return item index → what it looks nearly the same as, for `Plan.set_similar`. Blocking; reads every image again.

    The first of several alike in the plan itself is left alone. `progress(done, total)` counts images.
    """
    from apitorch_desktop.vision import near_duplicates

    stop = cancelled or (lambda: False)
    wanted = [index for index, item in enumerate(plan.items) if item.standing in SENT]
    archives = Archives()
    indices: list[int] = []
    patterns: list[NDArray[np.uint8]] = []
    try:
        for done, index in enumerate(wanted, 1):
            if stop():
                return {}
            if (pattern := _pattern(plan.items[index], archives)) is not None:
                indices.append(index)
                patterns.append(pattern)
            if progress is not None:
                progress(done, len(wanted))
    finally:
        archives.close()
    found: dict[int, str] = {}
    for pair in near_duplicates.find_near_duplicates(patterns, cancelled=cancelled):
        found.setdefault(indices[pair.second], f"“{plan.items[indices[pair.first]].name}” of this import")
    best: dict[int, float] = {}
    for pair in near_duplicates.find_matches(patterns, [known.pattern for known in there], cancelled=cancelled):
        index, known = indices[pair.first], there[pair.second]
        if pair.likeness > best.get(index, 0):
            best[index] = pair.likeness
            found[index] = f"“{known.name}” under “{known.label}”"
    return found


def _pattern(item: PlanItem, archives: Archives) -> "NDArray[np.uint8] | None":
    from apitorch_desktop.vision import images, near_duplicates

    if isinstance(item.source, ImageUrl):
        return None
    try:
        data = read(item.source, archives, images.MAX_BYTES)
        return near_duplicates.pattern(images.shrunk(data, 2 * near_duplicates.SIDE))
    except (SourceMissing, images.UnreadableImage):
        return None
