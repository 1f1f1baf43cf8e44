"""Review of the open training set: looked at in the background after every change; what is done about what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.edits.history import EditOutcome
from apitorch_desktop.dataset.review.dismissals import Dismissal
from apitorch_desktop.dataset.review.findings import DuplicateGroup, Findings, LabelIssue
from apitorch_desktop.ui.grid.model import GridModel
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane, Task
from apitorch_desktop.utils.text import plural

QUIET_PERIOD = 1500
"""Milliseconds without a change after which the set is looked at again."""
RULES = (("largest", "Largest"), ("oldest", "Oldest"), ("sharpest", "Sharpest"))


class ReviewController(QObject):
    """What is known of the open set. `found` is None until something is."""

    changed = Signal()
    """What was found is another."""
    progressed = Signal()
    """`busy`, `share` or `problem` is another."""

    def __init__(self, session: Session, editing: EditController, images: GridModel, settings: Settings) -> None:
        super().__init__(session)
        self._session = session
        self._editing = editing
        self._images = images
        self._settings = settings
        self.found: Findings | None = None
        self.busy = False
        self.share: float | None = None
        """How much of the photos was looked at, 0…1; None where that is not what is being done."""
        self.problem = ""
        """Why the last look came to nothing."""
        self.rule = settings.duplicate_rule
        self._all: Findings | None = None
        self._kept: set[str] = set()
        """Photos chosen to be kept by hand."""
        self._dismissed: frozenset[Dismissal] = frozenset()
        self._task: Task | None = None
        self._delay = QTimer(self, interval=QUIET_PERIOD, singleShot=True)
        self._delay.timeout.connect(self._start)
        session.open_set_changed.connect(self._opened_changed)
        session.listing_changed.connect(self._listing_changed)
        session.service_connected.connect(self._listing_changed)
        editing.edited.connect(self._edited)

    # --- looking

    def _opened_changed(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._all = self.found = None
        self._kept.clear()
        self._set_progress(busy=False)
        self._show()
        self._listing_changed()

    def _listing_changed(self) -> None:
        self._refresh()
        if self._session.open_set is not None and self._session.workspace is not None:
            self._delay.start()

    def _start(self) -> None:
        open_set, workspace, stores = self._session.open_set, self._session.workspace, self._session.stores
        if open_set is None or workspace is None or stores is None or self._session.state.value != "ready":
            return
        if open_set.loading:
            self._delay.start()
            return
        if self._task is not None:
            self._task.cancel()
        reviewing, dismissals = stores.reviewer, stores.dismissals
        set_id, labels, images = open_set.training_set.id, open_set.labels, self._images.records()
        connection = workspace.connection.id
        twin = "twin:"

        def job(context: JobContext) -> Findings:
            dismissed = dismissals.all(connection)
            context.post(dismissed)
            apart = [(one, what.removeprefix(twin)) for one, what in dismissed if what.startswith(twin)]
            return reviewing.review(
                workspace,
                set_id,
                images,
                labels,
                apart=apart,
                found=context.post,
                progress=lambda done, of: context.progress((done, of)),
                cancelled=context.cancelled,
            )

        self._set_progress(busy=True)
        self._task = self._session.tasks.run(
            Lane.REVIEW,
            job,
            done=self._done,
            failed=self._failed,
            progress=self._receive,
            owner=open_set,
            title="Review",
        )

    def _receive(self, news: Any) -> None:
        if isinstance(news, frozenset):
            self._dismissed = news
        elif isinstance(news, tuple):
            done, of = news
            self._set_progress(busy=True, share=done / of if done < of else None)
        elif self._all is None or self._all.label_issues is None:
            self._take(news)
        else:  # parts of a second look must not take away what is known of the first
            self._take(_merged(self._all, news))

    def _done(self, findings: Findings) -> None:
        self._task = None
        self._take(findings)
        self._set_progress(busy=False)

    def _failed(self, error: Exception) -> bool:
        from apitorch_desktop.ui.session.error_messages import error_message

        self._task = None
        self._set_progress(busy=False, problem=error_message(error).text)
        return True

    def _set_progress(self, *, busy: bool, share: float | None = None, problem: str = "") -> None:
        self.busy, self.share, self.problem = busy, share, problem
        self.progressed.emit()

    def _take(self, findings: Findings) -> None:
        self._all = findings
        self._refresh()

    def _refresh(self) -> None:
        from apitorch_desktop.dataset.review.findings import current

        open_set = self._session.open_set
        if self._all is None or open_set is None:
            return
        found = current(self._all, open_set.label_of, self._dismissed)
        if found != self.found:
            self.found = found
            self._show()

    def _show(self) -> None:
        badges = self._badges()
        if badges != self._images.badges:
            self._images.set_badges(badges)
        self.changed.emit()

    def _badges(self) -> dict[str, str]:
        found = self.found
        if found is None:
            return {}
        badges = {twin: "copy" for group in found.groups or () for twin in self.others(group)}
        badges |= {one.image: one.flags[0] for one in found.flagged or ()}
        return badges | {one.image: f"{one.likely}?" for one in found.label_issues or () if one.suspect}

    def _edited(self, outcome: EditOutcome) -> None:
        """Ids that a service changed: what is known of the images holds. And what was dismissed, or is no more."""
        if outcome.dismissed:
            self._apply_dismissals(outcome.dismissed)
            if not all(outcome.dismissed.values()):  # groups that were kept apart are found again
                self._listing_changed()
        stores, workspace = self._session.stores, self._session.workspace
        if not outcome.changed or stores is None or workspace is None:
            return
        from apitorch_desktop.dataset.review.dismissals import with_ids_replaced
        from apitorch_desktop.dataset.review.findings import renamed

        ids = dict(outcome.changed)
        self._dismissed = frozenset(with_ids_replaced(one, ids) for one in self._dismissed)
        self._kept = {ids.get(one, one) for one in self._kept}
        if self._all is not None:
            self._all = renamed(self._all, ids)
            self._refresh()
        stores.reviewer.replace_ids(workspace.connection.id, ids)

    def ids_of(self, key: str) -> list[str]:
        """Ids of the images a page of the panel shows: suspects, unsure, quality, duplicates."""
        found = self.found
        if found is None:
            return []
        if key == "suspects":
            return [one.image for one in found.label_issues or () if one.suspect]
        if key == "unsure":
            return list(found.unsure or ())
        if key == "quality":
            return [*(one.image for one in found.flagged or ()), *found.unreadable]
        return [image for group in found.groups or () for image in group.images]

    # --- near-duplicates

    def keeper(self, group: DuplicateGroup) -> str:
        """The one of a group to be kept: chosen by hand, else by the rule."""
        by_hand = [one for one in group.images if one in self._kept]
        return by_hand[-1] if by_hand else group.keepers.get(self.rule, group.images[0])

    def others(self, group: DuplicateGroup) -> list[str]:
        """Ids of those that may go."""
        kept = self.keeper(group)
        return [one for one in group.images if one != kept]

    def surplus(self) -> list[str]:
        """Ids of all that may go."""
        groups = self.found.groups if self.found is not None else None
        return [one for group in groups or () for one in self.others(group)]

    def set_rule(self, rule: str) -> None:
        """Keep the largest, the oldest or the sharpest of each group."""
        self.rule = rule
        self._kept.clear()
        self._settings.duplicate_rule = rule
        self._settings.save()
        self._show()

    def keep(self, group: DuplicateGroup, image_id: str) -> None:
        """Keep this one of a group."""
        self._kept.difference_update(group.images)
        self._kept.add(image_id)
        self._show()

    def keep_all(self, group: DuplicateGroup) -> None:
        """They are no duplicates: keep all."""
        from apitorch_desktop.dataset.review.findings import pairs_of

        pairs, some = pairs_of(group.images), plural(len(group.images), "near-duplicate")
        self.dismiss(
            [(one, f"twin:{other}") for one, other in pairs], f"keep all of {some}", f"Kept all {len(group.images)}"
        )

    # --- acts

    def images(self, ids: Iterable[str]) -> list[TrainingImage]:
        """Records of images that are there."""
        wanted = dict.fromkeys(ids)
        found = {image.image_id: image for image in self._images.records() if image.image_id in wanted}
        return [found[one] for one in wanted if one in found]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete photos; they go to the trash."""
        self._editing.delete(self.images(ids))
        self._refresh()

    def move(self, ids: Sequence[str], label: str) -> None:
        """Put photos under a label."""
        self._editing.move(self.images(ids), label)
        self._refresh()

    def accept(self, doubts: Sequence[LabelIssue]) -> None:
        """Put photos under the labels that are likelier."""
        by_label: dict[str, list[str]] = {}
        for one in doubts:
            by_label.setdefault(one.likely, []).append(one.image)
        for label, ids in by_label.items():
            self.move(ids, label)

    def confirm_labels(self, ids: Sequence[str]) -> None:
        """The labels of these photos are right."""
        open_set = self._session.open_set
        if open_set is not None:
            found = [(one, f"label:{label}") for one in ids if (label := open_set.label_of(one))]
            labels = plural(len(found), "label")
            self.dismiss(found, f"confirm {labels}", f"{labels} confirmed")

    def dismiss_flags(self, ids: Sequence[str]) -> None:
        """These photos are fine as they are."""
        wanted = set(ids)
        flagged = self.found.flagged if self.found is not None else None
        found = [(one.image, f"flag:{flag}") for one in flagged or () if one.image in wanted for flag in one.flags]
        left = f"{plural(len(wanted), 'photo')} as {'it is' if len(wanted) == 1 else 'they are'}"
        self.dismiss(found, f"leave {left}", f"Left {left}")

    def dismiss(self, what: Sequence[Dismissal], title: str, said: str) -> None:
        """These are fine: takes effect at once, and goes on the journal of edits as `title`."""
        open_set = self._session.open_set
        new = [one for one in what if one not in self._dismissed]
        if open_set is None or not new:
            return
        set_id = open_set.training_set.id
        self._apply_dismissals(dict.fromkeys(new, True))
        self._editing.do(
            "Keeping this",
            lambda edits, workspace, _run: edits.dismiss(workspace.connection.id, set_id, new, title),
            done=said,
            failed=lambda _fault: self._apply_dismissals(dict.fromkeys(new, False)),
        )

    def _apply_dismissals(self, dismissed: dict[Dismissal, bool]) -> None:
        """Take what is fine, or is not so any more, into account."""
        self._dismissed |= {one for one, fine in dismissed.items() if fine}
        self._dismissed -= {one for one, fine in dismissed.items() if not fine}
        self._refresh()


def _merged(known: Findings, part: Findings) -> Findings:
    """A part, with what it does not tell yet as it was known before."""
    import msgspec

    missing = {
        name: getattr(known, name)
        for name in ("groups", "flagged", "label_issues", "unsure", "learned")
        if getattr(part, name) is None
    }
    return msgspec.structs.replace(part, **missing)
