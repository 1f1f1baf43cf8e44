"""Labeling by keyboard: keys of labels, letters that pick or make one, auto-advance, the next suspect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSlider,
    QWidget,
)

from apitorch_desktop.api.slugs import snake_case
from apitorch_desktop.api.types import INBOX, TrainingImage, label_name
from apitorch_desktop.dataset.edits.history import EditOutcome
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.dataset.workspace.listing import without_label
from apitorch_desktop.ui.labeling.key_strip import KeyStrip
from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.review.navigation import ReviewNavigation
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    ElidedLabel,
    button,
    enable_unless,
    in_column,
    in_row,
    label,
    lay_out_dialog,
    native_keys,
    spin_box,
    surface,
)
from apitorch_desktop.utils.text import plural

KEYS = "1234567890"


class LabelKeys(QObject):
    """The keys of the open training set's labels."""

    changed = Signal()

    def __init__(self, session: Session, edits: EditController, settings: Settings) -> None:
        super().__init__(session)
        self._session = session
        self._settings = settings
        self._fixed: dict[str, str] = {}
        """Key → label as used or chosen; a missing label keeps its key until another label needs that."""
        self._shown: dict[str, str] = {}
        session.open_set_changed.connect(self._open)
        session.listing_changed.connect(self._show)
        edits.edited.connect(self._edited)

    # --- look-up

    def label(self, key: str) -> str | None:
        """Return the label of a key."""
        return self._shown.get(key)

    def key(self, label: str) -> str:
        """Return the key of a label, "" for none."""
        return next((key for key, name in self._shown.items() if name == label), "")

    def shown(self) -> dict[str, str]:
        """Return key → label, in the order of the keyboard."""
        return dict(self._shown)

    def labels(self) -> list[str]:
        """Return the labels of 1 … 9 and 0, "" for a key without one."""
        return [self._shown.get(key, "") for key in KEYS]

    # --- change

    def use(self, key: str) -> str | None:
        """Return the label of a pressed key; from now on the keys stay fixed when labels are added."""
        if not self._fixed and self._shown:
            self._fixed = dict(self._shown)
            self._save()
        return self.label(key)

    def bind(self, key: str, label: str) -> None:
        """Assign a key to a label; the label that had it gets the other's key."""
        fixed = {**self._fixed, **self._shown}
        before = next((one for one, name in fixed.items() if name == label), None)
        other = fixed.get(key)
        if before is not None:
            del fixed[before]
            if other is not None and before != key:
                fixed[before] = other
        fixed[key] = label
        self._fixed = fixed
        self._save()
        self._show()

    def _edited(self, outcome: EditOutcome) -> None:
        open_set = self._session.open_set
        if outcome.renamed and open_set is not None and open_set.training_set.id == outcome.training_set_id:
            taken = set(self._fixed.values())
            for key, label in self._fixed.items():
                new = outcome.renamed.get(label, label)
                if new not in taken:  # merged into a label with a key: this key is free
                    self._fixed[key] = new
            self._show()

    # --- display

    def _open(self) -> None:
        self._fixed = dict(self._settings.label_keys.get(self._session.open_set_key(), {}))
        self._show()

    def _show(self) -> None:
        open_set = self._session.open_set
        labels = open_set.labels if open_set is not None else []
        shown = assign(self._fixed, labels)
        if self._fixed and open_set is not None and open_set.listed and not shown.items() <= self._fixed.items():
            self._fixed |= shown
            self._save()
        if shown != self._shown:
            self._shown = shown
            self.changed.emit()

    def _save(self) -> None:
        self._settings.keep_newest(self._settings.label_keys, self._session.open_set_key(), dict(self._fixed))
        self._settings.save()


def assign(fixed: dict[str, str], labels: list[str]) -> dict[str, str]:
    """Return key → label for existing labels: fixed keys first, then the other labels, on unused keys if any is left."""
    existing = set(labels)
    shown = {key: name for key, name in fixed.items() if name in existing}
    has_key = set(shown.values())
    free = sorted((key for key in KEYS if key not in shown), key=lambda key: (key in fixed, KEYS.index(key)))
    shown |= dict(zip(free, [name for name in labels if name not in has_key], strict=False))
    return {key: shown[key] for key in KEYS if key in shown}


