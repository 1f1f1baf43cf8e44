"""Preferences: appearance, labeling, data, the service for other programs, keys of actions; all applied at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QFormLayout,
    QHeaderView,
    QKeySequenceEdit,
    QLineEdit,
    QListWidget,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from apitorch_desktop.ui.actions import ActionEntry, ActionRegistry
from apitorch_desktop.ui.connections.menu import SCHEMES
from apitorch_desktop.ui.encoders import EncodersPage
from apitorch_desktop.ui.images.thumbnail_loader import ThumbnailLoader
from apitorch_desktop.ui.labeling.controller import KEYS, LabelingController
from apitorch_desktop.ui.session import file_manager
from apitorch_desktop.ui.session.embedded_service import KEY_FILE, EmbeddedService, ServiceSettings
from apitorch_desktop.ui.session.file_manager import show_file
from apitorch_desktop.ui.session.session import Session
from apitorch_desktop.ui.settings import Settings
from apitorch_desktop.ui.tasks.runner import JobContext, Lane
from apitorch_desktop.ui.theme.theme import Theme
from apitorch_desktop.ui.widgets.controls import (
    ComboBox,
    ElidedLabel,
    button,
    in_column,
    in_row,
    label,
    native_keys,
    set_property,
    spin_box,
    surface,
)
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import size

_TYPE_SIZES = tuple(
    (percent, f"{percent} %" if percent > 100 else "As in the system") for percent in (100, 115, 130, 150, 175, 200)
)
_MEMORY = ((128, "128 MB"), (256, "256 MB"), (512, "512 MB"), (1024, "1 GB"), (2048, "2 GB"), (4096, "4 GB"))
_ID = Qt.ItemDataRole.UserRole


def folder_size(folder: Path, context: JobContext) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile are not counted. Blocks."""
    total = 0
    for place, _folders, names in os.walk(folder):
        context.check()
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - half the time of a Path
            except OSError:
                continue
    return total


