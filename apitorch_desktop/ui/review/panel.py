"""Review panel: pages for near-duplicates, suspect labels, quality, labels, and what to check next."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRect, Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from apitorch_desktop.api.types import INBOX, Metrics, label_name
from apitorch_desktop.dataset.review.findings import Duplicate, Findings, LabelAdvice
from apitorch_desktop.ui.actions import DELETE_KEYS, ActionRegistry, ActionSpec, always
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.photo_board.model import HeadingRow, LabelIssueRow, PhotoRow, Row
from apitorch_desktop.ui.photo_board.page import KeyHints, key_sentence
from apitorch_desktop.ui.photo_board.view import PhotoBoard
from apitorch_desktop.ui.review.confusion_matrix import ConfusionMatrix
from apitorch_desktop.ui.review.controller import RULES, ReviewController
from apitorch_desktop.ui.sidebar.classifier_card import accuracy_sentence
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    Card,
    CentralPage,
    ComboBox,
    ElidedLabel,
    ProgressBar,
    button,
    in_column,
    in_row,
    label,
    surface,
)
from apitorch_desktop.ui.widgets.dates import date_text, time_text_of
from apitorch_desktop.ui.widgets.flow_layout import FlowLayout
from apitorch_desktop.utils.text import percent, plural, size


def duplicates(review: ReviewController) -> list[Row]:
    """Return groups of near-duplicates, the photo to keep first."""
    rows: list[Row] = []
    groups = (review.found.groups if review.found is not None else None) or ()
    images = {
        image.image_id: image for image in review.images(image_id for group in groups for image_id in group.images)
    }
    for group in groups:
        kept = review.keeper(group)
        twins = sorted((twin for twin in group.duplicates if twin.image in images), key=lambda twin: twin.image != kept)
        if len(twins) < 2:
            continue
        labels = list(dict.fromkeys(twin.label for twin in twins))
        key = " ".join(sorted(twin.image for twin in twins))
        acts = (("Keep all", "dismiss"), (f"Delete {plural(len(twins) - 1, 'other')}", "delete"))
        names = [label_name(label) for label in labels]
        note = names[0] if len(names) == 1 else "under " + " and ".join(f"“{name}”" for name in names)
        rows.append(HeadingRow(key, plural(len(twins), "photo"), note, acts, group))
        for twin in twins:
            mark = "keep" if twin.image == kept else "go"
            lines = _figures(twin, named=len(labels) > 1)
            rows.append(PhotoRow(f"{key} {twin.image}", images[twin.image], lines, mark, group))
    return rows


def _figures(twin: Duplicate, *, named: bool) -> tuple[str, ...]:
    pixels = f"{twin.width:,} × {twin.height:,}" if twin.width else ""
    first = " · ".join(part for part in (pixels, size(twin.bytes) if twin.bytes else "") if part)
    date = time_text_of(twin.created_at, date_text)
    second = " · ".join(part for part in (date, label_name(twin.label) if named else "") if part)
    return (first, second)


def suspects(review: ReviewController) -> list[Row]:
    """Return photos with a suspect label, the most doubtful first."""
    issues = [issue for issue in (review.found.label_issues if review.found else None) or () if issue.suspect]
    images = {image.image_id: image for image in review.images(issue.image for issue in issues)}
    return [LabelIssueRow(issue.image, images[issue.image], issue) for issue in issues if issue.image in images]


def quality(review: ReviewController) -> list[Row]:
    """Return photos by quality flag; a photo with two flags appears twice."""
    rows: list[Row] = []
    found = review.found
    if found is None:
        return rows
    by_flag: dict[str, list[str]] = {flag: [] for flag in found.sentences}
    for image in found.flagged or ():
        for flag in image.flags:
            by_flag.setdefault(flag, []).append(image.image)
    images = {image.image_id: image for image in review.images(image.image for image in found.flagged or ())}
    images |= {image.image_id: image for image in review.images(found.unreadable)}
    for flag, ids in by_flag.items():
        if ids:
            title = flag[0].upper() + flag[1:]
            note = f"{plural(len(ids), 'photo')}. {found.sentences.get(flag, '')}"
            rows.append(HeadingRow(f"flag:{flag}", title, note, (("Select all", "select"),)))
            known = [images[image_id] for image_id in ids if image_id in images]
            rows += [
                PhotoRow(f"{flag} {image.image_id}", image, (image.display_name, str(image.label))) for image in known
            ]
    broken = [image_id for image_id in found.unreadable if image_id in images]
    if broken:
        rows.append(HeadingRow("broken", "Unreadable", plural(len(broken), "photo"), (("Select all", "select"),)))
    for image_id in broken:
        lines = (found.unreadable[image_id], str(images[image_id].label))
        rows.append(PhotoRow(f"broken {image_id}", images[image_id], lines))
    return rows


def unsure(review: ReviewController) -> list[Row]:
    """Return photos whose label would improve the classifier most once it is given or confirmed."""
    found = review.found
    ids = (found.unsure if found is not None else None) or []
    issues = {issue.image: issue for issue in (found.label_issues if found is not None else None) or ()}
    answers = (found.answers if found is not None else None) or {}
    rows: list[Row] = []
    for image in review.images(ids):
        issue, answer = issues.get(image.image_id), answers.get(image.image_id)
        if image.label == INBOX:
            lines = (f"{answer.label}?" if answer is not None else "none of these?", "no label yet")
        else:
            lines = (f"{image.label}?", f"or {issue.likely}?" if issue is not None else "")
        rows.append(PhotoRow(image.image_id, image, lines))
    return rows


_HOW = (
    "Click a cell to see its photos. Counts are those of Review’s check, in which no photo is judged by its "
    "near-duplicates; the share that is right is the classifier’s own."
)

_MATRIX_HEIGHT = 420
"""Most pixels of the confusion matrix: what is said of its cells and of the labels stays in sight below it."""
_MOST_ADVICE = 6
"""Most advice that is listed at first."""


class LabelsPage(QScrollArea):
    """Confusion matrix above advice on the labels."""

    pair_chosen = Signal(str, str)
    label_requested = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(widgetResizable=True)
        inner = QWidget()
        surface(inner, "canvas")
        self._column = in_column(on=inner, margins=(16, 4, 16, 16), spacing=10)
        self._headline = label("", "strong", wrap=True)
        self._how = label(_HOW, "small", "muted", wrap=True)
        self._cell = label(" ", "small", wrap=True)
        self.matrix = ConfusionMatrix(theme)
        self.matrix.pair_chosen.connect(self.pair_chosen)
        self._around = QScrollArea(widgetResizable=True)
        """The matrix, which is larger than the page with hundreds of labels; what is said of its cells stays in sight."""
        self._around.setWidget(self.matrix)
        self._around.viewport().setAutoFillBackground(False)
        self.matrix.setAutoFillBackground(False)
        self._most_height = theme.px(_MATRIX_HEIGHT)
        self.matrix.resized.connect(self._fit_matrix)
        self.matrix.focus_moved.connect(self._show_cell)
        self._all_advice = False
        self.matrix.pointed.connect(lambda sentence: self._cell.setText(sentence or " "))
        self._advice = QVBoxLayout()
        self._advice.setSpacing(8)
        self._advised: list[LabelAdvice] | None = None
        self._column.addWidget(self._headline)
        self._column.addWidget(self._around)
        self._column.addWidget(self._cell)
        self._column.addWidget(self._how)
        self._column.addLayout(self._advice)
        self._column.addStretch(1)
        self.setWidget(inner)
        self.viewport().setAutoFillBackground(False)

    def _show_cell(self, cell: QRect) -> None:
        self._around.ensureVisible(cell.center().x(), cell.center().y(), cell.width(), cell.width())

    def _fit_matrix(self) -> None:
        wide = self.matrix.minimumSizeHint().width() > self._around.viewport().width()
        bar = self._around.horizontalScrollBar().sizeHint().height() if wide else 0
        self._around.setFixedHeight(min(self.matrix.height() + bar, self._most_height))

    def show_findings(self, found: Findings, metrics: Metrics | None) -> None:
        """Show the findings; `metrics` are the classifier's own, which grid and sidebar show, None where it has none."""
        learned = found.learned
        for part in (self._around, self._cell, self._how):
            part.setVisible(learned is not None)
        if learned is not None and metrics is not None:
            self.matrix.show_figures(learned, {one.label: one.accuracy for one in metrics.labels})
            self._headline.setText(accuracy_sentence(metrics))
        elif learned is not None:
            accuracy = dict(zip(learned.labels, learned.label_accuracy, strict=True))
            self.matrix.show_figures(learned, accuracy)
            weakest = min(accuracy, key=lambda name: accuracy[name], default=None)
            tail = f" Weakest: {weakest}." if weakest is not None else ""
            self._headline.setText(f"{percent(learned.accuracy)} right in Review’s check.{tail}")
        else:
            self._headline.setText(found.why_not or "How well labels are recognized is not known yet.")
        if found.advice != self._advised:
            self._advised = list(found.advice)
            self._show_advice(found.advice)

    def advice(self) -> list[str]:
        """Return the sentences shown."""
        return [advice_item.sentence for advice_item in self._advised or []]

    def _show_advice(self, advice: list[LabelAdvice]) -> None:
        while self._advice.count():
            item = self._advice.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.deleteLater()
        if not advice:
            self._advice.addWidget(label("The labels are well balanced.", "base", "muted", wrap=True))
        listed = advice if self._all_advice else advice[:_MOST_ADVICE]
        for advice_item in listed:
            card = Card(spacing=4)
            row = QHBoxLayout()
            row.addWidget(label(advice_item.sentence, "base", "warn" if advice_item.urgent else "", wrap=True), 1)
            if advice_item.label is not None:
                name = advice_item.label
                row.addWidget(
                    button("Show", "link", lambda name=name: self.label_requested.emit(name)),  # type: ignore[misc]
                    0,
                    Qt.AlignmentFlag.AlignTop,
                )
            card.rows.addLayout(row)
            self._advice.addWidget(card)
        if len(listed) < len(advice):
            more = button(f"Show {len(advice) - len(listed):,} more", "link", self._show_all_advice)
            self._advice.addWidget(more, 0, Qt.AlignmentFlag.AlignLeft)

    def _show_all_advice(self) -> None:
        self._all_advice = True
        self._show_advice(self._advised or [])


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """A page of the board. `none` is shown when there are no findings."""

    title: str
    rows: Callable[[ReviewController], list[Row]]
    none: str
    keys: KeyHints


