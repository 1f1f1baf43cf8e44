"""From what a person drops or pastes to a plan: which picture becomes which label, and what stands against it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.sources import Picture, Source, Upload

Dropped = Path | str | Picture
"""A file, folder, archive or list on disk; text with addresses and paths, one a line; a picture in memory."""


class Standing(StrEnum):
    """What becomes of an item, as things stand."""

    NEW = "new"
    """Will be sent."""
    SIMILAR = "similar"
    """Will be sent; looks nearly the same as something there."""
    OTHER_LABEL = "other_label"
    """Will be sent; the same bytes are there, or in this plan, under another label."""
    THERE = "there"
    """Not sent: the same bytes are under this label already."""
    TWICE = "twice"
    """Not sent: the same bytes for the same label come earlier in this plan."""
    NO_LABEL = "no_label"
    """Not sent until it has a label."""
    PROBLEM = "problem"
    """Not sent: cannot be read."""
    LEFT_OUT = "left_out"
    """Not sent: the person said so."""


@dataclass(slots=True, eq=False)
class PlanItem:
    """One picture of a plan. Change it through the `Plan` only.

    `label` is snake_case, empty while there is none; `original_label` the spelling it came with. `name` can be shown:
    nothing in it breaks a line. `size` in bytes, `width` and `height` in pixels as stored, None where not known (a
    picture on the web). `problem` is a sentence. `note` is a sentence about `standing`, or empty.
    """

    label: str
    original_label: str
    source: Source
    name: str
    size: int | None = None
    problem: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    included: bool = True
    similar_to: str | None = None
    standing: Standing = Standing.NEW
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlanLabel:
    """A label of a plan: how it was spelled, whether it exists, how many pictures it gets and how many stay out."""

    label: str
    spelled: tuple[str, ...]
    exists: bool
    sending: int
    staying: int


class Plan:
    """What an import would do. Nothing is sent, changed or written by it.

    `notes` are sentences about what belongs to no single picture (a folder that cannot be opened); `ignored` names
    files beside the pictures that are no pictures and were not asked for by name. `labels_there` are the training
    set's labels; `existing` maps sha256 to the labels that hold these bytes.
    """

    items: list[PlanItem]
    notes: list[str]
    ignored: list[str]

    def sending(self) -> list[PlanItem]:
        """The items that would be sent."""
        raise NotImplementedError

    def counts(self) -> dict[Standing, int]:
        """How many items stand how; every standing is there."""
        raise NotImplementedError

    def bytes_to_send(self) -> int:
        """Bytes that would be sent, as far as they are known."""
        raise NotImplementedError

    def labels(self) -> list[PlanLabel]:
        """The labels in the order in which they first come, the empty one (no label yet) last."""
        raise NotImplementedError

    def set_label(self, items: Iterable[PlanItem], label: str) -> None:
        """Put items under a label, in any spelling. Raises ValueError with a sentence where it can be no label."""
        raise NotImplementedError

    def rename_label(self, label: str, new: str) -> None:
        """Put all items of one label under another. Raises ValueError like `set_label`."""
        raise NotImplementedError

    def set_included(self, items: Iterable[PlanItem], included: bool) -> None:
        """Leave items out, or take them in again; what cannot be sent is not sent either way."""
        raise NotImplementedError

    def uploads(self) -> list[Upload]:
        """What to hand to `Transfers.add_upload`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is: `found` pictures so far, `read` of them looked at; `total` is None while still looking."""

    found: int
    read: int
    total: int | None


def existing_of(images: Iterable[TrainingImage]) -> dict[str, set[str]]:
    """sha256 → labels of a listing's images (empty where the service gives no sha256)."""
    raise NotImplementedError


def scan(
    sources: Sequence[Dropped],
    *,
    default_label: str = "",
    existing: Mapping[str, Collection[str]] | None = None,
    labels_there: Collection[str] = (),
    progress: Callable[[ScanProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Plan:
    """Look at what was dropped; blocking, to be called on a lane.

    Sub-folders become labels; what has none gets `default_label`, else its folder's name, else stays without.
    A problem never stops the rest. When `cancelled` answers True, what was found so far is the plan.
    """
    raise NotImplementedError
