"""Labeling by keyboard: keys of labels, letters that pick or make one, auto-advance, the next suspect."""

from __future__ import annotations

from PySide6.QtCore import QObject

from apitorch_desktop.ui.labeling.key_bindings import KEYS, LabelKeys
from apitorch_desktop.ui.labeling.key_strip import KeyStrip
from apitorch_desktop.ui.labeling.picker import LabelChoice, LabelPicker
from apitorch_desktop.ui.main_window.central_widget import CentralWidget
from apitorch_desktop.ui.photos.controller import PhotosController
from apitorch_desktop.ui.review.navigation import ReviewNavigation
from apitorch_desktop.ui.session.edit_controller import EditController
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.utils.text import plural


class LabelingController(QObject):
    """Moves the selected photos to labels, from the grid and from the full-size view."""

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
        self._settings = settings
        self.keys = LabelKeys(session, edits, settings)
        self.strip = KeyStrip(theme)
        self.picker = LabelPicker(theme, central_widget)
        self.advance = settings.auto_advance
        self.strip.advance.setChecked(self.advance)
        central_widget.add_footer(self.strip)
        self._wire()
        self._show_keys()
        self._show_strip()

    def _wire(self) -> None:
        photos, strip = self._photos, self.strip
        photos.key_of = self.keys.key
        self._review.labels_by_key = self.keys.labels
        for part in (photos.grid, photos.big):
            part.label_key.connect(self.typed)
        strip.label_wanted.connect(self.label)
        strip.bound.connect(self.keys.bind)
        strip.advance_switched.connect(self.set_advance)
        strip.suspect_wanted.connect(lambda: self.next_suspect(1))
        self.picker.chosen.connect(self._chosen)
        self.picker.left.connect(self._return_focus)
        self.keys.changed.connect(self._show_keys)
        self._session.listing_changed.connect(self._show_keys)
        self._review.review.changed.connect(self._show_suspects)
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
        shown.setFocus()

    # --- labeling

    def typed(self, text: str) -> None:
        """Handle a key that is no command: a digit is a label's key, a letter starts a label's name."""
        if text in KEYS:
            label = self.keys.use(text)
            if label is not None:
                self.label(label)
            else:
                self._show_message(f"No label has the key {text}. Make one: type its first letters.")
        elif text.isalpha():
            self._ask(text)

    def label(self, label: str) -> None:
        """Move the selected photos to a label."""
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
        staying = all(image.label == label for image in chosen)
        self._edits.move(chosen, label)
        if self.advance:
            self._advance(past_selection=staying)

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
            "The next photo is selected after each labelling." if self.advance else "The selection stays."
        )

    def _ask(self, typed: str) -> None:
        open_set, photos = self._session.open_set, self._photos
        if open_set is None:
            return
        count = len(photos.selected())
        title = f"Put {plural(count, 'photo')} under" if count else "Go to the label"
        over = photos.big if photos.big.isVisible() else photos.grid
        keys = {name: key for key, name in self.keys.shown().items()}
        self.picker.ask(title, typed, open_set.counts, keys, over)

    def _chosen(self, choice: LabelChoice) -> None:
        open_set = self._session.open_set
        if open_set is None:
            return
        if self._photos.selected():
            self.label(choice.label)
        elif choice.new:
            if reason := self._session.unavailable_reason("labels"):
                self._show_message(f"{reason} Select photos first: the label is made with them.")
            else:
                self._edits.create_label(open_set.training_set.id, choice.label)
        else:
            self._photos.grid.reveal_label(choice.label)

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
                reason or ("Review has not looked at all photos yet." if unknown else "No label looks wrong.")
            )
            return
        rows = photos.model.rows_of(suspects)
        if not rows:
            self._show_message("No suspect is among the photos shown.")
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