class PreferencesDialog(QDialog):
    """A list of pages, and the chosen one. There is nothing to confirm: each change counts at once."""

    def __init__(self, theme: Theme, pages: Iterable[tuple[str, QWidget]], parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Preferences")
        px = theme.px
        self.names = QListWidget()
        self.names.setProperty("kind", "choices")
        self.names.setAccessibleName("Pages")
        self.stack = QStackedWidget()
        for name, page in pages:
            self.names.addItem(name)
            area = QScrollArea()
            area.setWidgetResizable(True)
            area.setWidget(page)
            area.viewport().setAutoFillBackground(False)
            page.setAutoFillBackground(False)
            self.stack.addWidget(area)
        self.names.currentRowChanged.connect(self.stack.setCurrentIndex)
        self.names.setCurrentRow(0)
        side = surface(QWidget(), "side")
        in_column(self.names, on=side, margins=px(8))
        self.close_button = button("Close", "", self.accept)
        foot = in_row(1, self.close_button, margins=(0, 0, px(16), px(12)))
        right = in_column((self.stack, 1), foot)
        in_row(side, (right, 1), on=self, margins=0, spacing=0)
        self._theme, self._parent = theme, parent
        theme.changed.connect(self._measure)
        self._measure()

    def _measure(self) -> None:
        """Set the sizes that follow the type, which the user may just have changed here."""
        px, room = self._theme.px, self._parent.size()
        self.names.setFixedWidth(px(140))
        for row in range(self.names.count()):
            self.names.item(row).setSizeHint(QSize(0, px(30)))
        self.resize(min(px(760), room.width() - px(24)), min(px(580), room.height() - px(24)))


class _Page(QWidget):
    """A form; rows of explanations lie below the control they explain."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.form = QFormLayout(self)
        self.form.setContentsMargins(*[theme.px(20)] * 4)
        self.form.setVerticalSpacing(theme.px(10))
        self.form.setHorizontalSpacing(theme.px(16))
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)

    def explain(self, text: str) -> None:
        """Add a sentence in muted type."""
        self.form.addRow("", label(text, "small", "muted", wrap=True))

    def add_choice(
        self, name: str, choices: Iterable[tuple[Any, str]], chosen: object, apply: Callable[[Any], object]
    ) -> ComboBox:
        """Add a combo box that calls `apply` with the value of the entry that the user picks."""
        combo = ComboBox(self.theme, name)
        for value, text in choices:
            combo.addItem(text, value)
        if combo.findData(chosen) < 0:
            combo.addItem(str(chosen), chosen)
        combo.setCurrentIndex(combo.findData(chosen))
        combo.currentIndexChanged.connect(lambda _row: apply(combo.currentData()))
        self.form.addRow(name, combo)
        return combo

    def add_switch(self, text: str, on: bool, apply: Callable[[bool], object]) -> QCheckBox:
        """Add a check box that calls `apply` with its new state."""
        box = QCheckBox(text)
        box.setChecked(on)
        box.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        box.toggled.connect(apply)
        self.form.addRow("", box)
        return box


class AppearancePage(_Page):
    """Colors, type, menu bar."""

    def __init__(self, theme: Theme, settings: Settings, toggle_menu_bar: Callable[[], object]) -> None:
        super().__init__(theme)

        def choose_scheme(scheme: Any) -> None:
            settings.scheme = scheme
            settings.save()
            theme.set_scheme(scheme)

        def choose_type_size(percent: int) -> None:
            settings.type_size = percent
            settings.save()
            theme.set_type_size(percent)

        self.scheme = self.add_choice("Appearance", SCHEMES, settings.scheme, choose_scheme)
        self.type_size = self.add_choice("Text size", _TYPE_SIZES, settings.type_size, choose_type_size)
        self.menu_bar = self.add_switch("Show the menu bar", settings.menu_bar_shown, lambda _on: toggle_menu_bar())
        self.explain("While it is hidden, Alt calls it up.")
        self.form.addRow("Language", label("English", "base", "muted"))
        self.explain("The only language so far. Dates follow the system’s.")


class LabelingPage(_Page):
    """Auto-advance, and the keys of the open training set's labels."""

    def __init__(self, theme: Theme, session: Session, labeling: LabelingController) -> None:
        super().__init__(theme)
        self._keys = labeling.keys
        self.advance = self.add_switch(
            "Auto-advance: select the next photo after each label", labeling.advance, labeling.set_advance
        )
        self.choices: dict[str, ComboBox] = {}
        open_set = session.open_set
        if open_set is None or not open_set.labels:
            self.explain("The keys of labels are chosen here while a training set with labels is open.")
            return
        self.form.addRow(label())
        self.form.addRow(label(f"Keys of the labels in “{open_set.training_set.name}”", "heading", "muted"))
        shown = self._keys.shown()
        for key in KEYS:
            names = [*([] if key in shown else [("", "–")]), *((name, name) for name in open_set.labels)]
            self.choices[key] = self.add_choice(key, names, shown.get(key, ""), partial(self._bind, key))
            self.choices[key].setAccessibleName(f"Label of the key {key}")
        self._keys.changed.connect(self._show)

    def _bind(self, key: str, name: str) -> None:
        if name:
            self._keys.bind(key, name)
            self._show()

    def _show(self) -> None:
        shown = self._keys.shown()
        for key, combo in self.choices.items():
            with QSignalBlocker(combo):
                for name in {"", *shown.values()}:  # also labels that came in meanwhile
                    if combo.findData(name) < 0:
                        combo.addItem(name or "–", name)
                combo.setCurrentIndex(combo.findData(shown.get(key, "")))


class DataPage(_Page):
    """Place and size of the data, and the share of the machine that the program takes."""

    def __init__(
        self,
        theme: Theme,
        settings: Settings,
        session: Session,
        loader: ThumbnailLoader,
        folder: Path,
        show_folder: Callable[[], object],
        apply_service: Callable[[], object],
    ) -> None:
        super().__init__(theme)

        def choose_memory(mib: int) -> None:
            settings.thumbnail_memory = mib
            settings.save()
            loader.set_budget(mib * 2**20)

        def choose_threads(threads: int) -> None:
            settings.threads = threads
            settings.save()
            apply_service()

        place = ElidedLabel(str(folder), mode=Qt.TextElideMode.ElideMiddle)
        self.form.addRow("Data folder", place)
        self.bytes = label("Counting…", "base", "muted")
        self.show_button = button(f"Show in {file_manager.NAME}", "", show_folder)
        row = in_row((self.bytes, 1), self.show_button)
        self.form.addRow("", row)
        self.explain("Training sets and photos of this computer’s service, what can be undone, and settings.")
        self.memory = self.add_choice("Memory for thumbnails", _MEMORY, settings.thumbnail_memory, choose_memory)
        cores = os.cpu_count() or 1
        choices = [(0, f"All {cores}"), *((count, str(count)) for count in range(1, cores))]
        self.threads = self.add_choice("Processor cores", choices, settings.threads, choose_threads)
        self.explain(
            "For training and classification on this computer. The service restarts, which takes a few seconds."
        )
        session.tasks.run(
            Lane.INTERACTIVE,
            lambda context: folder_size(folder, context),
            done=lambda total: self.bytes.setText(size(total)),
            failed=lambda _error: self.bytes.setText("The size could not be determined."),
            owner=self,
            title="Size of the data folder",
        )


class ServicePage(_Page):
    """The service on this computer for other programs: on or off, port, address, key."""

    def __init__(
        self, theme: Theme, settings: Settings, embedded: EmbeddedService, apply_service: Callable[[], object]
    ) -> None:
        super().__init__(theme)
        self._settings = settings
        self._embedded = embedded
        self._apply_service = apply_service
        self.shared = self.add_switch(
            "Other programs on this computer may use the service", settings.service_shared, self._share
        )
        self.explain(
            "They speak the API Torch interface: scripts, the published client, curl. Without this, address and key are new "
            "at each start. Other computers never reach it."
        )
        self.port = spin_box(theme, "Port", settings.service_port, 1024, 65535)
        self.port.editingFinished.connect(self._choose_port)
        self.form.addRow("Port", self.port)
        self.address = ElidedLabel("")
        self.copy_address = button("Copy address", "", lambda: _copy(embedded.url))
        self.copy_key = button("Copy key", "", lambda: _copy(embedded.key))
        self.new_key = button("New key", "", embedded.change_key)
        self.new_key.setToolTip("Programs that use the current key are refused from then on")
        row = in_row((self.address, 1), self.copy_address)
        self.form.addRow("Address", row)
        keys = in_row(self.copy_key, self.new_key, 1, spacing=theme.px(8))
        self.form.addRow("Key", keys)
        self.note = label("", "small", "warn", wrap=True)
        self.form.addRow("", self.note)
        embedded.changed.connect(self._show)
        self._show()

    def _share(self, on: bool) -> None:
        self._settings.service_shared = on
        self._settings.save()
        self._apply_service()
        self._show()

    def _choose_port(self) -> None:
        if self.port.value() != self._settings.service_port:
            self._settings.service_port = self.port.value()
            self._settings.save()
            self._apply_service()
            self._show()

    def _show(self) -> None:
        embedded, shared = self._embedded, self._settings.service_shared
        self.address.setText((embedded.url or embedded.state_text) if shared else "Not for other programs")
        for control in (self.copy_address, self.copy_key):
            control.setEnabled(shared and bool(embedded.url))
        self.new_key.setEnabled(shared and bool(embedded.url) and not embedded.attached)
        self.port.setEnabled(shared)
        note = ""
        if shared and embedded.attached:
            note = "The service was started by another program, with a port of its own."
        elif shared and embedded.url and f":{self._settings.service_port}/" not in embedded.url:
            note = f"Another program uses port {self._settings.service_port}: choose another one."
        self.note.setText(note)
        self.note.setVisible(bool(note))


_PLAIN = {"Del", "Backspace", "Ins", "Return", "Enter"}
"""Keys that may be an action's without Ctrl or Alt, where it belongs to some widgets alone."""


_KEYS_THAT_STAY = (
    "Among photos, digits are keys of labels (“Labeling” chooses of which), letters begin a label’s name, and arrows, Space and "
    "Esc move and select. These are not changed here."
)


class KeysPage(QWidget):
    """All actions with their keys; those of the chosen one can be changed."""

    def __init__(
        self, theme: Theme, settings: Settings, registry: ActionRegistry, widget_keys: Iterable[tuple[str, str]]
    ) -> None:
        super().__init__()
        self._settings = settings
        self._registry = registry
        self._widget_keys = {
            QKeySequence(part).toString(): words for keys, words in widget_keys for part in keys.split(", ")
        }
        self._wanted = ""
        self.search = QLineEdit(placeholderText="Find an action or a key", clearButtonEnabled=True)
        self.search.setAccessibleName("Find an action or a key")
        self.search.textChanged.connect(self._filter)
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels(["Action", "Keys"])
        self.table.setProperty("kind", "table")
        self.table.setAccessibleName("Actions")
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(theme.px(28))
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeading | Qt.AlignmentFlag.AlignVCenter)
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(1, theme.px(180))
        self.table.itemSelectionChanged.connect(self._show_chosen)
        self.edit = QKeySequenceEdit()
        self.edit.setMaximumSequenceLength(1)
        self.edit.setAccessibleName("Keys of the action")
        self.edit.editingFinished.connect(self._typed)
        self.remove = button("Remove", "", lambda: self._set(""))
        self.remove.setToolTip("Leave the action without keys")
        self.take = button("Use it here", "", self._take)
        self.reset = button("Reset", "", self._restore)
        self.reset_all = button("Reset all", "", self._reset_all)
        self.note = label("", "small", "muted", wrap=True)
        row = in_row((self.edit, 1), self.take, self.remove, self.reset, self.reset_all)
        stays = label(_KEYS_THAT_STAY, "small", "muted", wrap=True)
        in_column(self.search, self.table, row, self.note, stays, on=self, margins=theme.px(20), spacing=theme.px(8))
        self._fill()
        self._show_chosen()

    def choose(self, action_id: str) -> None:
        """Select the row of an action."""
        row = next(row for row in range(self.table.rowCount()) if self._id(row) == action_id)
        self.table.selectRow(row)

    def _id(self, row: int) -> str:
        return str(self._item(row, 0).data(_ID))

    def _item(self, row: int, column: int) -> QTableWidgetItem:
        item = self.table.item(row, column)
        assert item is not None  # noqa: S101 - made so in `_fill`
        return item

    def _entries(self) -> dict[str, ActionEntry]:
        return {entry.id: entry for entry in self._registry.entries()}

    def _fill(self) -> None:
        entries = self._entries()
        self.table.setRowCount(len(entries))
        for row, entry in enumerate(entries.values()):
            name = QTableWidgetItem(entry.text)
            name.setData(_ID, entry.id)
            self.table.setItem(row, 0, name)
            self.table.setItem(row, 1, QTableWidgetItem(entry.keys))

    def _refresh(self) -> None:
        entries = self._entries()
        for row in range(self.table.rowCount()):
            self._item(row, 1).setText(entries[self._id(row)].keys)

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        for row in range(self.table.rowCount()):
            shown = f"{self._item(row, 0).text()} {self._item(row, 1).text()}".lower()
            self.table.setRowHidden(row, not all(word in shown for word in words))

    def _chosen(self) -> ActionEntry | None:
        rows = self.table.selectionModel().selectedRows()
        return self._entries()[self._id(rows[0].row())] if rows else None

    def _show_chosen(self) -> None:
        entry = self._chosen()
        keys = "" if entry is None else self._registry.keys(entry.id)
        with QSignalBlocker(self.edit):
            self.edit.setKeySequence(QKeySequence(keys.split(", ")[0]))
        self.edit.setEnabled(entry is not None)
        self.remove.setEnabled(self.edit.isEnabled() and bool(keys))
        self.reset.setEnabled(entry is not None and entry.id in self._settings.action_keys)
        self.reset_all.setEnabled(bool(self._settings.action_keys))
        self._say("Choose an action, then press its new keys." if entry is None else "")

    def _say(self, text: str, *, can_take: bool = False, wrong: bool = False) -> None:
        self.note.setText(text)
        set_property(self.note, "tone", "bad" if wrong else "muted")
        self.take.setVisible(can_take)

    def _typed(self) -> None:
        entry, keys = self._chosen(), self.edit.keySequence().toString()
        if entry is None or not keys or keys == self._registry.keys(entry.id):
            return
        self._wanted = keys
        name = native_keys(keys)
        *modifiers, key = keys.split("+") if not keys.endswith("+") else [*keys[:-1].split("+"), "+"]
        plain = not {"Ctrl", "Alt", "Meta"} & set(modifiers) and not re.fullmatch(r"F\d+", key)
        allowed = (entry.local and key in _PLAIN) or (entry.letters and keys == key and key.isalpha())
        if plain and not allowed:
            self._say(f"{name} alone is for photos and labels: add {native_keys('Ctrl')} or Alt.", wrong=True)
            return
        if keys in self._widget_keys:
            self._say(
                f"{name} is taken: {self._widget_keys[keys][:1].lower()}{self._widget_keys[keys][1:]}.", wrong=True
            )
            return
        if others := self._registry.using(keys, besides=entry.id):
            names = "”, “".join(self._registry.text(one) for one in others)
            self._say(f"{name} belongs to “{names}”.", can_take=True, wrong=True)
            return
        self._set(keys)

    def _take(self) -> None:
        """Give the keys to the chosen action, and take them from those that had them."""
        entry = self._chosen()
        if entry is None:
            return
        for other in self._registry.using(self._wanted, besides=entry.id):
            left = [
                part
                for part in self._registry.keys(other).split(", ")
                if native_keys(part) != native_keys(self._wanted)
            ]
            self._registry.set_keys(other, ", ".join(left))
        self._set(self._wanted)

    def _restore(self) -> None:
        """Give the chosen action its own keys again, unless another has them now."""
        entry = self._chosen()
        if entry is None:
            return
        if others := self._registry.using(self._registry.own_keys(entry.id), besides=entry.id):
            names = "”, “".join(self._registry.text(one) for one in others)
            self._say(f"Its own keys belong to “{names}” now: change those first.", wrong=True)
        else:
            self._set(None)

    def _set(self, keys: str | None) -> None:
        if (entry := self._chosen()) is not None:
            self._registry.set_keys(entry.id, keys)
            self._settings.save()
            self._refresh()
            self._show_chosen()

    def _reset_all(self) -> None:
        for action_id in list(self._settings.action_keys):
            if action_id in self._entries():
                self._registry.set_keys(action_id, None)
        self._settings.action_keys.clear()
        self._settings.save()
        self._refresh()
        self._show_chosen()