MAX_CHOICES = 6
"""Existing labels offered at a time."""
_ROW = 26
_CHOICE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A label offered: an existing or a new one."""

    label: str
    new: bool = False


def choices(typed: str, labels: Mapping[str, int]) -> list[LabelChoice]:
    """Return labels that start with the text, then those with a word that does, then those that contain it; then a new one."""
    wanted = snake_case(typed)
    if not wanted:
        return []

    def rank(name: str) -> int:
        return 0 if name.startswith(wanted) else 1 if f"_{wanted}" in name else 2

    found = sorted((name for name in labels if wanted in name), key=lambda name: (rank(name), name))
    existing = [LabelChoice(name) for name in found[:MAX_CHOICES]]
    return existing if wanted in labels else [*existing, LabelChoice(wanted, new=True)]


class _FilterField(QLineEdit):
    left = Signal()
    moved = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Handle Escape, and the keys that move in the list."""
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.moved.emit(-1 if event.key() == Qt.Key.Key_Up else 1)
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Close when the user clicks elsewhere."""
        super().focusOutEvent(event)
        if event.reason() in (Qt.FocusReason.MouseFocusReason, Qt.FocusReason.TabFocusReason):
            self.left.emit()


class LabelPicker(QFrame):
    """Covers the bottom of the photos while letters are typed."""

    chosen = Signal(object)
    """A `LabelChoice`."""
    left = Signal()
    """The picker was closed; the focus should return."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._labels: Mapping[str, int] = {}
        self._keys: Mapping[str, str] = {}
        self._place = QRect()
        """Left, bottom, width and maximum height of the picker."""
        surface(self, "card")
        self._title = ElidedLabel("", "small", "muted")
        self.line = _FilterField()
        self.line.setAccessibleName("Label")
        self.line.textChanged.connect(self._show)
        self.line.returnPressed.connect(self._take)
        self.line.moved.connect(self._move)
        self.line.left.connect(self.close_picker)
        self.list = QListWidget()
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setProperty("kind", "choices")
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setAccessibleName("Labels that fit")
        self.list.itemClicked.connect(self._take_item)
        in_column(self._title, self.line, self.list, on=self, margins=(10, 8, 10, 8), spacing=6)
        self.hide()

    def ask(self, title: str, typed: str, labels: Mapping[str, int], keys: Mapping[str, str], over: QWidget) -> None:
        """Open over the bottom of the widget `over`. `labels`: label → count; `keys`: label → key."""
        self._labels, self._keys = labels, keys
        self._title.setText(title)
        parent = self.parentWidget()
        assert parent is not None  # noqa: S101 - given by the constructor
        px = self._theme.px
        target = QRect(over.mapTo(parent, QPoint(0, 0)), over.size())
        width = min(px(320), target.width() - px(16))
        self._place = QRect(target.center().x() - width // 2, target.bottom() - px(8), width, target.height() - px(16))
        self.line.setText(typed)
        self._show()
        self.show()
        self.raise_()
        self.line.setFocus()

    def close_picker(self) -> None:
        """Close without a choice."""
        if self.isVisible():
            self.hide()
            self.left.emit()

    def _show(self) -> None:
        self.list.clear()
        for choice in choices(self.line.text(), self._labels):
            if choice.new:
                taken_away = choice.label == INBOX
                text = f"Put under “{label_name(INBOX)}”" if taken_away else f"Make the label “{choice.label}”"
            else:
                key = self._keys.get(choice.label, "")
                text = f"{choice.label}   {self._labels[choice.label]:,}" + (f"   ({key})" if key else "")
            item = QListWidgetItem(text)
            item.setData(_CHOICE, choice)
            item.setSizeHint(QSize(0, self._theme.px(_ROW)))
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        self.list.setFixedHeight(max(1, self.list.count()) * self._theme.px(_ROW) + 4)
        height = min(self.sizeHint().height(), self._place.height())
        self.setGeometry(self._place.x(), self._place.y() - height, self._place.width(), height)

    def _move(self, step: int) -> None:
        count = self.list.count()
        if count:
            self.list.setCurrentRow((self.list.currentRow() + step) % count)

    def _take(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self._take_item(item)

    def _take_item(self, item: QListWidgetItem) -> None:
        choice = item.data(_CHOICE)
        self.hide()
        self.left.emit()
        self.chosen.emit(choice)


@dataclass(frozen=True, slots=True)
class LabelTarget:
    """A widget beside grid and full-size view in which keys put what is selected under a label."""

    widget: QWidget
    count: Callable[[], int]
    """Returns the number of photos selected."""
    put: Callable[[str], object]
    advance: Callable[[], object]
    """Selects the next photo."""


class LabelingController(QObject):
    """Moves the selected photos to labels, from the grid and from the full-size view, or adds those of a `LabelTarget`."""

    def __init__(
        self,
        session: Session,
        edits: EditController,
        photos: PhotosController,
        review: ReviewNavigation,
        central_widget: CentralWidget,
        theme: Theme,
        settings: Settings,
    ) -> None:
        super().__init__(central_widget)
        self._session = session
        self._edits = edits
        self._photos = photos
        self._review = review
        self._central_widget = central_widget
        self._theme = theme
        self._settings = settings
        self.keys = LabelKeys(session, edits, settings)
        self.strip = KeyStrip(theme)
        self.picker = LabelPicker(theme, central_widget)
        self.advance = settings.auto_advance
        self._target: LabelTarget | None = None
        self._proposal_keys = ""
        self.strip.advance.setChecked(self.advance)
        central_widget.add_footer(self.strip)
        self._wire()
        self._show_hint()
        self._show_keys()
        self._show_strip()

    def _wire(self) -> None:
        photos, strip = self._photos, self.strip
        photos.key_of = self.keys.key
        self._review.labels_by_key = self.keys.labels
        for part in (photos.grid, photos.big):
            part.label_key.connect(self.typed)
        strip.label_wanted.connect(self._label_by_chip)
        strip.bound.connect(self.keys.bind)
        strip.advance_switched.connect(self.set_advance)
        strip.suspect_wanted.connect(lambda: self.next_suspect(1))
        self.picker.chosen.connect(self._chosen)
        self.picker.left.connect(self._return_focus)
        self.keys.changed.connect(self._show_keys)
        self._session.listing_changed.connect(self._show_keys)
        self._review.review.changed.connect(self._show_suspects)
        self._review.review.changed.connect(self._show_hint)
        self._session.listing_changed.connect(self._show_hint)
        self._central_widget.pages.currentChanged.connect(self._show_strip)
        self._session.open_set_changed.connect(self._show_strip)

    # --- display

    def _show_keys(self) -> None:
        open_set = self._session.open_set
        self.strip.show_keys(self.keys.shown(), open_set.labels if open_set is not None else ())
        if open_set is not None:
            keys = self.keys.shown()
            self._central_widget.tree.model.set_hints(
                open_set.training_set.id, {name: key for key, name in keys.items()}
            )

    def _show_suspects(self) -> None:
        self.strip.show_suspects(len(self._suspects()))

    def _show_strip(self) -> None:
        shown = self._central_widget.pages.currentWidget()
        self.strip.setVisible(self._session.open_set is not None and shown in (self._photos.grid, self._photos.big))
        self.picker.close_picker()

    def _return_focus(self) -> None:
        shown = self._photos.big if self._photos.big.isVisible() else self._photos.grid
        (self._target.widget if self._target is not None else shown).setFocus()

    # --- labeling

    def typed(self, text: str, target: LabelTarget | None = None) -> None:
        """Handle a key that is no command: a digit is a label's key, a letter starts a label's name."""
        self._target = target
        if text in KEYS:
            label = self.keys.use(text)
            if label is not None:
                self.label(label)
            else:
                self._show_message(f"No label has the key {text}. Make one: type its first letters.")
        elif text.isalpha():
            self._ask(text)

    def _label_by_chip(self, label: str) -> None:
        self._target = None
        self.label(label)

    def label(self, label: str) -> None:
        """Move the selected photos to a label."""
        if self._target is not None:
            self._put(self._target, label)
            return
        photos = self._photos
        chosen = photos.selected()
        if not chosen:
            self._show_message("Select photos first, then put them under a label.")
            return
        if photos.big.isVisible():
            following = photos.model.neighbor(chosen[0].image_id, 1)
            self._edits.move(chosen, label)
            if self.advance and following is not None:
                photos.big.show_image(following)
            elif image := photos.big.image():
                photos.big.show_image(image)  # its details name the label
            return
        staying = not without_label(chosen, label)
        self._edits.move(chosen, label)
        if self.advance:
            self._advance(past_selection=staying or photos.model.flat is not None)

    def _put(self, target: LabelTarget, label: str) -> None:
        if not target.count():
            self._show_message("Select photos first, then put them under a label.")
            return
        target.put(label)
        if self.advance:
            target.advance()

    def _advance(self, *, past_selection: bool) -> None:
        grid, model = self._photos.grid, self._photos.model
        if past_selection:  # no other photo takes the place of the labeled one
            last = max(model.selection, default=-1)
            if 0 <= last < model.shown - 1:
                grid.set_current(last + 1)
        grid.advance()

    def set_advance(self, on: bool) -> None:
        """Set whether the next photo is selected after each labeling."""
        self.advance = on
        self.strip.advance.setChecked(on)
        self._settings.auto_advance = on
        self._settings.save()

    def switch_advance(self) -> None:
        """Toggle auto-advance, and show the new state."""
        self.set_advance(not self.advance)
        self._show_message(
            "The next photo is selected after each label."
            if self.advance
            else "Auto-advance is off: the selection stays."
        )

    def _ask(self, typed: str) -> None:
        open_set, photos = self._session.open_set, self._photos
        if open_set is None:
            return
        target = self._target
        count = len(photos.selected()) if target is None else target.count()
        if target is not None and not count:
            self._show_message("Select photos first, then put them under a label.")
            return
        title = f"Put {plural(count, 'photo')} under" if count else "Go to the label"
        over = target.widget if target is not None else photos.big if photos.big.isVisible() else photos.grid
        keys = {name: key for key, name in self.keys.shown().items()}
        self.picker.ask(title, typed, open_set.counts, keys, over)

    def _chosen(self, choice: LabelChoice) -> None:
        open_set = self._session.open_set
        if open_set is None:
            return
        if self._target is not None or self._photos.selected():
            self.label(choice.label)
        elif choice.new:
            if reason := self._session.unavailable_reason("labels"):
                self._show_message(f"{reason} Select photos first: the label is made with them.")
            else:
                self._edits.create_label(open_set.training_set.id, choice.label)
        else:
            self._photos.grid.reveal_label(choice.label)

    # --- photos without a label

    def show_keys_of_proposals(self, keys: str) -> None:
        """Name the keys of *Accept proposals*, "" for none, in the hint about photos without a label."""
        self._proposal_keys = keys
        self._show_hint()

    def _show_hint(self) -> None:
        """Say beside the heading of the photos without a label what to do with them."""
        keys = "" if self.no_proposals() else native_keys(self._proposal_keys)
        other = f"{keys} for what is proposed" if keys else "type its first letters"
        hint = f"Press a label’s key, or {other}."
        if hint != self._photos.grid.inbox_hint:
            self._photos.grid.inbox_hint = hint
            self._photos.grid.viewport().update()

    def no_proposals(self) -> str:
        """Return why there are no proposals to accept, "" if there are."""
        open_set, found = self._session.open_set, self._review.review.found
        if open_set is None or not open_set.waiting:
            return "No photo waits for a label."
        if self._photos.model.has_proposals():
            return ""
        return (found.why_not if found is not None else "") or "The classifier has proposed no label yet."

    def ask_proposals(self) -> None:
        """Let the user choose how sure the classifier must be, and label the photos without a label as it proposes."""
        model, threshold = self._photos.model, self._settings.proposal_threshold
        waiting = model.counts.get(INBOX, 0)
        dialog = ProposalDialog(self._theme, model.proposals(), waiting, threshold, self._central_widget)
        dialog.agreed.connect(self._accept)
        dialog.open()

    def _accept(self, accepted: list[tuple[TrainingImage, str]], threshold: int) -> None:
        self._settings.proposal_threshold = threshold
        self._settings.save()
        self._edits.move_each([(image, label) for image, label in accepted if image.label == INBOX])

    # --- suspects

    def _suspects(self) -> set[str]:
        found = self._review.review.found
        doubts = found.label_issues if found is not None else None
        return {one.image for one in doubts or () if one.suspect}

    def next_suspect(self, step: int) -> None:
        """Select the next photo whose label looks wrong, the previous one with a `step` of -1; wraps around."""
        photos, suspects = self._photos, self._suspects()
        review = self._review.review
        if not suspects:
            unknown = review.found is None or review.found.label_issues is None
            reason = review.found.why_not if review.found is not None else ""
            self._show_message(
                reason or ("Review has not checked all photos yet." if unknown else "No label looks wrong.")
            )
            return
        rows = photos.model.rows_of(suspects)
        if not rows:
            self._show_message("None of the photos shown has a suspect label.")
            return
        shown = photos.big.image() if photos.big.isVisible() else None
        current = photos.grid.currentIndex()
        here = (
            photos.model.row_of(shown.image_id) if shown is not None else current.row() if current.isValid() else None
        )
        if step > 0:
            row = next((one for one in rows if here is None or one > here), rows[0])
        else:
            row = next((one for one in reversed(rows) if here is not None and one < here), rows[-1])
        if shown is not None:
            photos.big.show_image(photos.model.image(row))
            return
        self._review.close()
        photos.grid.choose(row)
        photos.grid.scrollTo(photos.model.index(row))
        photos.grid.setFocus()

    def _show_message(self, text: str) -> None:
        self._session.show_message(text, "muted", "labelling")


_MOST_NAMED = 6
"""Labels whose numbers of photos are named."""


class ProposalDialog(QDialog):
    """Asks how sure the classifier must be; `threshold` is in percent.

    `proposals` are images with their answers; `waiting` is the number of photos without a label, of which some may have no
    answer yet.
    """

    agreed = Signal(list, int)
    """The images that are accepted, each with its label; and the threshold in percent."""

    def __init__(
        self,
        theme: Theme,
        proposals: Sequence[tuple[TrainingImage, OutOfFoldAnswer]],
        waiting: int,
        threshold: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._proposals = proposals
        self._waiting = waiting
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Accept proposals")
        self.threshold = spin_box(theme, "Minimum confidence", threshold, 0, 100, " %")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setValue(threshold)
        self.slider.setAccessibleName("Minimum confidence")
        self.head = label("", "answer", wrap=True)
        self.below = label("", "small", "muted", wrap=True)
        self.cancel = button("Cancel", "", self.reject)
        self.start = button("Label", "primary", self._confirm)
        self.start.setDefault(True)
        self._lay_out(theme)
        self.threshold.valueChanged.connect(self.slider.setValue)
        self.slider.valueChanged.connect(self.threshold.setValue)
        self.threshold.valueChanged.connect(lambda _value: self._update_controls())
        self._update_controls()

    def _lay_out(self, theme: Theme) -> None:
        sure = in_row(label("Accept proposals of at least this confidence"), self.threshold)
        lay_out_dialog(self, theme, (sure, self.slider, self.head, self.below), (self.cancel, self.start))
        self.resize(theme.px(460), theme.px(220))

    def accepted_images(self) -> list[tuple[TrainingImage, str]]:
        """Return the images above the threshold, each with the label that is proposed."""
        least = self.threshold.value() / 100
        return [(image, answer.label) for image, answer in self._proposals if answer.confidence >= least]

    def _update_controls(self) -> None:
        accepted = self.accepted_images()
        counts = Counter(name for _, name in accepted).most_common()
        named = ", ".join(f"{count:,} {name}" for name, count in counts[:_MOST_NAMED])
        more = f" and {plural(len(counts) - _MOST_NAMED, 'more label')}" if len(counts) > _MOST_NAMED else ""
        others = " The others keep waiting." if len(accepted) < self._waiting else ""
        self.head.setText(f"{len(accepted):,} of {plural(self._waiting, 'photo')}")
        self.below.setText(f"{named}{more}.{others}" if accepted else "No photo reaches that confidence.")
        self.start.setText(f"Label {plural(len(accepted), 'photo')}")
        enable_unless(self.start, "" if accepted else "Lower the confidence")

    def _confirm(self) -> None:
        self.accept()
        self.agreed.emit(self.accepted_images(), self.threshold.value())
