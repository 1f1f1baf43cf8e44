"""Settings of the window, typed: one schema over `window.ini`, whose keys are those of version 0.1.0."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, UnsetType, ValidationError, field
from PySide6.QtCore import QSettings

from apitorch_desktop.ui.grid.filters import Filter
from apitorch_desktop.ui.theme.theme import Scheme
from apitorch_desktop.utils.decoding import prepared

LabelKey = Annotated[str, Meta(pattern="^[0-9]$")]
SortOrder = Literal["label", "name", "newest", "oldest", "big", "most", "fewest", "proposed", "unsure", "sure"]
DuplicateRule = Annotated[str, Meta(pattern="^(largest|oldest|sharpest)$")]

MAX_SETS = 100
"""Training sets whose keys and places are kept; the one used longest ago is forgotten first."""


class Place(msgspec.Struct):
    """Scroll position of a training set's grid: image at the top edge, its distance from that in pixels, focused image."""

    image: str = ""
    y: int = 0
    focus: str = ""


class Settings(msgspec.Struct, kw_only=True, eq=False):
    """Read when it is made; what cannot be read falls back to its default alone. `save` writes what has changed.

    The keys of dictionaries by training set are those of `Session.open_set_key`.
    """

    store: QSettings
    scheme: Scheme = field(default="system", name="look/scheme")
    type_size: Annotated[int, Meta(ge=100, le=200)] = field(default=100, name="look/type_size")
    """Percent of the system's type."""
    tree_width: int | UnsetType = field(default=UNSET, name="window/left")
    tree_shown: bool = field(default=True, name="window/tree")
    classify_width: int | UnsetType = field(default=UNSET, name="window/right")
    classify_shown: bool = field(default=True, name="window/classify")
    menu_bar_shown: bool = field(default=True, name="window/menu_bar")
    connection: str = field(default="embedded", name="open/connection")
    training_set: str = field(default="", name="open/training_set")
    filters: dict[str, Filter] = field(default_factory=dict, name="open/filter")
    """By training set: the filter when the window was closed."""
    places: dict[str, Place] = field(default_factory=dict, name="open/places")
    sort: SortOrder = field(default="label", name="grid/sort")
    thumbnail_size: int | UnsetType = field(default=UNSET, name="grid/size")
    thumbnail_memory: Annotated[int, Meta(ge=64, le=16384)] = field(default=256, name="grid/memory")
    """MiB of decoded thumbnails that are kept."""
    threads: Annotated[int, Meta(ge=0, le=1024)] = field(default=0, name="service/threads")
    """Processor cores that the service on this computer uses, 0 for all."""
    service_shared: bool = field(default=False, name="service/shared")
    """True if other programs may use the service on this computer."""
    service_port: Annotated[int, Meta(ge=1024, le=65535)] = field(default=8765, name="service/port")
    recent: dict[str, str] = field(default_factory=dict, name="open/recent")
    """What was opened or imported, newest last: "set:<connection>/<id>" or "path:<path>" → its name."""
    tour_seen: bool = field(default=False, name="help/tour_seen")
    saved_filters: dict[str, Filter] = field(default_factory=dict, name="filters/saved")
    """By name."""
    auto_advance: bool = field(default=False, name="labelling/advance")
    label_keys: dict[str, dict[LabelKey, str]] = field(default_factory=dict, name="labelling/keys")
    """By training set: key → label."""
    action_keys: dict[str, str] = field(default_factory=dict, name="keys/actions")
    """Id of an action → the keys chosen in place of its own, "" for none."""
    proposal_threshold: Annotated[int, Meta(ge=0, le=100)] = field(default=90, name="labelling/threshold")
    """Least confidence of the classifier in percent for which its label was accepted last."""
    camera: str = field(default="", name="camera/device")
    """Id of the camera that was chosen last."""
    export_folder: str = field(default="", name="export/folder")
    """The folder that was exported to last."""
    duplicate_rule: DuplicateRule = field(default="largest", name="review/keep")

    def __post_init__(self) -> None:
        for setting in _settings():
            value = self.store.value(setting.encode_name)
            try:
                if get_origin(setting.type) is dict:
                    value = msgspec.json.decode(str(value))
                setattr(self, setting.name, _readable(value, setting.type))
            except ValueError:  # unreadable, or never written
                continue

    def save(self) -> None:
        """Write the settings that differ from what is in the file."""
        for setting in _settings():
            value = getattr(self, setting.name)
            if value is UNSET:
                continue
            if isinstance(value, dict):
                value = msgspec.json.encode(value).decode()
            elif isinstance(value, bool):
                value = "true" if value else "false"
            if str(self.store.value(setting.encode_name)) != str(value):
                self.store.setValue(setting.encode_name, value)

    def chosen_classifiers(self, connection_id: str) -> list[str] | None:
        """Return the slugs of the classifiers that the user chose for a connection, None if there was no choice yet."""
        value = self.store.value(f"classify/{connection_id}")
        if value is None:
            return None
        return [slug for slug in ([value] if isinstance(value, str) else value) if isinstance(slug, str) and slug]

    def set_chosen_classifiers(self, connection_id: str, slugs: list[str]) -> None:
        """Keep the choice of classifiers for a connection."""
        self.store.setValue(f"classify/{connection_id}", slugs or [""])

    def keep_newest(self, kept: dict[str, Any], key: str, value: object) -> None:
        """Put a value of a training set at the end of a dictionary by training set; drop the oldest beyond `MAX_SETS`."""
        kept.pop(key, None)
        kept[key] = value
        for oldest in list(kept)[:-MAX_SETS]:
            del kept[oldest]


def _settings() -> list[msgspec.structs.FieldInfo]:
    return [info for info in msgspec.structs.fields(Settings) if info.name != "store"]


def _readable(value: Any, wanted: Any) -> Any:
    """Convert a value; parts of a record, dictionary or set that have another form are left out.

    Raises `msgspec.ValidationError` for a value that has another form as a whole.
    """
    kind, parts = get_origin(wanted), get_args(wanted)
    if isinstance(value, dict) and isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        types = {info.encode_name: (info.name, info.type) for info in msgspec.structs.fields(wanted)}
        known = {types[name]: part for name, part in value.items() if name in types}
        return wanted(**{name: good for (name, part_type), part in known.items() for good in _one(part, part_type)})
    if isinstance(value, dict) and kind is dict:
        pairs = [(key, good) for key, part in value.items() for good in _one(part, parts[1])]
        return {good_key: part for key, part in pairs for good_key in _one(key, parts[0])}
    if isinstance(value, list) and kind is set:
        return {good for part in value for good in _one(part, parts[0])}
    return msgspec.convert(value, prepared(wanted), strict=False)


def _one(value: object, wanted: Any) -> list[Any]:
    """Return the converted value in a list, or an empty list if it has another form."""
    try:
        return [_readable(value, wanted)]
    except ValidationError:
        return []
