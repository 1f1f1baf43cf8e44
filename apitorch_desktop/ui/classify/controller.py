"""Classification of one photo: from a dropped photo to answers, and to another answer after a correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from apitorch_desktop.api.errors import Conflict
from apitorch_desktop.api.types import Classification, Evidence
from apitorch_desktop.dataset.batch.classification import fetch_answers
from apitorch_desktop.dataset.sources.lists.index import IMAGE_SUFFIXES
from apitorch_desktop.dataset.workspace.workspace import NeedsScratch, Workspace
from apitorch_desktop.ui.classify.answer_card import AnswerCard
from apitorch_desktop.ui.classify.feedback import FeedbackController
from apitorch_desktop.ui.classify.panel import ClassifyPanel
from apitorch_desktop.ui.classify.scratch_permission import REFUSED, ScratchPermission
from apitorch_desktop.ui.images.decode import from_image
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.error_messages import error_message
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.session.similar_photos import NearPhoto, SimilarPhotos, SimilarTo
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.drag_drop import DroppedContent, DroppedImage
from apitorch_desktop.ui.widgets.heat_map import HeatMap
from apitorch_desktop.ui.widgets.label_menu import fill_label_menu

Answers = dict[str, Classification | Exception]

EDGE = 720
"""Edge in pixels to which the photo is decoded."""
DEFAULTS = ("safe-for-work", "extract-text")
FILTER = f"Photos ({' '.join(f'*{suffix}' for suffix in sorted(IMAGE_SUFFIXES))});;All files (*)"


@dataclass(frozen=True, slots=True)
class PhotoToClassify:
    """A photo to be classified: a file, bytes, or a web address."""

    name: str
    path: Path | None = None
    data: bytes | None = None
    url: str | None = None

    def content(self) -> DroppedContent:
        """Return the photo as content that can be imported."""
        if self.path is not None:
            return DroppedContent(paths=(self.path,))
        if self.data is not None:
            return DroppedContent(images=(DroppedImage(self.data, self.name),))
        return DroppedContent(urls=(self.url or "",))


class ClassifyController(QObject):
    """Flow of the classify panel. Jobs run on lanes, and are cancelled when another photo is opened."""

    batch_requested = Signal(object, list)
    """`DroppedContent` of many photos or a folder, and the slugs to ask, empty for the chosen ones."""
    add_requested = Signal(object, object, str)
    """`DroppedContent`, a training set's id and a label: *Add to set*."""

    def __init__(
        self,
        session: Session,
        editing: EditController,
        panel: ClassifyPanel,
        theme: Theme,
        settings: Settings,
        window: QWidget,
        similar: SimilarPhotos,
    ) -> None:
        super().__init__(window)
        self._session = session
        self._similar = similar
        self._theme = theme
        self._feedback = FeedbackController(session, editing, theme, window)
        self._feedback.trained.connect(self._classify_again)
        self._permission = ScratchPermission(session, theme, window)
        self._panel = panel
        self._settings = settings
        self._window = window
        self._photo: PhotoToClassify | None = None
        self._missed = ""
        """Slug of the open training set's classifier while that is not listed yet, but a photo was classified."""
        self._slugs: list[str] = []
        """The classifiers to ask, if not the chosen ones."""
        self._removed: set[str] = set()
        self._nearest: dict[str, Sequence[NearPhoto]] = {}
        self._explained: Classification | None = None
        self._owner = QObject(self)
        panel.content_given.connect(self.begin)
        panel.file_requested.connect(self.choose_file)
        panel.selection_changed.connect(self._chosen_changed)
        panel.message_requested.connect(self._feedback.write_message)
        panel.card_created.connect(self._connect_card)
        session.classifiers_changed.connect(self._offer)
        session.open_set_changed.connect(self._offer)
        session.connection_changed.connect(self._offer)
        session.classifier_changed.connect(self._classifier_changed)
        self._offer()

    # --- which classifiers

    def _offer(self) -> None:
        """Offer the connection's classifiers; the open training set's own is chosen unless the user removed it."""
        session, panel = self._session, self._panel
        listed = list(session.classifiers)
        saved = self._saved_choice()
        slugs = [str(found.slug) for found in listed if isinstance(found.slug, str)]
        chosen = list(DEFAULTS) if saved is None else saved
        own = self._own()
        if own in slugs and own not in self._removed:
            chosen = [own, *(slug for slug in chosen if slug != own)]
        panel.set_classifiers(listed, chosen)
        own_service = session.connection is not None and session.connection.embedded
        panel.offer_message(session.unavailable_reason(""), readable=not own_service and session.connected is not None)
        panel.show_hint("" if panel.chosen or not listed else "Choose a classifier to ask.")
        if own and own != self._missed:  # another training set is open
            self._missed = ""
        if self._photo is None or not panel.chosen:
            return
        if not panel.cards:
            self.ask(panel.chosen)
        elif self._missed in panel.chosen and self._missed not in panel.cards:
            missed, self._missed = self._missed, ""
            self.ask([missed])

    def _own(self) -> str:
        """Return the slug of the open training set's classifier, "" where none is open."""
        open_set = self._session.open_set
        return open_set.classifier_status.slug if open_set is not None else ""

    def _saved_choice(self) -> list[str] | None:
        connection = self._session.connection
        return self._settings.chosen_classifiers(connection.id) if connection is not None else None

    def _chosen_changed(self, chosen: list[str]) -> None:
        connection, own = self._session.connection, self._own()
        (self._removed.discard if own in chosen else self._removed.add)(own)
        if connection is not None:  # the own classifier depends on the open training set
            self._settings.set_chosen_classifiers(connection.id, [slug for slug in chosen if slug != own])
        self._panel.show_hint("" if chosen else "Choose a classifier to ask.")
        if self._photo is None:
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
        """Let the user choose files."""
        dialog = QFileDialog(self._window, "Classify photos", str(Path.home()), FILTER)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.filesSelected.connect(lambda names: self.begin(DroppedContent(paths=tuple(map(Path, names)))))
        dialog.open()

    def begin(self, content: DroppedContent, slugs: Sequence[str] = ()) -> None:
        """Classify dropped, pasted or chosen content by `slugs` (none: the chosen ones); a batch if it is more than one."""
        count = sum(map(len, (content.paths, content.urls, content.images, content.image_ids)))
        self._slugs = list(slugs)
        if count > 1:
            self.batch_requested.emit(content, self._slugs)
            return
        self._owner.deleteLater()
        self._owner = QObject(self)
        self._panel.expect([])
        if content.problem:
            self._session.show_message(content.problem, "warn", "classify")
        if content.images:
            image = content.images[0]
            self._open(PhotoToClassify(image.name or "photo", data=image.data))
        elif content.urls:
            url = content.urls[0]
            self._open(PhotoToClassify(url.rstrip("/").rpartition("/")[2] or url, url=url))
        elif content.image_ids:
            self._open_training_image(content.image_ids[0])
        elif content.paths:
            self._open_path(content.paths[0], content)

    def _open_path(self, path: Path, content: DroppedContent) -> None:
        """Open a file, or hand a folder on as a batch."""

        def done(folder: bool) -> None:
            if folder:
                self.batch_requested.emit(content, self._slugs)
            else:
                self._open(PhotoToClassify(path.name, path=path))

        self._run(Lane.DISK, lambda _context: path.is_dir(), done, "Opening the file")

    def _open_training_image(self, image_id: str) -> None:
        session = self._session
        workspace, open_set = session.workspace, session.open_set
        image = session.images.record(image_id) if open_set is not None else None
        if workspace is None or open_set is None or image is None:
            return
        name, set_id = image.original_filename or image.filename, open_set.training_set.id
        self._panel.show_photo_name(name)
        self._run(
            Lane.INTERACTIVE,
            lambda context: workspace.image(set_id, image, cancelled=context.cancelled),
            lambda data: self._open(PhotoToClassify(name, data=data)),
            "Fetching the photo",
        )

    def _open(self, photo: PhotoToClassify) -> None:
        """Show a photo, and have it classified at the same time."""
        self._photo = photo
        self._panel.similar.show()
        self._missed = self._own() if self._own() not in self._panel.chosen else ""
        panel, workspace = self._panel, self._session.workspace
        panel.show_photo_name(photo.name)

        def decode(context: JobContext) -> QImage:
            data = photo.data
            if photo.path is not None:
                data = _read(photo.path)
            elif photo.url is not None:
                if workspace is None:
                    raise RuntimeError("the service is away")
                data = workspace.client.download(photo.url, cancelled=context.cancelled)
            return from_image(data or b"", EDGE)

        def failed(error: Exception) -> bool:
            where = "There is no photo to show" if photo.url else ""
            panel.photo.show_text(where or error_message(error).text)
            return True

        self._run(
            Lane.DISK if photo.url is None else Lane.INTERACTIVE,
            decode,
            lambda image: panel.photo.show_image(image, photo.name),
            "Opening the photo",
            failed,
        )
        if slugs := self._slugs or panel.chosen:
            self.ask(slugs)
        else:
            panel.show_hint(self._session.unavailable_reason("") or "Choose a classifier to ask.")

    # --- asking

    def ask(self, slugs: Sequence[str], note: str = "") -> None:
        """Have classifiers answer; each card shows its own answer or failure."""
        photo, workspace = self._photo, self._session.workspace
        if photo is None:
            return
        panel = self._panel
        panel.expect(list(dict.fromkeys([*(slug for slug in panel.chosen if slug in panel.cards), *slugs])))
        if workspace is None:
            for slug in slugs:
                panel.cards[slug].show_failure(self._session.unavailable_reason(""))
            return

        def answered(answers: Answers) -> None:
            for slug in slugs:
                card = panel.cards.get(slug)
                if card is not None:
                    self._show(card, answers.get(slug), note)

        def failed(error: Exception) -> bool:
            if self._needs_scratch(error, slugs):
                return True
            for slug in slugs:
                if (card := panel.cards.get(slug)) is not None:
                    card.show_failure(error_message(error).text)
            return True

        self._run(
            Lane.INTERACTIVE, lambda context: _ask(workspace, slugs, photo, context), answered, "Classifying", failed
        )

    def _show(self, card: AnswerCard, answer: Classification | Exception | None, note: str) -> None:
        if answer is None:
            card.show_failure("The service gave no answer for this classifier. Try again.")
        elif isinstance(answer, Exception):
            card.show_failure(error_message(answer).text)
            self._wait_until_ready(card, answer)
        else:
            card.show_answer(answer, note)
            card.offer_feedback("" if answer.id else "This answer cannot be corrected")
            if answer.id and isinstance(answer.version, int):
                self._show_nearest(card, answer)
                self._panel.photo.show_heat_map(None)
                if not self._session.unavailable_reason("evidence"):
                    card.offer_evidence(shown=False)

    def _switch_evidence(self, card: AnswerCard) -> None:
        """Show over the photo where the evidence for a card's answer lies, or hide that."""
        photo, answer, workspace = self._panel.photo, card.answer, self._session.workspace
        if answer is None or workspace is None:
            return
        hiding = self._explained is answer and photo.heat_map is not None
        for other in self._panel.cards.values():
            if other.why.isVisibleTo(other):
                other.offer_evidence(shown=False)
        photo.show_heat_map(None)
        card.show_note("")
        if hiding:
            return

        def done(evidence: Evidence) -> None:
            if card.answer is answer:
                self._explained = answer
                heat_map = HeatMap(evidence, self._theme.color("accent"))
                photo.show_heat_map(heat_map)
                card.offer_evidence(shown=True)
                card.show_note(heat_map.text)

        def failed(error: Exception) -> bool:
            card.show_note(error_message(error).text)
            return True

        self._run(
            Lane.INTERACTIVE,
            lambda context: workspace.run(
                lambda: workspace.client.evidence(
                    classification_id=answer.id, label=answer.label, cancelled=context.cancelled
                )
            ),
            done,
            "Explaining the answer",
            failed,
        )

    def _show_nearest(self, card: AnswerCard, answer: Classification) -> None:
        def done(found: Sequence[NearPhoto]) -> None:
            if card.answer is answer:
                self._nearest[card.slug] = found
                card.nearest.show_images([(near.thumbnail, near.text) for near in found])

        edge = round(card.nearest.edge * card.devicePixelRatioF())
        self._similar.nearest(SimilarTo(answer.label, classification_id=answer.id), edge, done, card)

    def _show_near_photo(self, slug: str, at: int) -> None:
        image = self._nearest[slug][at].image
        self._similar.photo_requested.emit(image.training_set_id, image.image_id)

    def similar_reason(self, *, everywhere: bool = False) -> str:
        """Return why no photos like the one in the panel can be found, "" if they can."""
        return self._similar.reason(everywhere=everywhere) if self._photo is not None else "Drop a photo here first."

    def find_similar(self, *, everywhere: bool = False) -> None:
        """Find photos like the one in the panel."""
        if (photo := self._photo) is not None:
            found = SimilarTo(photo.name, data=photo.data, path=photo.path, url=photo.url)
            self._similar.find(found, everywhere=everywhere)

    def _wait_until_ready(self, card: AnswerCard, error: Exception) -> None:
        """Mark the card as waiting if its classifier is being trained for the first time."""
        status = self._session.open_set.classifier_status if self._session.open_set is not None else None
        state = status.classifier if status is not None and status.slug == card.slug else None
        if isinstance(error, Conflict) and state is not None and state.status == "training":
            card.show_working("It is learning, and will answer when that is done.")

    def _classifier_changed(self) -> None:
        """Retry the card that waits for its classifier to be trained."""
        open_set = self._session.open_set
        card = self._panel.cards.get(open_set.classifier_status.slug) if open_set is not None else None
        state = open_set.classifier_status.classifier if open_set is not None else None
        if card is not None and card.waiting and state is not None and state.status in ("ready", "failed"):
            self.ask([card.slug])

    def _needs_scratch(self, error: Exception, slugs: Sequence[str]) -> bool:
        """Ask for permission to upload local files, where the service needs that; True if it does."""
        if not isinstance(error, NeedsScratch):
            return False
        self._permission.ask(lambda: self.ask(slugs), lambda: self._refuse_scratch(slugs))
        return True

    def _refuse_scratch(self, slugs: Sequence[str]) -> None:
        for slug in slugs:
            if (card := self._panel.cards.get(slug)) is not None:
                card.show_failure(REFUSED)

    # --- feedback

    def _connect_card(self, card: AnswerCard) -> None:
        card.confirmed.connect(lambda: self._feedback.confirm(card))
        card.correction_requested.connect(lambda: self._feedback.correct(card))
        card.retry_requested.connect(lambda: self.ask([card.slug]))
        card.nearest.chosen.connect(lambda at: self._show_near_photo(card.slug, at))
        card.evidence_requested.connect(lambda: self._switch_evidence(card))
        card.add_menu_opening.connect(lambda menu: self._fill_add(menu, card))

    def _classify_again(self, slug: str, label: str) -> None:
        photo, workspace = self._photo, self._session.workspace
        if photo is None or workspace is None:
            return

        def answered(answers: Answers) -> None:
            card, answer = self._panel.cards.get(slug), answers.get(slug)
            if card is None or answer is None or isinstance(answer, Exception):
                return
            learned = answer.label == label
            note = "Learned from it." if learned else f"It has learned, but needs more photos of “{label}”."
            self._show(card, answer, note)

        self._run(
            Lane.INTERACTIVE, lambda context: _ask(workspace, [slug], photo, context), answered, "Classifying again"
        )

    def _fill_add(self, menu: QMenu, card: AnswerCard) -> None:
        """Fill the menu with the training sets and their labels, the answer's own label first."""
        photo = self._photo
        if photo is not None:
            first = [card.answer.label] if card.answer is not None else []
            content = photo.content()
            fill_label_menu(
                menu,
                self._session.training_sets,
                first,
                lambda set_id, name: self.add_requested.emit(content, set_id, name),
            )

    # --- lanes

    def _run(
        self,
        lane: Lane,
        job: Callable[[JobContext], Any],
        done: Callable[[Any], object],
        title: str,
        failed: Callable[[Exception], bool | None] | None = None,
    ) -> None:
        def show_failure(error: Exception) -> bool:
            self._panel.photo.show_text(error_message(error).text)
            return True

        self._session.run(title, job, done, failed=failed or show_failure, lane=lane, owner=self._owner)


def _ask(workspace: Workspace, slugs: Sequence[str], photo: PhotoToClassify, context: JobContext) -> Answers:
    def call(called: Sequence[str]) -> list[Classification]:
        context.check()
        return workspace.classify(
            called,
            path=photo.path,
            data=photo.data,
            filename=photo.name,
            image_url=photo.url,
            cancelled=context.cancelled,
        )

    return dict(fetch_answers(call, slugs))


def _read(path: Path) -> bytes:
    from apitorch_desktop.vision.images import MAX_BYTES

    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
