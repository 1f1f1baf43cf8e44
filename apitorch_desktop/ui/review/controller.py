"""Review of the open training set: analyzes it in the background after every change, and applies the user's decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.api.types import INBOX, Metrics, TrainingImage
from apitorch_desktop.dataset.edits.history import EditOutcome
from apitorch_desktop.dataset.review.dismissals import Dismissal, with_ids_replaced
from apitorch_desktop.dataset.review.findings import (
    DuplicateGroup,
    Findings,
    LabelIssue,
    current,
    pairs_of,
    renamed,
)
from apitorch_desktop.dataset.workspace.training import newest_version
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import ConnectionState, Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.utils.text import percent, plural

QUIET_PERIOD = 1500
"""Milliseconds without a change after which the set is analyzed again."""
RULES = (("largest", "Largest"), ("oldest", "Oldest"), ("sharpest", "Sharpest"))


class ReviewController(QObject):
    """Findings about the open training set; `found` is None until there are any."""

    changed = Signal()
    """`found` has changed."""
    progressed = Signal()
    """`busy`, `share` or `problem` has changed."""

    def __init__(self, session: Session, editing: EditController, images: GridModel, settings: Settings) -> None:
        super().__init__(session)
        self._session = session
        self._editing = editing
        self._images = images
        self._settings = settings
        self.found: Findings | None = None
        self.busy = False
        self.share: float | None = None
        """Share of the photos that were analyzed, 0…1; None during other steps."""
        self.problem = ""
        """Why the last analysis failed, or ""."""
        self.rule = settings.duplicate_rule
        self._all: Findings | None = None
        self._analyzed: list[Sequence[TrainingImage]] = []
        """Images as they were when the parts of `_all` were made."""
        self._kept: set[str] = set()
        """Ids of near-duplicates that the user chose to keep."""
        self._dismissed: frozenset[Dismissal] = frozenset()
        self._task: Task | None = None
        self._learned = ("", 0)
        """Encoder of the set's own and newest version of its classifier, as last seen."""
        self._delay = QTimer(self, interval=QUIET_PERIOD, singleShot=True)
        self._delay.timeout.connect(self._start)
        session.open_set_changed.connect(self._opened_changed)
        session.listing_changed.connect(self._listing_changed)
        session.service_connected.connect(self._listing_changed)
        session.classifier_changed.connect(self._classifier_changed)
        editing.edited.connect(self._edited)

    @property
    def metrics(self) -> Metrics | None:
        """Metrics of the open training set's classifier, as grid and sidebar show them."""
        open_set = self._session.open_set
        return open_set.classifier_status.metrics if open_set is not None else None

    # --- analysis

    def _opened_changed(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._all = self.found = None
        self._analyzed = []
        self._kept.clear()
        self._set_progress(busy=False)
        self._show()
        self._listing_changed()

    def _listing_changed(self) -> None:
        self._refresh()
        if self._session.open_set is not None and self._session.workspace is not None:
            self._delay.start()

    def _classifier_changed(self) -> None:
        """Analyze again once a classifier was learned by an encoder of the set's own, or no longer is."""
        open_set = self._session.open_set
        classifier = open_set.classifier_status.classifier if open_set is not None else None
        if open_set is None or classifier is None or classifier.status != "ready":
            return
        learned = open_set.training_set.own_encoder, newest_version(classifier)
        if learned != self._learned and (learned[0] or self._learned[0]):
            self._listing_changed()
        self._learned = learned

    def _start(self) -> None:
        open_set, connected = self._session.open_set, self._session.connected
        if open_set is None or connected is None or self._session.state is not ConnectionState.READY:
            return
        if open_set.loading:
            self._delay.start()
            return
        if self._task is not None:
            self._task.cancel()
        workspace, reviewer, dismissals = connected.workspace, connected.stores.reviewer, connected.stores.dismissals
        set_id, labels, images = open_set.training_set.id, open_set.labels, self._images.records()
        connection, encoder = workspace.connection.id, open_set.training_set.own_encoder
        early = self._all is None or self._all.label_issues is None
        prefix = "twin:"

        def job(context: JobContext) -> Findings:
            dismissed = dismissals.all(connection)
            context.post(dismissed)
            apart = [(image_id, what.removeprefix(prefix)) for image_id, what in dismissed if what.startswith(prefix)]
            return reviewer.review(
                workspace,
                set_id,
                images,
                labels,
                apart=apart,
                encoder=encoder,
                early=early,
                found=context.post,
                progress=lambda done, of: context.progress((done, of)),
                cancelled=context.cancelled,
            )

        self._set_progress(busy=True)
        self._task = self._session.run(
            "Review",
            job,
            lambda findings: self._done(findings, images),
            failed=self._failed,
            progress=lambda news: self._receive(news, images),
            lane=Lane.REVIEW,
            owner=open_set,
        )

    def _receive(self, news: Any, images: Sequence[TrainingImage]) -> None:
        if isinstance(news, frozenset):
            self._dismissed = news
        elif isinstance(news, tuple):
            done, of = news
            self._set_progress(busy=True, share=done / of if done < of else None)
        elif self._all is None or self._all.label_issues is None:
            self._take(news, [images])
        else:  # partial results of a second analysis must not hide those of the first
            before = [one for one in self._analyzed if one is not images]
            self._take(_merged(self._all, news), [*before, images])

    def _done(self, findings: Findings, images: Sequence[TrainingImage]) -> None:
        self._task = None
        self._take(findings, [images])
        self._set_progress(busy=False)

    def _failed(self, error: Exception) -> bool:
        self._task = None
        self._set_progress(busy=False, problem=error_message(error).text)
        return True

    def _set_progress(self, *, busy: bool, share: float | None = None, problem: str = "") -> None:
        self.busy, self.share, self.problem = busy, share, problem
        self.progressed.emit()

    def _take(self, findings: Findings, analyzed: list[Sequence[TrainingImage]]) -> None:
        self._all, self._analyzed = findings, analyzed
        self._refresh()

    def _refresh(self) -> None:
        open_set = self._session.open_set
        if self._all is None or open_set is None:
            return
        changed: dict[str, str | None] | None = {}
        for images in self._analyzed:
            since = self._images.changed_since(images)
            changed = None if changed is None or since is None else changed | since
        found = current(self._all, open_set.label_of, self._dismissed, changed)
        if found != self.found:
            self.found = found
            self._show()

    def _show(self) -> None:
        badges = self._badges()
        if badges != self._images.badges:
            self._images.set_badges(badges)
        self._images.set_answers((self.found and self.found.answers) or {})
        self.changed.emit()

    def _badges(self) -> dict[str, str]:
        found = self.found
        if found is None:
            return {}
        badges = {twin: "copy" for group in found.groups or () for twin in self.others(group)}
        badges |= {flagged.image: flagged.flags[0] for flagged in found.flagged or ()}
        return badges | {
            issue.image: f"{issue.likely}? {percent(issue.likely_value)}"
            for issue in found.label_issues or ()
            if issue.suspect
        }

    def _edited(self, outcome: EditOutcome) -> None:
        """Follow images to the ids that a service changed, and take over dismissals."""
        if outcome.dismissed:
            self._apply_dismissals(outcome.dismissed)
            if not all(outcome.dismissed.values()):  # near-duplicates that were dismissed count again
                self._listing_changed()
        stores, workspace = self._session.stores, self._session.workspace
        if not outcome.changed or stores is None or workspace is None:
            return
        ids = dict(outcome.changed)
        self._dismissed = frozenset(with_ids_replaced(dismissal, ids) for dismissal in self._dismissed)
        self._kept = {ids.get(image_id, image_id) for image_id in self._kept}
        if self._all is not None:
            self._all = renamed(self._all, ids)
            self._refresh()
        stores.reviewer.replace_ids(workspace.connection.id, ids)

    def ids_of(self, key: str) -> list[str]:
        """Return the ids of the images that a page shows: suspects, unsure, quality or duplicates."""
        found = self.found
        if found is None:
            return []
        if key == "suspects":
            return [issue.image for issue in found.label_issues or () if issue.suspect]
        if key == "unsure":
            return list(found.unsure or ())
        if key == "quality":
            return [*(flagged.image for flagged in found.flagged or ()), *found.unreadable]
        return [image for group in found.groups or () for image in group.images]

    # --- near-duplicates

    def keeper(self, group: DuplicateGroup) -> str:
        """Return the image of a group to keep: the user's choice, else by the rule."""
        chosen = [image_id for image_id in group.images if image_id in self._kept]
        return chosen[-1] if chosen else group.keepers.get(self.rule, group.images[0])

    def others(self, group: DuplicateGroup) -> list[str]:
        """Return the ids of a group without the one to keep."""
        kept = self.keeper(group)
        return [image_id for image_id in group.images if image_id != kept]

    def surplus(self) -> list[str]:
        """Return the ids of all near-duplicates without those to keep."""
        groups = self.found.groups if self.found is not None else None
        return [image_id for group in groups or () for image_id in self.others(group)]

    def set_rule(self, rule: str) -> None:
        """Keep the largest, the oldest or the sharpest of each group."""
        self.rule = rule
        self._kept.clear()
        self._settings.duplicate_rule = rule
        self._settings.save()
        self._show()

    def keep(self, group: DuplicateGroup, image_id: str) -> None:
        """Keep this image of a group."""
        self._kept.difference_update(group.images)
        self._kept.add(image_id)
        self._show()

    def keep_all(self, group: DuplicateGroup) -> None:
        """Dismiss a group: keep all of its images."""
        pairs, some = pairs_of(group.images), plural(len(group.images), "near-duplicate")
        self.dismiss(
            [(first, f"twin:{other}") for first, other in pairs], f"keep all of {some}", f"Kept all {len(group.images)}"
        )

    # --- acts

    def images(self, ids: Iterable[str]) -> list[TrainingImage]:
        """Return the images with these ids, as far as they exist."""
        return list(self._images.records_of(list(ids)))

    def delete(self, ids: Sequence[str]) -> None:
        """Move photos to the trash."""
        self._editing.delete(self.images(ids))
        self._refresh()

    def move(self, ids: Sequence[str], label: str) -> None:
        """Move photos to a label."""
        self._editing.move(self.images(ids), label)
        self._refresh()

    def accept(self, issues: Sequence[LabelIssue]) -> None:
        """Move photos to their likelier labels."""
        likely = {issue.image: issue.likely for issue in issues}
        self._editing.move_each([(image, likely[image.image_id]) for image in self.images(likely)])
        self._refresh()

    def confirm_labels(self, ids: Sequence[str]) -> None:
        """Confirm the labels of these photos; those without a label take the classifier's."""
        open_set = self._session.open_set
        answers = self.found.answers if self.found is not None else None
        new = [
            (image, answers[image.image_id].label)
            for image in self.images(ids)
            if image.label == INBOX and answers and image.image_id in answers
        ]
        if new:
            self._editing.move_each(new)
            self._refresh()
        ids = [image_id for image_id in ids if open_set is not None and open_set.label_of(image_id) != INBOX]
        if open_set is not None and ids:
            found = [(image_id, f"label:{label}") for image_id in ids if (label := open_set.label_of(image_id))]
            labels = plural(len(found), "label")
            self.dismiss(found, f"confirm {labels}", f"{labels} confirmed")

    def dismiss_flags(self, ids: Sequence[str]) -> None:
        """Dismiss the quality flags of these photos."""
        wanted = set(ids)
        flagged = self.found.flagged if self.found is not None else None
        found = [
            (image.image, f"flag:{flag}") for image in flagged or () if image.image in wanted for flag in image.flags
        ]
        left = f"{plural(len(wanted), 'photo')} as {'it is' if len(wanted) == 1 else 'they are'}"
        self.dismiss(found, f"leave {left}", f"Left {left}")

    def dismiss(self, what: Sequence[Dismissal], title: str, message: str) -> None:
        """Dismiss findings at once, and record that as an undoable edit with this title."""
        open_set = self._session.open_set
        new = [dismissal for dismissal in what if dismissal not in self._dismissed]
        if open_set is None or not new:
            return
        set_id = open_set.training_set.id
        self._apply_dismissals(dict.fromkeys(new, True))
        self._editing.do(
            "Keeping this",
            lambda edits, workspace, _run: edits.dismiss(workspace.connection.id, set_id, new, title),
            done=message,
            failed=lambda _fault: self._apply_dismissals(dict.fromkeys(new, False)),
        )

    def _apply_dismissals(self, dismissed: dict[Dismissal, bool]) -> None:
        """Add dismissals (True) or remove them (False)."""
        self._dismissed |= {dismissal for dismissal, fine in dismissed.items() if fine}
        self._dismissed -= {dismissal for dismissal, fine in dismissed.items() if not fine}
        self._refresh()


def _merged(known: Findings, part: Findings) -> Findings:
    """Return partial findings, completed by those known before."""
    missing = {
        name: getattr(known, name)
        for name in ("groups", "flagged", "label_issues", "answers", "unsure", "learned")
        if getattr(part, name) is None
    }
    return msgspec.structs.replace(part, **missing)