PAGES = {
    "duplicates": ReviewPage(
        "Near-duplicates",
        duplicates,
        "No two photos are nearly the same.",
        (
            ("review.keep", "keeps this one"),
            ("review.delete", "deletes the others of its group"),
            ("review.dismiss", "keeps all"),
            ("review.open, Return", "opens full size"),
        ),
    ),
    "suspects": ReviewPage(
        "Suspect labels",
        suspects,
        "No label looks wrong.",
        (
            ("review.accept, Return", "takes the likelier label"),
            ("review.dismiss, review.delete", "keeps the label"),
            ("1–0", "another label"),
            ("review.open", "opens full size"),
        ),
    ),
    "quality": ReviewPage(
        "Quality",
        quality,
        "No photo is blurred, dark, bright, flat, oddly shaped or tiny.",
        (
            ("review.delete", "deletes"),
            ("review.dismiss", "leaves it as it is"),
            ("review.open, Return", "opens full size"),
        ),
    ),
    "unsure": ReviewPage(
        "Check next",
        unsure,
        "There is nothing to check.",
        (
            ("review.accept, Return", "says that the label is right"),
            ("1–0", "another label"),
            ("review.open", "opens full size"),
        ),
    ),
}
LABELS = "labels"
SECTION = "Review"
"""Section of the sheet of keys, which lists them by page."""


