"""The list of watched folders, and the journal of their photos, on disk."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from apitorch_desktop.api.types import Classification, Id
from apitorch_desktop.dataset.watch.arrivals import Arrival
from apitorch_desktop.dataset.watch.journal import WatchJournal
from apitorch_desktop.dataset.watch.store import KEPT, WatchStore
from apitorch_desktop.dataset.watch.task import WatchTask

TASK = WatchTask("embedded", Path("/photos"), "summer", training_set_id=Id("ts_1"), adds_labels=True)


def test_a_changed_task_is_kept_with_what_was_done(tmp_path):
    with closing(WatchStore(tmp_path)) as store:
        first, other = store.add(TASK), store.add(replace(TASK, folder=Path("/others")))
        store.report(first.id, Path("/photos/a.jpg"), "It cannot be read.", None)
        changed = replace(
            TASK, classifier="winter", table=Path("/answers.csv"), destination=Path("/sorted"), least=0.5,
            training_set_id=None, adds_labels=False, adds_unlabelled=True,
        )  # fmt: skip
        store.change(first.id, changed)
    with closing(WatchStore(tmp_path)) as store:
        found, beside = store.all()
        assert found.task == changed and found.failed == 1 and len(found.reports) == 1
        assert beside.id == other.id and beside.task.classifier == "summer"


def test_the_journal_knows_all_that_failed(tmp_path):
    with closing(WatchJournal(tmp_path, TASK)) as journal:
        for number in range(KEPT + 50):
            journal.save(Arrival(Path(f"/photos/{number}.jpg"), (1, number)), "It cannot be read.")
        fine = Arrival(Path("/photos/fine.jpg"), (1, 1))
        journal.save(
            fine,
            Classification(id="c_1", classifier="summer", label="dress", confidence="high", confidence_value="0.9"),
        )
        failed = journal.failed()
        assert len(failed) == KEPT + 50 and fine.path not in failed
    with closing(WatchJournal(tmp_path, replace(TASK, classifier="winter"))) as journal:
        assert journal.failed() == []