def open_preferences(
    theme: Theme,
    settings: Settings,
    session: Session,
    registry: ActionRegistry,
    labeling: LabelingController,
    loader: ThumbnailLoader,
    embedded: EmbeddedService,
    toggle_menu_bar: Callable[[], object],
    widget_keys: Iterable[tuple[str, str]],
    window: QWidget,
) -> PreferencesDialog:
    """Open the preferences. `widget_keys`: keys that widgets handle themselves, with their effect."""

    def apply_service() -> None:
        port = settings.service_port if settings.service_shared else 0
        embedded.configure(ServiceSettings(paths.desktop_folder() / KEY_FILE, port, settings.threads))
        if settings.service_shared:
            embedded.start()  # another connection may be open

    folder = paths.service_folder().parent
    pages = (
        ("Appearance", AppearancePage(theme, settings, toggle_menu_bar)),
        ("Labeling", LabelingPage(theme, session, labeling)),
        (
            "Data and speed",
            DataPage(
                theme,
                settings,
                session,
                loader,
                folder,
                lambda: show_file(paths.service_folder(), session),
                apply_service,
            ),
        ),
        ("Service", ServicePage(theme, settings, embedded, apply_service)),
        ("Encoders", EncodersPage(theme, session)),
        ("Keys", KeysPage(theme, settings, registry, widget_keys)),
    )
    dialog = PreferencesDialog(theme, pages, window)
    dialog.open()
    return dialog


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