class ReviewPanel(CentralPage):
    """Shows the findings of a `ReviewController`, and passes the user's decisions to it."""

    open_requested = Signal(object)
    """The `TrainingImage` to open full size."""
    grid_requested = Signal(list, str)
    """(ids, text): show these photos in the grid."""
    label_requested = Signal(str)

    def __init__(
        self, review: ReviewController, theme: Theme, loader: ThumbnailLoader, labels: Callable[[], Sequence[str]]
    ) -> None:
        super().__init__(theme)
        self._review = review
        self._labels = labels
        self._keys_of: Callable[[str], str] = lambda _action_id: ""
        self.page = "duplicates"
        self._title = label("", "title")
        self._note = ElidedLabel("", "base", "muted")
        self._meter = ProgressBar(0, thin=True)
        self.rule = ComboBox(theme, "Which of near-duplicates to keep")
        for key, words in RULES:
            self.rule.addItem(f"Keep the {words.lower()}", key)
        self.rule.setCurrentIndex(max(0, self.rule.findData(review.rule)))
        self.rule.currentIndexChanged.connect(lambda _at: review.set_rule(str(self.rule.currentData())))
        self.clean = button("", "primary", lambda: review.delete(review.surplus()))
        self.accept = button("", "", lambda: self.act("accept"))
        self.dismiss = button("", "", lambda: self.act("dismiss"))
        self.delete = button("Delete", "", lambda: self.act("delete"))
        self.in_grid = button("Show in the grid", "", self._show_in_grid)
        self.board = PhotoBoard(theme, loader)
        self.labels = LabelsPage(theme)
        self._none = label("", "base", "muted", wrap=True)
        self._none.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._keys = label("", "small", "muted", wrap=True)
        self._lay_out()
        self._wire()
        self._show()

    def _lay_out(self) -> None:
        head = in_row(self._title, (self._note, 1), self.close_button, margins=(16, 8, 8, 0), spacing=10)
        self._controls = QWidget()
        flow = FlowLayout(self._controls)
        for control in (self.rule, self.clean, self.accept, self.dismiss, self.delete, self.in_grid):
            flow.addWidget(control)
        below = in_column(self._controls, margins=(16, 4, 16, 4))
        self.stack = QStackedWidget()
        for part in (self.board, self.labels, self._none):
            self.stack.addWidget(part)
        foot = in_row(self._keys, margins=(16, 4, 16, 8))
        in_column(head, below, self._meter, (self.stack, 1), foot, on=self, margins=0, spacing=2)

    def _wire(self) -> None:
        review = self._review
        review.changed.connect(self._changed)
        review.progressed.connect(self._changed_progress)
        self.board.action_requested.connect(self.act)
        self.board.heading_action_requested.connect(self._act_on_heading)
        self.board.selectionModel().selectionChanged.connect(lambda *_: self._show_controls())
        self.labels.pair_chosen.connect(self._show_pair)
        self.labels.label_requested.connect(self.label_requested)

    # --- display

    def show_page(self, page: str) -> None:
        """Show a page: a key of PAGES, or LABELS."""
        if page != self.page:
            self.board.rows.show([])
        self.page = page
        self._show()
        self.focus()

    def focus(self) -> None:
        """Focus the widget that handles the keys."""
        shown = self.stack.currentWidget()
        (self.labels.matrix if shown is self.labels else self.board if shown is self.board else self).setFocus()

    def show_metrics(self) -> None:
        """Show the classifier's figures again, after they have changed."""
        if self.page == LABELS:
            self._changed()

    def _changed(self) -> None:
        if self.isVisible():  # else it is updated in `showEvent`
            self._show()

    def _changed_progress(self) -> None:
        if self.isVisible():
            self._show_progress()

    def showEvent(self, event: QShowEvent) -> None:
        """Update the page, which is not done while it is hidden."""
        super().showEvent(event)
        self._show()

    def _show(self) -> None:
        found, page = self._review.found, PAGES.get(self.page)
        if page is None:
            self._title.setText("Labels")
            self._keys.setText("Arrows and Return show the photos of a cell")
            if found is not None:
                self.labels.show_findings(found, self._review.metrics)
            self._show_part(self.labels if found is not None else self._none)
        else:
            had = self.board.hasFocus() or self.hasFocus()
            rows = page.rows(self._review)
            self.board.rows.show(rows)
            self._title.setText(page.title)
            self._keys.setText(key_sentence(page.keys, self._keys_of) if rows else "")
            self._show_part(self.board if rows else self._none)
            if had and self.isVisible():
                self.focus()
        self._show_progress()
        self._show_controls()

    def _show_part(self, part: QWidget) -> None:
        if self.stack.currentWidget() is not part:
            self.stack.setCurrentWidget(part)

    def _show_progress(self) -> None:
        review, page = self._review, PAGES.get(self.page)
        known = review.found is not None and self._known()
        self._meter.setVisible(review.busy)
        self._meter.set_share(review.share)
        note = ""
        if review.busy and review.share is not None:
            note = f"looking at the photos: {percent(review.share)}"
        elif review.busy and not known:
            note = "comparing…"
        self._note.setText(note or review.problem)
        if (
            review.found is not None
            and page is not None
            and review.found.why_not
            and self.page in ("suspects", "unsure")
        ):
            self._none.setText(review.found.why_not)
        elif known and page is not None:
            self._none.setText(page.none)
        else:
            self._none.setText("Looking at the photos…" if review.busy or not review.problem else review.problem)

    def _known(self) -> bool:
        found = self._review.found
        part = {"duplicates": "groups", "suspects": "label_issues", "quality": "flagged", "unsure": "unsure"}.get(
            self.page
        )
        return found is not None and (part is None or getattr(found, part) is not None)

    def _show_controls(self) -> None:
        page, chosen = self.page, len(self.board.selected_rows()) if self.stack.currentWidget() is self.board else 0
        surplus = len(self._review.surplus()) if page == "duplicates" else 0
        self.rule.setVisible(surplus > 0)
        self.clean.setVisible(surplus > 0)
        self.clean.setText(f"Delete {plural(surplus, 'other')}")
        some = plural(chosen, "photo")
        self.accept.setVisible(page in ("suspects", "unsure") and chosen > 0)
        self.accept.setText("Take the likelier label" if page == "suspects" else "The label is right")
        self.dismiss.setVisible(page in ("suspects", "quality") and chosen > 0)
        self.dismiss.setText("Keep the label" if page == "suspects" else "Leave as it is")
        self.delete.setVisible(page in ("suspects", "quality") and chosen > 0)
        self.delete.setText(f"Delete {some}")
        self.in_grid.setVisible(page in PAGES and chosen > 0)
        self._controls.setVisible(chosen > 0 or surplus > 0)

    # --- actions

    def add_actions(self, actions: ActionRegistry, others: Mapping[PhotoBoard, Sequence[str]]) -> None:
        """Add the actions of the board; `others` are boards with actions that they have too: "review.open" …"""
        boards = (self.board, *others)

        def chosen() -> PhotoBoard | None:
            return next((board for board in boards if board.isVisible() and board.selected_rows()), None)

        def spec(action_id: str, name: str, text: str, keys: str, pages: Container[str], icon: str = "") -> ActionSpec:
            """`name`: of the action as the board reports it; `pages`: those on which it has an effect."""

            def run() -> None:
                if (board := chosen()) is not None:
                    board.action_requested.emit(name)

            def reason() -> str:
                board = chosen()
                if board is None:
                    return "Select photos in Review first."
                if board is not self.board:
                    return "" if action_id in others[board] else "It has no effect here."
                return "" if self.page in pages else f"It has no effect on “{PAGES[self.page].title}”."

            return ActionSpec(
                action_id, f"Review: {text}", run, keys, section=SECTION, icon=icon, reason=reason,
                within=(self.board,), letters=True, applies=always,
            )  # fmt: skip

        found = ("duplicates", "suspects", "quality")
        actions.add(
            spec("review.accept", "accept", "take the likelier label, or confirm it", "A", ("suspects", "unsure")),
            spec("review.dismiss", "dismiss", "leave as it is", "D", found),
            spec("review.keep", "keep", "keep this one of near-duplicates", "K", ("duplicates",)),
            spec("review.delete", "del", "delete", DELETE_KEYS, found, "trash"),
            spec("review.open", "open", "open full size", "O", PAGES, "image"),
        )
        for board, action_ids in others.items():
            actions.extend(board, *action_ids)
        self._keys_of = actions.keys
        actions.keys_changed.connect(lambda _action_id: self._changed())

    def act(self, name: str) -> None:
        """Apply an action to the selection."""
        rows = self.board.selected_rows()
        if not rows:
            return
        review = self._review
        ids = [row.image.image_id for row in rows]
        group = rows[0].group if isinstance(rows[0], PhotoRow) else None
        if name == "del":
            name = "delete" if self.page in ("duplicates", "quality") else "dismiss"
        if name == "return":
            name = "accept" if self.page in ("suspects", "unsure") else "open"
        if name == "open":
            self.open_requested.emit(rows[0].image)
        elif name.isdigit():
            self._label(name, ids)
        elif self.page == "duplicates" and group is not None:
            if name == "keep":
                review.keep(group, ids[0])
            elif name == "delete":
                review.delete(review.others(group))
            elif name == "dismiss":
                review.keep_all(group)
        elif name == "delete" and self.page in ("suspects", "quality"):
            review.delete(list(dict.fromkeys(ids)))
        elif self.page == "suspects" and name == "accept":
            review.accept([row.issue for row in rows if isinstance(row, LabelIssueRow)])
        elif (self.page == "suspects" and name == "dismiss") or (self.page == "unsure" and name == "accept"):
            review.confirm_labels(ids)
        elif self.page == "quality" and name == "dismiss":
            review.dismiss_flags(ids)

    def _label(self, key: str, ids: list[str]) -> None:
        place, labels = "1234567890".index(key), self._labels()
        if place < len(labels) and labels[place]:
            same = [image.image_id for image in self._review.images(ids) if image.label == labels[place]]
            self._review.move([image_id for image_id in ids if image_id not in same], labels[place])
            self._review.confirm_labels(same)

    def _act_on_heading(self, heading: HeadingRow, name: str) -> None:
        if name == "select":
            self.board.select_section(heading)
        elif heading.group is not None and name == "delete":
            self._review.delete(self._review.others(heading.group))
        elif heading.group is not None:
            self._review.keep_all(heading.group)

    def _show_in_grid(self) -> None:
        ids = [row.image.image_id for row in self.board.selected_rows()]
        self.grid_requested.emit(ids, f"{plural(len(ids), 'photo')} of {PAGES[self.page].title.lower()}")

    def _show_pair(self, given: str, taken: str) -> None:
        found = self._review.found
        if found is None:
            return
        if given == taken:
            self.label_requested.emit(given)
            return
        ids = [issue.image for issue in found.label_issues or () if issue.given == given and issue.likely == taken]
        if ids:
            self.grid_requested.emit(ids, f"{len(ids):,} of “{given}” taken for “{taken}”")
