"""Training of one set: fits a head, judges it, stores it; in the service, or as a task on a worker of a cluster."""

from collections.abc import Callable

import msgspec

from apitorch_desktop.api import types
from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.head_cache import CurrentHead
from apitorch_desktop.service.classifiers.training_data import TrainingData
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.head import Head


def train_and_store(
    store: Store,
    data: TrainingData,
    *,
    holder: str | None,
    cancelled: Callable[[bool], bool],
    use: Callable[[CurrentHead], None],
) -> None:
    """Fit a head and put it to use: the stored version, unless it waits, and before it what answers meanwhile.

    `holder`: with PostgreSQL, the process that holds the job; only it stores anything. `cancelled` is asked between fits
    whether to end, with whether a provisional head answers by now. `use` is called with each head that is to answer.
    Raises TrainingCancelled, RecordNotFound, RecordConflict, DiskFull.
    """
    previewed = False  # a number that answered is stored: the next one is then of a head with all changes

    def set_provisional(head: Head, metrics: types.Metrics | None = None) -> None:
        nonlocal previewed
        previewed = True
        provisional = training_data.provisional_head(store, data, head, metrics)
        if holder is not None:  # all processes answer with it
            encoded = msgspec.json.encode(metrics).decode() if metrics else ""
            store.models.put_preview(
                data.set_id,
                revision=data.revision,
                encoder=data.encoder,
                head=head.to_bytes(),
                metrics=encoded,
                holder=holder,
            )
        use(provisional)

    go_on = training_data.raise_once(lambda: cancelled(True))  # as it answers later changes too
    with training_data.scratch_errors(store):
        quick = training_data.quick_head(store, data, go_on) if data.large else None
        if quick is not None:
            set_provisional(quick.head)
        training = training_data.fit(data, lambda: cancelled(previewed), set_provisional if quick is None else None)
        judgement = training_data.judge(store, data, training)
        if not data.complete:
            if not judgement.waits:
                set_provisional(training.head, training_data.wire_metrics(training.metrics))
            return
        if judgement.waits and (kept := training_data.quick_head(store, data)):
            # the version in use remembers all images: a correction holds for its image although a new version waits
            store.models.replace_head(data.set_id, kept.version, kept.head.to_bytes(), holder=holder)
            use(kept)
        stored = training_data.store_version(store, data, training, judgement, holder)
        if not judgement.waits:
            use(stored)
