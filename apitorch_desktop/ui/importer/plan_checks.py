"""Background checks of an import plan against a training set: known photos first, then near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.importer.plan import Plan
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

Existing = tuple[Mapping[str, Collection[str]], Collection[str]]
"""Content of a training set: sha256 → labels, and its labels."""
ExistingOf = Callable[[Id], Existing]
Similar = Callable[[Plan, Id | None, JobContext], Mapping[int, str]]
"""Finds near-duplicates: index of an item → what it looks like, as the end of a sentence."""


class PlanChecks(QObject):
    """Runs the checks on lanes. The plan is usable before near-duplicates are found."""

    compared = Signal()
    """The plan was compared with the training set."""
    similar_found = Signal()
    """Near-duplicates are marked in the plan."""
    progressed = Signal()
    failed = Signal(str)

    def __init__(self, tasks: TaskRunner, existing_of: ExistingOf, similar: Similar | None, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._existing_of = existing_of
        self._similar = similar
        self._comparison: Task | None = None
        self._similarity: Task | None = None
        self.labels: list[str] = []
        """Labels of the training set."""
        self.similarity_text = ""
        """Progress of the search for near-duplicates, "" while there is none."""

    @property
    def comparing(self) -> bool:
        """True while the training set's content is not known yet."""
        return self._comparison is not None

    def stop(self) -> None:
        """Cancel the checks under way."""
        for task in (self._comparison, self._similarity):
            if task is not None:
                task.cancel()
        self._comparison = self._similarity = None
        self.similarity_text = ""

    def check(self, plan: Plan, target: Id | None) -> None:
        """Check a plan against a training set, None for a new one."""
        self.stop()
        plan.set_similar({})
        if target is None:
            self.labels = []
            plan.set_existing({})
            self.compared.emit()
            self._find_similar(plan, None)
            return
        existing_of = self._existing_of

        def found(existing: Existing) -> None:
            self._comparison = None
            plan.set_existing(*existing)
            self.labels = list(existing[1])
            self.compared.emit()
            self._find_similar(plan, target)

        def failed(error: Exception) -> None:
            self._comparison = None
            self.compared.emit()
            self.failed.emit(f"Comparing with the training set failed. {error}")

        self._comparison = self._tasks.run(
            Lane.INTERACTIVE,
            lambda _context: existing_of(target),
            done=found,
            failed=failed,
            owner=self,
            title="Comparing with the training set",
        )

    def _find_similar(self, plan: Plan, target: Id | None) -> None:
        similar = self._similar
        if similar is None:
            return

        def found(alike: Mapping[int, str]) -> None:
            self._similarity, self.similarity_text = None, ""
            plan.set_similar(alike)
            self.similar_found.emit()

        def failed(_fault: Exception) -> None:
            self._similarity, self.similarity_text = None, ""
            self.progressed.emit()

        def progress(done_total: tuple[int, int]) -> None:
            self.similarity_text = "Looking for photos that look nearly the same: {:,} of {:,}.".format(*done_total)
            self.progressed.emit()

        self._similarity = self._tasks.run(
            Lane.BATCH,
            lambda context: similar(plan, target, context),
            done=found,
            failed=failed,
            progress=progress,
            owner=self,
            title="Searching near-duplicates",
        )
