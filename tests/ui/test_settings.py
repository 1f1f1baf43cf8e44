"""Settings: an old file is read, and what cannot be read falls back to its default alone."""

import pytest
from msgspec import UNSET
from PySide6.QtCore import QSettings

from apitorch_desktop.ui.grid.filters import Filter
from apitorch_desktop.ui.settings import MAX_SETS, Place, Settings

OLD = """[General]
[classify]
embedded=summer, work-safe
shop=@Invalid()
[filters]
saved="{\\"no dresses\\": {\\"words\\": \\"\\", \\"labels\\": [\\"dress\\"], \\"but\\": true, \\"days\\": 7, \
\\"size\\": \\"big\\", \\"found\\": [\\"quality\\"]}}"
[grid]
size=128
sort=newest
[labelling]
advance=true
keys="{\\"embedded 1\\": {\\"1\\": \\"hat\\"}}"
[look]
scheme=dark
[open]
connection=shop
places="{\\"embedded 1\\": {\\"image\\": \\"ti_1\\", \\"y\\": -3, \\"focus\\": \\"\\"}}"
training_set=1
[review]
keep=sharpest
[window]
classify=false
left=280
tree=true
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "window.ini"


def read(path):
    return Settings(store=QSettings(str(path), QSettings.Format.IniFormat))


def test_a_file_of_version_0_1_0_is_read_and_written_under_the_same_keys(path):
    path.write_text(OLD)
    settings = read(path)
    assert (settings.scheme, settings.sort, settings.thumbnail_size, settings.duplicate_rule) == (
        "dark", "newest", 128, "sharpest",
    )  # fmt: skip
    assert (settings.tree_width, settings.classify_width) == (280, UNSET)
    assert (settings.tree_shown, settings.classify_shown, settings.auto_advance) == (True, False, True)
    assert (settings.connection, settings.training_set) == ("shop", "1")
    assert settings.saved_filters == {"no dresses": Filter("", {"dress"}, True, 7, "big", found={"quality"})}
    assert settings.places == {"embedded 1": Place("ti_1", -3)}
    assert settings.label_keys == {"embedded 1": {"1": "hat"}}
    assert settings.chosen_classifiers("embedded") == ["summer", "work-safe"]
    assert settings.chosen_classifiers("elsewhere") is None
    settings.tree_width, settings.auto_advance = 300, False
    settings.set_chosen_classifiers("embedded", [])
    settings.save()
    settings.store.sync()
    text = path.read_text()
    assert "left=300" in text and "advance=false" in text and "classify=false" in text
    assert read(path).chosen_classifiers("embedded") == []
    assert read(path).saved_filters == settings.saved_filters


def test_each_unreadable_value_falls_back_to_its_default_alone(path):
    path.write_text(OLD)
    store = QSettings(str(path), QSettings.Format.IniFormat)
    for key, value in {
        "grid/size": "huge", "look/scheme": "pink", "window/tree": "perhaps", "labelling/keys": "{",
        "filters/saved": '{"a": 3, "b": {"words": 3, "labels": [1, "x"], "days": 4, "size": "huge", "found": ["y"]}}',
        "open/places": '{"embedded 1": {"image": "ti_1", "y": "far"}, "embedded 2": []}',
    }.items():  # fmt: skip
        store.setValue(key, value)
    settings = Settings(store=store)
    assert (settings.thumbnail_size, settings.scheme, settings.tree_shown) == (UNSET, "system", True)
    assert (settings.label_keys, settings.saved_filters) == ({}, {"b": Filter(labels={"x"})})
    assert settings.places == {"embedded 1": Place("ti_1")}
    assert (settings.sort, settings.tree_width, settings.duplicate_rule) == ("newest", 280, "sharpest")


def test_settings_of_training_sets_used_long_ago_are_forgotten(path):
    settings = read(path)
    for number in range(MAX_SETS + 2):
        settings.keep_newest(settings.places, f"embedded {number}", Place(str(number)))
    assert len(settings.places) == MAX_SETS
    assert "embedded 1" not in settings.places
