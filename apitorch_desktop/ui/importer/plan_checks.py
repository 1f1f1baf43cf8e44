"""An import plan held against a training set, on lanes: what is there already first, then what looks nearly the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.importer.plan import Plan
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner

Existing = tuple[Mapping[str, Collection[str]], Collection[str]]
"""What a training set holds: sha256 → labels, and its labels."""
ExistingOf = Callable[[Id], Existing]
Similar = Callable[[Plan, Id | None, JobContext], Mapping[int, str]]
"""Which pictures look nearly like what: index → the end of a sentence."""


class PlanChecks(QObject):
    """Nobody has to wait for near-duplicates: the plan is good without them."""

    compared = Signal()
    """The plan stands as it does against the training set."""
    similar_found = Signal()
    """Near-duplicates are marked in it."""
    progressed = Signal()
    failed = Signal(str)

    def __init__(self, tasks: TaskRunner, existing_of: ExistingOf, similar: Similar | None, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._existing_of = existing_of
        self._similar = similar
        self._comparison: Task | None = None
        self._similarity: Task | None = None
        self.similarity_text = ""
        """How far the search for near-duplicates is, in words; empty while there is none."""

    @property
    def comparing(self) -> bool:
        """Whether it is not known yet what is there."""
        return self._comparison is not None

    def stop(self) -> None:
        """Give up what is under way."""
        for task in (self._comparison, self._similarity):
            if task is not None:
                task.cancel()
        self._comparison = self._similarity = None
        self.similarity_text = ""

    def check(self, plan: Plan, target: Id | None) -> None:
        """Judge a plan against a training set, None for a new one."""
        self.stop()
        plan.set_similar({})
        if target is None:
            plan.set_existing({})
            self.compared.emit()
            self._look_for_similar(plan, None)
            return
        existing_of = self._existing_of

        def found(existing: Existing) -> None:
            self._comparison = None
            plan.set_existing(*existing)
            self.compared.emit()
            self._look_for_similar(plan, target)

        def failed(error: Exception) -> None:
            self._comparison = None
            self.compared.emit()
            self.failed.emit(f"What is there already could not be compared. {error}")

        self._comparison = self._tasks.run(
            Lane.INTERACTIVE,
            lambda _context: existing_of(target),
            done=found,
            failed=failed,
            owner=self,
            title="Compare with what is there",
        )

    def _look_for_similar(self, plan: Plan, target: Id | None) -> None:
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

        def progress(at: tuple[int, int]) -> None:
            self.similarity_text = f"Looking for near-duplicates: {at[0]:,} of {at[1]:,}."
            self.progressed.emit()

        self._similarity = self._tasks.run(
            Lane.BATCH,
            lambda context: similar(plan, target, context),
            done=found,
            failed=failed,
            progress=progress,
            owner=self,
            title="Look for near-duplicates",
        )
