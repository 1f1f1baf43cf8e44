"""State of a training set's classifier, polled for as long as it is expected to be trained."""

from __future__ import annotations

from time import monotonic

from PySide6.QtCore import QObject, Signal

from apitorch_desktop.api.types import Classifier, Metrics, TrainingSet
from apitorch_desktop.dataset.workspace.training import TRAINING_DELAY, newest_version, wait_until_trained
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task, TaskRunner


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
