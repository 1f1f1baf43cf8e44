"""From a dropped photo to an answer, and from a wrong answer to a right one: what the classify panel shows is done here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from PySide6.QtCore import QObject, QTimer, Signal

from apitorch_desktop.ui.faults import explain
from apitorch_desktop.ui.status_line import Message
from apitorch_desktop.ui.tasks import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PySide6.QtCore import QSettings
    from PySide6.QtGui import QImage
    from PySide6.QtWidgets import QMenu, QWidget

    from apitorch_desktop.api.types import Classification, Classifier, TrainingSet
    from apitorch_desktop.dataset.workspace import Workspace
    from apitorch_desktop.ui.answer_card import AnswerCard
    from apitorch_desktop.ui.classify_panel import ClassifyPanel
    from apitorch_desktop.ui.editing import Editing
    from apitorch_desktop.ui.grid.drops import DroppedContent
    from apitorch_desktop.ui.session import Session
    from apitorch_desktop.ui.tasks import Context
    from apitorch_desktop.ui.theme import Theme

    Answers = dict[str, Classification | Exception]

EDGE = 720
"""Pixels of the shorter side at which the photo is shown."""
POLL = 400
"""Milliseconds between two looks at a classifier that learns."""
PATIENCE = 90
"""Looks until it is given up: a classifier of 600 photos learns in seconds, one of 8,000 in some ten."""
DEFAULTS = ("safe-for-work", "extract-text")
FILTER = "Photos (*.jpg *.jpeg *.png *.webp *.gif *.tif *.tiff *.bmp);;All files (*)"


@dataclass(frozen=True, slots=True)
class Shot:
    """The photo that is asked about: a file, bytes, or an address."""

    name: str
    path: Path | None = None
    data: bytes | None = None
    url: str | None = None

    def content(self) -> DroppedContent:
        """As something that can be imported."""
        from apitorch_desktop.ui.grid.drops import DroppedContent, Picture

        if self.path is not None:
            return DroppedContent(paths=(self.path,))
        if self.data is not None:
            return DroppedContent(pictures=(Picture(self.data, self.name),))
        return DroppedContent(urls=(self.url or "",))


class Classifying(QObject):
    """The flow of the classify panel. Everything that takes time runs on lanes; what belongs to an older photo is dropped."""

    batch_wanted = Signal(object)
    """`DroppedContent` of many photos or a folder."""
    add_wanted = Signal(object, str, str)
    """`DroppedContent`, a training set's id and a label: *Add to set*."""

    def __init__(
        self,
        session: Session,
        editing: Editing,
        panel: ClassifyPanel,
        theme: Theme,
        settings: QSettings,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._session = session
        self._editing = editing
        self._panel = panel
        self._theme = theme
        self._settings = settings
        self._window = window
        self._shot: Shot | None = None
        self._turn = QObject(self)
        panel.content_given.connect(self.begin)
        panel.file_wanted.connect(self.choose_file)
        panel.chosen_changed.connect(self._chosen_changed)
        panel.message_wanted.connect(self._write_message)
        panel.card_made.connect(self._wire_card)
        session.classifiers_changed.connect(self._offer)
        session.opened_changed.connect(self._offer)
        session.connection_changed.connect(self._offer)
        session.classifier_changed.connect(self._classifier_changed)
        self._offer()

    # --- which classifiers

    def _offer(self) -> None:
        """Offer the connection's classifiers; the open training set's own is asked unless it was left out."""
        session, panel = self._session, self._panel
        listed = list(session.classifiers)
        kept = self._kept()
        slugs = [str(one.slug) for one in listed if isinstance(one.slug, str)]
        chosen = list(DEFAULTS) if kept is None else kept
        if session.opened is not None and (own := session.opened.learning.slug) in slugs:
            others = {str(one.slug) for one in session.training_sets} - {own}
            chosen = [own, *(slug for slug in chosen if slug not in others and slug != own)]
        panel.set_classifiers(listed, chosen)
        panel.offer_message(session.why_not(""))
        panel.show_hint("" if panel.chosen or not listed else "Choose a classifier to ask.")
        asked = list(panel.cards)
        if self._shot is not None and panel.chosen and not asked:
            self.ask(panel.chosen)

    def _kept(self) -> list[str] | None:
        connection = self._session.connection
        kept = self._settings.value(f"classify/{connection.id}") if connection is not None else None
        if kept is None:
            return None
        return [kept] if isinstance(kept, str) else [str(one) for one in kept if one]

    def _chosen_changed(self, chosen: list[str]) -> None:
        connection = self._session.connection
        if connection is not None:
            self._settings.setValue(f"classify/{connection.id}", chosen or [""])
        self._panel.show_hint("" if chosen else "Choose a classifier to ask.")
        if self._shot is None:
            return
        new = [slug for slug in chosen if slug not in self._panel.cards]
        answers = {slug: card.answer for slug, card in self._panel.cards.items() if card.answer is not None}
        self._panel.expect(chosen)
        for slug, answer in answers.items():
            if slug in self._panel.cards:
                self._panel.cards[slug].show_answer(answer)
        if new:
            self.ask(new)

    # --- the photo

    def choose_file(self) -> None:
        """Ask for a file."""
        from PySide6.QtWidgets import QFileDialog

        names, _ = QFileDialog.getOpenFileNames(self._window, "Classify photos", str(Path.home()), FILTER)
        if names:
            from apitorch_desktop.ui.grid.drops import DroppedContent

            self.begin(DroppedContent(paths=tuple(Path(name) for name in names)))

    def begin(self, content: DroppedContent) -> None:
        """Classify what was dropped, pasted or chosen."""
        count = sum(map(len, (content.paths, content.urls, content.pictures, content.image_ids)))
        if count > 1:
            self.batch_wanted.emit(content)
            return
        self._turn.deleteLater()
        self._turn = QObject(self)
        self._panel.expect([])
        if content.pictures:
            picture = content.pictures[0]
            self._open(Shot(picture.name or "picture", data=picture.data))
        elif content.urls:
            self._open(Shot(content.urls[0].rstrip("/").rpartition("/")[2] or content.urls[0], url=content.urls[0]))
        elif content.image_ids:
            self._open_training_image(content.image_ids[0])
        elif content.paths:
            self._look_at_path(content.paths[0], content)

    def _look_at_path(self, path: Path, content: DroppedContent) -> None:
        """A folder is many photos; whether it is one, the disk has to be asked."""

        def looked(folder: bool) -> None:
            if folder:
                self.batch_wanted.emit(content)
            else:
                self._open(Shot(path.name, path=path))

        self._run(Lane.DISK, lambda _context: path.is_dir(), looked, "Look at the file")

    def _open_training_image(self, image_id: str) -> None:
        session = self._session
        workspace, opened = session.workspace, session.opened
        image = session.images.record(image_id) if opened is not None else None
        if workspace is None or opened is None or image is None:
            return
        name, set_id = image.original_filename or image.filename, opened.training_set.id
        self._panel.show_photo_name(name)
        self._run(
            Lane.INTERACTIVE,
            lambda context: workspace.image(set_id, image, cancelled=context.cancelled),
            lambda data: self._open(Shot(name, data=data)),
            "Fetch the photo",
        )

    def _open(self, shot: Shot) -> None:
        """Show the photo, and ask about it at the same time."""
        self._shot = shot
        panel, workspace = self._panel, self._session.workspace
        panel.show_photo_name(shot.name)

        def decode(context: Context) -> QImage:
            from apitorch_desktop.ui.grid.pictures import from_image

            data = shot.data
            if shot.path is not None:
                data = _read(shot.path)
            elif shot.url is not None:
                if workspace is None:
                    raise RuntimeError("the service is away")
                data = workspace.client.download(shot.url, cancelled=context.cancelled)
            return from_image(data or b"", EDGE)

        def failed(fault: Exception) -> bool:
            where = "There is no picture to show" if shot.url else ""
            panel.photo.show_text(where or explain(fault).text)
            return True

        self._run(
            Lane.DISK if shot.url is None else Lane.INTERACTIVE,
            decode,
            lambda image: panel.photo.show_image(image, shot.name),
            "Open the photo",
            failed,
        )
        if panel.chosen:
            self.ask(panel.chosen)
        else:
            panel.show_hint(self._session.why_not("") or "Choose a classifier to ask.")

    # --- asking

    def ask(self, slugs: Sequence[str], note: str = "") -> None:
        """Ask classifiers about the photo; each card shows its own answer or failure."""
        shot, workspace = self._shot, self._session.workspace
        if shot is None:
            return
        panel = self._panel
        panel.expect(list(dict.fromkeys([*(slug for slug in panel.chosen if slug in panel.cards), *slugs])))
        if workspace is None:
            for slug in slugs:
                panel.cards[slug].show_failure(self._session.why_not(""))
            return

        def answered(answers: Answers) -> None:
            for slug in slugs:
                card = panel.cards.get(slug)
                if card is not None:
                    self._show(card, answers.get(slug), note)

        def failed(fault: Exception) -> bool:
            if self._needs_scratch(fault, slugs):
                return True
            for slug in slugs:
                if (card := panel.cards.get(slug)) is not None:
                    card.show_failure(explain(fault).text)
            return True

        self._run(Lane.INTERACTIVE, lambda context: _ask(workspace, slugs, shot, context), answered, "Classify", failed)

    def _show(self, card: AnswerCard, answer: Classification | Exception | None, note: str) -> None:
        if answer is None:
            card.show_failure("The service gave no answer for this classifier. Try again.")
        elif isinstance(answer, Exception):
            card.show_failure(explain(answer).text)
            self._wait_until_ready(card, answer)
        else:
            card.show_answer(answer, note)
            card.offer_feedback("" if answer.id else "This answer cannot be corrected")

    def _wait_until_ready(self, card: AnswerCard, fault: Exception) -> None:
        """A classifier that is only just learning is asked as soon as it can answer."""
        from apitorch_desktop.api.errors import Conflict

        learning = self._session.opened.learning if self._session.opened is not None else None
        state = learning.classifier if learning is not None and learning.slug == card.slug else None
        if isinstance(fault, Conflict) and state is not None and state.status == "training":
            card.show_working("It is just learning, and answers as soon as it can.")

    def _classifier_changed(self) -> None:
        """Ask the cards again that waited for the classifier to learn."""
        opened = self._session.opened
        card = self._panel.cards.get(opened.learning.slug) if opened is not None else None
        state = opened.learning.classifier if opened is not None else None
        if card is not None and card.waiting and state is not None and state.status in ("ready", "failed"):
            self.ask([card.slug])

    def _needs_scratch(self, fault: Exception, slugs: Sequence[str]) -> bool:
        """Where files can only be classified by URL, ask once for the training set to put them in for a moment."""
        from apitorch_desktop.dataset.workspace import NeedsScratch

        if not isinstance(fault, NeedsScratch):
            return False
        from apitorch_desktop.ui.scratch_dialog import ScratchDialog

        session = self._session
        name = session.connection.name if session.connection is not None else "This service"
        dialog = ScratchDialog(self._theme, name, session.training_sets, self._window)
        dialog.agreed.connect(lambda set_id: self._allow_scratch(set_id, slugs))
        dialog.rejected.connect(lambda: self._refuse_scratch(slugs))
        dialog.open()
        return True

    def _allow_scratch(self, set_id: Any, slugs: Sequence[str]) -> None:
        from dataclasses import replace

        session = self._session
        stores, connection, workspace = session.stores, session.connection, session.workspace
        if stores is None or connection is None or workspace is None:
            return
        changed = replace(connection, scratch_training_set=set_id)
        workspace.connection = session.connection = changed
        connections = stores.connections
        self._run(
            Lane.DISK, lambda _context: connections.update(changed), lambda _done: self.ask(slugs), "Keep the leave"
        )

    def _refuse_scratch(self, slugs: Sequence[str]) -> None:
        for slug in slugs:
            if (card := self._panel.cards.get(slug)) is not None:
                card.show_failure("This service classifies photos by their address only. Drop a URL, or give leave.")

    # --- what the person says to an answer

    def _wire_card(self, card: AnswerCard) -> None:
        card.right_said.connect(lambda: self._right(card))
        card.wrong_said.connect(lambda: self._wrong(card))
        card.again_wanted.connect(lambda: self.ask([card.slug]))
        card.add_menu_wanted.connect(lambda menu: self._fill_add(menu, card))

    def _right(self, card: AnswerCard) -> None:
        if card.answer is not None:
            self._correct(card, card.answer, card.answer.label)

    def _wrong(self, card: AnswerCard) -> None:
        from apitorch_desktop.ui.feedback_dialog import FeedbackDialog

        answer = card.answer
        if answer is None:
            return
        own = self._set_of(card.slug)
        fixed = "" if own is not None else f"The labels of “{card.slug}” are fixed."
        labels = self._labels_for(answer, own)
        dialog = FeedbackDialog(
            self._theme, answer.label, labels, no_new_label=fixed if labels else "", parent=self._window
        )
        dialog.corrected.connect(lambda label: self._correct(card, answer, label))
        dialog.open()

    def _set_of(self, slug: str) -> TrainingSet | None:
        return next((one for one in self._session.training_sets if one.slug == slug), None)

    def _labels_for(self, answer: Classification, own: TrainingSet | None) -> list[str]:
        """The labels that could be right: the next best answers first, then the rest."""
        likely = [other.label for other in (answer.alternatives or ())]
        known = next((one for one in self._session.classifiers if one.slug == answer.classifier), None)
        listed = [
            *((known.labels or ()) if known is not None else ()),
            *((own.labels or ()) if own is not None else ()),
        ]
        opened = self._session.opened
        if opened is not None and own is not None and opened.training_set.id == own.id:
            listed += opened.labels
        return list(dict.fromkeys([*likely, *listed]))

    def _correct(self, card: AnswerCard, answer: Classification, right: str) -> None:
        """Send the right label; once the classifier has learned, ask it again."""
        own = self._set_of(card.slug)
        ids = {one.label: one.label_id for one in (answer, *(answer.alternatives or ()))}
        opened = self._session.opened
        if opened is not None and own is not None and opened.training_set.id == own.id:
            ids[right] = opened.label_id(right) or ids.get(right, UNSET)
        label_id = ids.get(right)
        set_id = own.id if own is not None else ""
        agreed = right == answer.label
        card.show_note("Sending…", busy=True)

        def done(_outcome: object) -> None:
            if own is None:
                card.show_note("Thank you: it is kept for this classifier.")
                self._session.refresh_sets()
            elif self._session.why_not("training"):
                card.show_note("Sent. The service learns from it in its own time; try again later.")
            else:
                card.show_note("Learning from it…", busy=True)
                self._watch(card.slug, answer, right)

        self._editing.do(
            "Sending the correction",
            lambda edits, workspace, _progress: edits.correct(
                workspace, answer, right, training_set_id=set_id, label_id=label_id or None
            ),
            done=f"Confirmed “{right}”" if agreed else f"Corrected to “{right}”",
            then=done,
            failed=lambda _fault: card.show_note(""),
        )

    def _watch(self, slug: str, before: Classification, right: str) -> None:
        """Look at the classifier until a newer version than the one that answered is ready, then ask it again."""
        workspace = self._session.workspace
        turn = self._turn
        old = before.version if isinstance(before.version, int) else 0
        left = [PATIENCE]

        def look() -> None:
            if workspace is None or turn is not self._turn:
                return
            self._run(Lane.INTERACTIVE, lambda _context: workspace.classifier(slug), looked, "Has it learned?", tired)

        def looked(found: Classifier) -> None:
            card = self._panel.cards.get(slug)
            version = found.version if isinstance(found.version, int) else 0
            left[0] -= 1
            if card is None or card.answer is not before:
                return
            if version > old and found.status == "ready":
                self._ask_again(slug, right)
            elif found.status == "failed" or left[0] <= 0:
                card.show_note(str(found.status_message or "It is still learning: try again in a moment."))
            else:
                QTimer.singleShot(POLL, self._turn, look)

        def tired(_fault: Exception) -> bool:
            left[0] -= 1
            if left[0] > 0:
                QTimer.singleShot(POLL * 2, self._turn, look)
            return True

        look()

    def _ask_again(self, slug: str, right: str) -> None:
        shot, workspace = self._shot, self._session.workspace
        if shot is None or workspace is None:
            return

        def answered(answers: Answers) -> None:
            card, answer = self._panel.cards.get(slug), answers.get(slug)
            if card is None or answer is None or isinstance(answer, Exception):
                return
            learned = answer.label == right
            note = "Learned from it." if learned else f"It has learned, but wants more photos of “{right}”."
            self._show(card, answer, note)

        self._run(Lane.INTERACTIVE, lambda context: _ask(workspace, [slug], shot, context), answered, "Classify again")

    def _fill_add(self, menu: QMenu, card: AnswerCard) -> None:
        """Training sets with their labels; the answer's own label first."""
        from apitorch_desktop.ui.label_menu import fill

        shot = self._shot
        if shot is not None:
            said = [card.answer.label] if card.answer is not None else []
            content = shot.content()
            fill(menu, self._session.training_sets, said, lambda one, name: self.add_wanted.emit(content, one, name))

    def _write_message(self) -> None:
        from apitorch_desktop.ui.feedback_dialog import MessageDialog

        session = self._session
        workspace = session.workspace
        if workspace is None or session.connection is None:
            return
        dialog = MessageDialog(self._theme, f"“{session.connection.name}”", self._window)
        dialog.sent.connect(
            lambda text: session.tasks.run(
                Lane.INTERACTIVE,
                lambda _context: workspace.message(text),
                done=lambda _answer: session.said.emit(Message("Your message was sent.", "muted", "message")),
                failed=lambda fault: session.failed(fault, "Sending the message"),
                owner=session.turn,
                title="Send the message",
            )
        )
        dialog.open()

    # --- lanes

    def _run(
        self,
        lane: Lane,
        job: Callable[[Context], Any],
        done: Callable[[Any], object],
        title: str,
        failed: Callable[[Exception], bool | None] | None = None,
    ) -> None:
        def refused(fault: Exception) -> bool:
            self._panel.photo.show_text(explain(fault).text)
            return True

        self._session.tasks.run(lane, job, done=done, failed=failed or refused, owner=self._turn, title=title)


def _ask(workspace: Workspace, slugs: Sequence[str], shot: Shot, context: Context) -> Answers:
    """One call for all; where the service refuses it, one for each, so that each says what is the matter with it."""
    from apitorch_desktop.api.errors import BadRequest, NotFound, ServerFault

    def call(some: Sequence[str]) -> list[Classification]:
        return workspace.classify(
            some, path=shot.path, data=shot.data, filename=shot.name, image_url=shot.url, cancelled=context.cancelled
        )

    answers: Answers = {}
    try:
        answers.update(zip(slugs, call(slugs), strict=False))
    except (BadRequest, NotFound, ServerFault) as fault:
        if len(slugs) == 1:
            return {slugs[0]: fault}
        for slug in slugs:
            context.check()
            answers |= _ask(workspace, [slug], shot, context)
    return answers


def _read(path: Path) -> bytes:
    from apitorch_desktop.vision.images import MAX_BYTES

    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
