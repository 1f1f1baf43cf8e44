"""The training set that is open: its images in the grid's model, kept as the service has them, and its classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET
from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.api.types import INBOX, Classifier, Metrics, TrainingImage, TrainingSet, label_order
from apitorch_desktop.dataset.edits.history import EditKind, EditOutcome
from apitorch_desktop.dataset.workspace.listing import Images, LazyImages, Listing, iter_images
from apitorch_desktop.dataset.workspace.training import TRAINING_DELAY, newest_version, wait_until_trained
from apitorch_desktop.dataset.workspace.workspace import ListingProgress, Workspace
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.session.listing_changes import ListingDiff, LocalChanges, difference, ids_of
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner
from apitorch_desktop.utils.memory import return_free_memory

if TYPE_CHECKING:  # numpy comes with the first images, on a lane
    from apitorch_desktop.dataset.workspace.image_table import ImageTable


_MANY = 100_000
"""Images above which comparing listings takes a core for a while, and so much memory for a moment that it is given back."""
_THUMBNAILS_FIRST = 100
"""Milliseconds that the first thumbnails of so many have before that."""
_MANY_CHANGED = 200
"""Changed images from which their columns are made on a lane."""
CHANGED_DELAY = 80
"""Milliseconds in which changes of counts are gathered into one signal."""


@dataclass(slots=True)
class ArrangedListing:
    """A listing by labels, arranged on a lane: for 100,000 images that takes too long for the GUI thread."""

    labels: list[str]
    table: ImageTable | None
    newest: tuple[str, str]


def arrange(labels: Iterable[str], images: Sequence[TrainingImage]) -> ArrangedListing:
    """Return images by label, those without one first, then in alphabetical order."""
    table, names = None, dict.fromkeys(labels)
    if images:
        from apitorch_desktop.dataset.workspace.image_table import tabulate

        table = tabulate(images)
        names |= dict.fromkeys(
            label for label, count in zip(table.labels, table.counts().tolist(), strict=True) if count
        )
    ordered = sorted(names, key=label_order)
    if table is not None:
        table.all_in_order(ordered)  # which the grid asks for on the GUI thread
    return ArrangedListing(ordered, table, newest(images))


class OutcomeColumns(NamedTuple):
    """Changes by the outcome of an edit, in the form in which a table takes in many images at once.

    `moved`: label → images; `added` as columns, if they are too many for the GUI thread to make these.
    """

    moved: dict[str, Images]
    added: ImageTable | None

    @classmethod
    def of(cls, outcome: EditOutcome) -> OutcomeColumns:
        """Return those of an outcome; on a lane, if there may be many."""
        by_label: dict[str, list[str]] = {}
        for label, pairs in groupby(outcome.moved.items(), key=itemgetter(1)):
            by_label.setdefault(label, []).extend(map(itemgetter(0), pairs))
        if len(outcome.moved) < _MANY_CHANGED and len(outcome.added) < _MANY_CHANGED:
            return cls(dict(by_label), None)
        from apitorch_desktop.dataset.workspace.image_ids import PackedIds
        from apitorch_desktop.dataset.workspace.image_table import tabulate

        added = tabulate(outcome.added) if outcome.added else None
        return cls({label: PackedIds(ids) for label, ids in by_label.items()}, added)


class ComparedListing(NamedTuple):
    """A listing and its differences from the images shown at `version`; `behind`: it may lack changes, so list again."""

    listing: Listing
    found: ListingDiff
    behind: bool
    version: int


def newest(images: Sequence[TrainingImage], before: tuple[str, str] = ("", "")) -> tuple[str, str]:
    """Return (created_at, id) of the newest image, as far as the service gives times."""
    for image in images.newest() if isinstance(images, LazyImages) else images:
        if isinstance(image.created_at, str) and image.created_at > before[0]:
            before = (image.created_at, image.image_id)
    return before


class OpenTrainingSet(QObject):
    """The open training set: labels, counts and images. Destroyed when another is opened; its jobs end with it."""

    changed = Signal()
    """Labels, counts or the loading state changed."""
    failed = Signal(object)

    def __init__(
        self, tasks: TaskRunner, workspace: Workspace, images: GridModel, training_set: TrainingSet, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._workspace = workspace
        self._images = images
        self.training_set = training_set
        self.loading = True
        self.listed = False
        """True once the service has listed the images, not only the cache."""
        self.seen_at = 0.0
        """When the service last listed what is shown, in seconds since the epoch; 0 for never."""
        self._label_ids: dict[str, str] = {}
        self._newest: tuple[str, str] = ("", "")
        self._version = 0
        self.local_changes = LocalChanges()
        self._task: Task | None = None
        self._cache_task: Task | None = None
        self._again = False
        self._changed_timer = QTimer(self, interval=CHANGED_DELAY, singleShot=True)
        self._changed_timer.timeout.connect(self.changed)
        self._refresh_timer = QTimer(self, interval=_THUMBNAILS_FIRST, singleShot=True)
        self._refresh_timer.timeout.connect(self.refresh)
        self.classifier_status = ClassifierStatus(tasks, workspace, training_set, self)
        self.classifier_status.changed.connect(self._show_accuracies)

    # --- labels and images

    @property
    def labels(self) -> list[str]:
        """The labels in the order of tree and grid, without the inbox."""
        return sorted(self._images.counts.keys() - {INBOX})

    @property
    def counts(self) -> dict[str, int]:
        """Images by label, in the order of `labels`."""
        counts = self._images.counts
        return {label: counts[label] for label in self.labels}

    @property
    def waiting(self) -> int:
        """Number of images without a label."""
        return self._images.counts.get(INBOX, 0)

    @property
    def all_counts(self) -> dict[str, int]:
        """The same as `counts`, with the inbox first while it has images."""
        return {INBOX: self.waiting, **self.counts} if self.waiting else self.counts

    def label_id(self, label: str) -> str | None:
        """Return a label's id, if the service gives one."""
        return self._label_ids.get(label)

    def label_of(self, image_id: str) -> str | None:
        """Return the label of an image."""
        return self._images.label_of(image_id)

    # --- listing

    def load(self, expected: Callable[[], list[EditOutcome]] = list) -> None:
        """Show the cached images with the outcomes of edits that wait (`expected`), then list the images."""
        set_id, workspace = self.training_set.id, self._workspace
        self._show(arrange([] if self.training_set.labels is UNSET else self.training_set.labels, []))

        def look(_context: JobContext) -> tuple[Listing, ArrangedListing, list[EditOutcome]] | None:
            listing = workspace.cached_listing(set_id)
            return (listing, arrange(listing.labels, listing.images), expected()) if listing is not None else None

        def known(found: tuple[Listing, ArrangedListing, list[EditOutcome]] | None) -> None:
            if found is not None and not self.listed:
                listing, all_of_it, waiting = found
                self._label_ids, self.seen_at = dict(listing.label_ids), listing.seen_at
                self._show(all_of_it)
                for outcome in waiting:
                    self.apply(outcome)
                self.changed.emit()
            if self._images.total > _MANY:
                self._refresh_timer.start()
            else:
                self.refresh()

        self._cache_task = self._tasks.run(
            Lane.DISK,
            look,
            done=known,
            failed=lambda _fault: self.refresh(),
            owner=self,
            title="Look up what was seen before",
        )
        self.classifier_status.expect()

    def close(self) -> None:
        """Detach from the grid, so that late answers and edits no longer change it, and delete this object."""
        for task in (self._cache_task, self._task):
            if task is not None:
                task.cancel()
        self._changed_timer.stop()
        self._refresh_timer.stop()
        self.blockSignals(True)
        self._images = GridModel()
        self.deleteLater()

    def refresh(self) -> None:
        """List the images again, and apply the differences."""
        self._refresh_timer.stop()
        if self._task is not None and self._task.active:
            self._again = True
            return
        set_id, workspace, shown, version = (
            self.training_set.id,
            self._workspace,
            self._images.snapshot(),
            self._version,
        )
        first = not shown
        self.local_changes.begin()
        own = self.local_changes.snapshot()

        def job(context: JobContext) -> ComparedListing:
            from apitorch_desktop.dataset.workspace.image_table import tabulate

            def part_came(part: ListingProgress) -> None:
                context.post((tabulate(part.images), newest(part.images)))

            listing = workspace.listing(set_id, progress=part_came if first else None, cancelled=context.cancelled)
            found, behind = own.applicable_part(ListingDiff() if first else difference(shown, listing.images))
            if len(listing.images) > _MANY:
                return_free_memory()
            return ComparedListing(listing, found, behind, version)

        self._task = self._tasks.run(
            Lane.INTERACTIVE,
            job,
            done=self._listed,
            failed=self._not_listed,
            progress=self._part_came,
            owner=self,
            title="List the training set",
        )

    def _part_came(self, part: tuple[ImageTable, tuple[str, str]]) -> None:
        table, latest = part
        if not self._take_in_table(table, latest):  # an upload was shown before its page
            self._take_in(list(table.snapshot()))

    def _listed(self, answer: ComparedListing) -> None:
        listing = answer.listing
        if answer.version != self._version:
            self._compare_again(listing)
            return
        self._task = None
        self.loading, self.listed = False, True
        self._label_ids, self.seen_at = dict(listing.label_ids), listing.seen_at
        self._again |= answer.behind
        for label in listing.labels:
            if not self.local_changes.has_label(label):
                self.add_label(label)
        for label in [name for name, count in self._images.counts.items() if not count and name not in listing.labels]:
            if not self.local_changes.has_label(label):
                self.remove_label(label)
        self._apply(answer.found)
        self.changed.emit()
        if self._again:
            self._again = False
            self.refresh()

    def _compare_again(self, listing: Listing) -> None:
        """Compare again after a change that was made here during the listing."""
        shown, version, own = self._images.snapshot(), self._version, self.local_changes.snapshot()
        self._task = self._tasks.run(
            Lane.INTERACTIVE,
            lambda _context: ComparedListing(listing, *own.applicable_part(difference(shown, listing.images)), version),
            done=self._listed,
            failed=self._not_listed,
            owner=self,
            title="Compare the listing",
        )

    def _not_listed(self, error: Exception) -> None:
        self._task = None
        self._again = False
        self.loading = False
        self.changed.emit()
        self.failed.emit(error)

    def fetch_new_images(self) -> None:
        """Add the images that are newer than the newest one; list all again if the service has no pages."""
        if self._task is not None and self._task.active:
            self._again = True
            return
        if not self._workspace.has("paging") or not self._newest[1]:
            self.refresh()
            return
        set_id, client, after = self.training_set.id, self._workspace.client, self._newest[1]

        def job(context: JobContext) -> list[TrainingImage]:
            images = iter_images(client, set_id, paged=True, after=after, cancelled=context.cancelled)
            return list(images)

        def done(came: list[TrainingImage]) -> None:
            self._task = None
            self.add_images(came)
            if self._again:
                self._again = False
                self.fetch_new_images()

        def failed(_fault: Exception) -> None:  # the newest image may have been deleted: list again
            self._task = None
            self.refresh()

        self._task = self._tasks.run(
            Lane.INTERACTIVE, job, done=done, failed=failed, owner=self, title="Look for new images"
        )

    def _show(self, all_of_it: ArrangedListing) -> None:
        self._newest = all_of_it.newest
        self._version += 1
        self._images.set_table(all_of_it.labels, all_of_it.table)
        self._show_accuracies()

    def _apply(self, found: ListingDiff) -> None:
        if found.missing:
            self.remove_images(found.missing)
        self.move_each(found.moved)
        self.add_images(found.added)

    # --- changes, also by edits

    def _note(self, images: Images = (), labels: Iterable[str] = ()) -> None:
        self.local_changes.note(images, labels)
        self._version += 1

    def add_images(self, images: Sequence[TrainingImage], table: ImageTable | None = None) -> None:
        """Add images that are not there yet; `table` are the same as columns, where a lane has made these."""
        self._note([image.image_id for image in images])
        if table is None or not self._take_in_table(table, newest(images)):
            self._take_in(images)

    def _take_in_table(self, table: ImageTable, latest: tuple[str, str]) -> bool:
        """Add images; return False if some are there already."""
        if self._images.total and self._images.known(table.snapshot().ids):
            return False
        self._newest = max(self._newest, latest)
        self._images.add_table(table)
        self._touched()
        return True

    def _take_in(self, images: Sequence[TrainingImage]) -> None:
        new = [image for image in images if not self._is_known(image.image_id)]
        if not new:
            return
        self._newest = newest(new, self._newest)
        self._images.add(new)
        self._touched()

    def _is_known(self, image_id: str) -> bool:
        return self._images.label_of(image_id) is not None

    def remove_images(self, images: Images) -> None:
        """Remove images, given by id or as a snapshot."""
        if len(images):
            self._note(images)
            if self._images.remove(images):
                self._touched()

    def move_each(self, images: Mapping[str, Images]) -> None:
        """Move images, given by id or as snapshots, to labels, label → images."""
        for some in images.values():
            self._note(some)
        if any(map(len, images.values())) and self._images.move_each(images):
            self._touched()

    def add_label(self, label: str) -> None:
        """Add a label, if it is new."""
        self._note(labels=[label])
        if label not in self._images.counts:
            self._images.add_label(label)
            self._touched()

    def remove_label(self, label: str) -> None:
        """Remove a label with its images."""
        self._note(self._images.ids_under(label), [label])
        if label in self._images.counts:
            self._images.remove_label(label)
            self._touched()

    def rename_label(self, old: str, new: str) -> None:
        """Rename a label, or merge it into another."""
        if old not in self._images.counts or old == new:
            return
        self._note([*self._images.ids_under(old), *self._images.ids_under(new)], [old, new])
        self._images.rename_label(old, new)
        self._touched()

    def apply(self, outcome: EditOutcome, columns: OutcomeColumns | None = None) -> None:
        """Apply the outcome of an edit, whose `columns` a lane may have made."""
        columns = columns or OutcomeColumns.of(outcome)
        self.remove_images(  # a listing in the middle of the edit had both
            [old for old, new in outcome.changed.items() if old != new and self._is_known(new)]
        )
        known = {old: new for old, new in outcome.changed.items() if self._is_known(old)}
        self._note([*known, *known.values()])
        if known:
            self._images.replace_ids(known)
        for old, new in outcome.renamed.items():
            self.rename_label(old, new)
        for label in outcome.labels_added:
            self.add_label(label)
        self.remove_images([one for one in outcome.removed if one not in known])
        by_label = dict(columns.moved)
        if held := self.local_changes.held():  # a later edit is shown already
            by_label = {label: [one for one in ids_of(some) if one not in held] for label, some in by_label.items()}
        known_already = set(self._images.known([image.image_id for image in outcome.added]))
        for image in outcome.added if known_already else ():
            if image.image_id in known_already:
                by_label[str(image.label)] = [*by_label.get(str(image.label), ()), image.image_id]
        self.move_each(by_label)
        self.add_images(outcome.added, columns.added)
        if outcome.splits:
            self._images.set_splits(outcome.splits)
            self._touched()
        for label in outcome.labels_removed:
            self.remove_label(label)
        if outcome.stale:
            self.refresh()
        if outcome.edit.kind is EditKind.CHOOSE_VERSION:
            self.classifier_status.expect()

    def _touched(self) -> None:
        self._version += 1
        if not self._changed_timer.isActive():
            self._changed_timer.start()
        self.classifier_status.expect()

    def _show_accuracies(self) -> None:
        metrics = self.classifier_status.metrics
        self._images.set_accuracies({one.label: one.accuracy for one in metrics.labels} if metrics else {})


