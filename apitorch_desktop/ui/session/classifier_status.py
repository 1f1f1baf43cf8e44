"""The state of a training set's classifier, asked for as long as it is expected to learn."""

from __future__ import annotations

from time import monotonic

from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.api.types import Classifier, Metrics, TrainingSet
from apitorch_desktop.dataset.workspace.workspace import Workspace
from apitorch_desktop.ui.tasks.runner import Lane, Task, TaskRunner

POLL = 700
"""Milliseconds between two questions."""
PATIENCE = 5.0
"""Seconds after a change in which a classifier is expected to begin to learn (the service waits up to 2)."""


class ClassifierStatus(QObject):
    """What is known of one classifier; needs the extension `training`."""

    changed = Signal()

    def __init__(self, tasks: TaskRunner, workspace: Workspace, training_set: TrainingSet, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._workspace = workspace
        self._slug = training_set.slug
        self._until = 0.0
        self._task: Task | None = None
        self._timer = QTimer(self, interval=POLL, singleShot=True)
        self._timer.timeout.connect(self._ask)
        self.classifier: Classifier | None = None

    @property
    def metrics(self) -> Metrics | None:
        """Its cross-validated figures, where there are any."""
        found = self.classifier.metrics if self.classifier is not None else None
        return found or None

    @property
    def slug(self) -> str:
        """The classifier's slug, "" where the service gives none."""
        return self._slug if isinstance(self._slug, str) else ""

    def rename(self, training_set: TrainingSet) -> None:
        """The training set has another name, and its classifier perhaps another slug."""
        if training_set.slug != self._slug:
            self._slug = training_set.slug
            self.expect()

    def expect(self) -> None:
        """Something changed: ask until it has learned."""
        self._until = monotonic() + PATIENCE
        if self.slug and self._workspace.has("training") and not self._timer.isActive() and self._task is None:
            self._timer.start()

    def _ask(self) -> None:
        workspace, slug = self._workspace, self.slug
        self._task = self._tasks.run(
            Lane.INTERACTIVE,
            lambda _context: workspace.classifier(slug),
            done=self._show,
            failed=self._none,
            owner=self,
            title="Ask for the classifier’s state",
        )

    def _show(self, classifier: Classifier) -> None:
        self._task = None
        before, self.classifier = self.classifier, classifier
        if before != classifier:
            self.changed.emit()
        if classifier.status == "training" or monotonic() < self._until:
            self._timer.start()

    def _none(self, _fault: Exception) -> None:
        # Below two labels there may be none; a service that is away is told of elsewhere
        self._task = None
        if self.classifier is not None:
            self.classifier = None
            self.changed.emit()
        if monotonic() < self._until:
            self._timer.start()