class ClassifierStatus(QObject):
    """State of one classifier; needs the extension `training`."""

    changed = Signal()

    def __init__(self, tasks: TaskRunner, workspace: Workspace, training_set: TrainingSet, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._workspace = workspace
        self._slug = training_set.slug
        self._expected_until = 0.0
        self._task: Task | None = None
        self.classifier: Classifier | None = None
        self.known = False
        """True once the service has answered, also that there is no classifier."""

    @property
    def metrics(self) -> Metrics | None:
        """Cross-validated metrics, where there are any."""
        found = self.classifier.metrics if self.classifier is not None else None
        return found or None

    @property
    def slug(self) -> str:
        """The classifier's slug, "" where the service gives none."""
        return self._slug if isinstance(self._slug, str) else ""

    def rename(self, training_set: TrainingSet) -> None:
        """Follow the training set to another name, and its classifier to another slug."""
        if training_set.slug != self._slug:
            self._slug = training_set.slug
            if self._task is not None:
                self._task.cancel()
                self._task = None
            self.expect()

    def expect(self) -> None:
        """Poll the classifier until it has been trained on a change that was just made."""
        self._expected_until = monotonic() + TRAINING_DELAY
        if self.slug and self._workspace.has("training") and self._task is None:
            self._watch()

    def _watch(self) -> None:
        workspace, slug = self._workspace, self.slug

        def job(context: JobContext) -> None:
            version = 0
            while True:
                patience = max(0.0, self._expected_until - monotonic())
                state = wait_until_trained(
                    workspace, slug, version, patience=patience, report=context.post, wait=context.wait
                )
                if state is not None:
                    version = newest_version(state)
                if (state is None or state.status != "training") and monotonic() >= self._expected_until:
                    return

        self._task = self._tasks.run(
            Lane.WATCH,
            job,
            done=lambda _none: self._ended(),
            failed=lambda _error: self._failed(),
            progress=self._show,
            owner=self,
            title="Watching the classifier",
        )

    def _show(self, classifier: Classifier | None) -> None:
        if classifier != self.classifier or not self.known:
            self.classifier, self.known = classifier, True
            self.changed.emit()

    def _ended(self) -> None:
        self._task = None
        if monotonic() < self._expected_until:  # a change came at the last moment
            self._watch()

    def _failed(self) -> None:
        self._task = None  # the state of the connection reports a service that is away; what is known stays
