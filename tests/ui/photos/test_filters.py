from datetime import UTC, datetime

import pytest
from PySide6.QtCore import QPoint, QSettings
from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.dataset.workspace.image_table import ImageTable
from apitorch_desktop.ui.grid.filters import Filter
from apitorch_desktop.ui.main_window.toolbar import FilterMenu, suggestion
from apitorch_desktop.ui.settings import Settings
from tests.helpers.event_loop import wait_until

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


FOUND = {"suspects": ["ti_old"], "quality": ["ti_small"]}


def image(label, name, name_of_id, created="2026-11-25T11:00:00+00:00", width=400, height=533):
    return TrainingImage(
        filename="0" * 40 + ".jpg", id=name_of_id, url="", label=label, original_filename=name, created_at=created,
        width=width, height=height,
    )  # fmt: skip


SHIRT = image("shirt", "Striped 04.jpg", "ti_shirt")
OLD = image("t_shirt", "plain.jpg", "ti_old", created="2026-11-01T11:00:00+00:00")
SMALL = image("shoes", "striped socks.jpg", "ti_small", width=300, height=120)
SMALL.split = "test"
ALL = [SHIRT, OLD, SMALL]


ANSWERS = {"ti_shirt": OutOfFoldAnswer("shirt", 0.95), "ti_old": OutOfFoldAnswer("shirt", 0.55)}


def kept(wanted):
    keep = wanted.keep(NOW, FOUND.__getitem__, ANSWERS)
    return ALL if keep is None else [one for one, passes in zip(ALL, keep(table(ALL)), strict=True) if passes]


def table(images):
    made = ImageTable()
    made.append(images)
    return made


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), ALL),
        (Filter("   "), ALL),
        (Filter("split:test"), [SMALL]),
        (Filter("split:no"), [SHIRT, OLD]),
        (Filter("-split:test"), [SHIRT, OLD]),
        (Filter(split="test"), [SMALL]),
        (Filter(split="none"), [SHIRT, OLD]),
        (Filter(split="train"), []),
        (Filter("shirt"), [SHIRT, OLD]),
        (Filter("STRIPED shirt"), [SHIRT]),
        (Filter("striped -shoes"), [SHIRT]),
        (Filter("-"), []),
        (Filter("striped not shoes"), [SHIRT]),
        (Filter("striped not"), [SHIRT, SMALL]),
        (Filter("not"), []),
        (Filter("not striped"), [OLD]),
        (Filter(labels={"shoes"}, but=True), [SHIRT, OLD]),
        (Filter(days=30), ALL),
        (Filter(found={"suspects"}), [OLD]),
        (Filter(found={"suspects", "quality"}), [OLD, SMALL]),
        (Filter("shirt", found={"quality"}), []),
        (Filter(labels={"shoes", "t_shirt"}), [OLD, SMALL]),
        (Filter(days=7), [SHIRT, SMALL]),
        (Filter(size="small"), [SMALL]),
        (Filter(size="big", days=7), [SHIRT]),
        (Filter("confidence<0.6"), [OLD]),
        (Filter("confidence<60%"), [OLD]),
        (Filter("confidence>=0,95"), [SHIRT]),
        (Filter("confidence=.55"), [OLD]),
        (Filter("-confidence<0.6"), [SHIRT, SMALL]),
        (Filter("confidence<"), ALL),
        (Filter("predicted:shirt"), [SHIRT, OLD]),
        (Filter("predicted:sh striped"), [SHIRT]),
        (Filter("label:t_shirt predicted:shirt"), [OLD]),
        (Filter("not predicted:shirt"), [SMALL]),
        (Filter("predicted:shoes"), []),
        (Filter(answer="other"), [OLD]),
        (Filter(answer="unsure"), [OLD]),
        (Filter(answer="sure", labels={"shirt"}), [SHIRT]),
    ],
)
def test_every_criterion_narrows_what_is_shown(wanted, found):
    assert kept(wanted) == found


def test_records_of_a_service_that_tells_little_are_no_fault():
    bare = TrainingImage(filename="1" * 40 + ".jpg", url="")
    for wanted in (Filter("shirt"), Filter(days=1), Filter(size="big")):
        assert not wanted.keep(NOW)(table([bare]))[0]


@pytest.fixture
def settings(qapp, tmp_path):
    return Settings(store=QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))


def test_the_menu_shows_what_is_chosen_and_takes_it_back(settings):
    menu, wanted = QMenu(), Filter()
    filters = FilterMenu(menu, wanted, lambda: ["shirt", "shoes"], settings)
    changes = []
    filters.changed.connect(lambda: changes.append(wanted.chosen()))
    menu.aboutToShow.emit()
    labels = menu.actions()[0].menu()
    labels.actions()[-1].trigger()
    assert wanted.labels == {"shoes"}
    menu.aboutToShow.emit()
    assert [action.isChecked() for action in menu.actions()[0].menu().actions()][-2:] == [False, True]
    next(action for action in menu.actions() if action.text() == "Show all").trigger()
    assert changes == [1, 0]
    menu.deleteLater()


def test_a_filter_is_saved_by_name_taken_again_and_forgotten(settings):
    menu, wanted = QMenu(), Filter("striped", {"shirt"}, but=True, days=7, size="big", found={"quality"})
    filters = FilterMenu(menu, wanted, lambda: ["shirt", "shoes"], settings)
    filters._save("  My   filter ")
    filters.clear()
    assert wanted == Filter()
    settings.store.sync()
    reread = Settings(store=QSettings(settings.store.fileName(), settings.store.format()))
    again = FilterMenu(menu, wanted, lambda: ["shirt"], reread)
    again._fill()
    next(action for action in menu.actions() if action.text() == "My filter").trigger()
    assert wanted == Filter("striped", {"shirt"}, but=True, days=7, size="big", found={"quality"})
    again._fill()
    forget = next(action.menu() for action in menu.actions() if action.text() == "Forget")
    forget.actions()[0].trigger()
    assert Settings(store=reread.store).saved_filters == {}
    menu.deleteLater()


def test_a_name_for_a_filter_says_what_it_shows():
    assert suggestion(Filter("blue", {"shirt"}, but=True, days=7)) == "blue · not shirt · in the last 7 days"


def test_hundreds_of_labels_lie_in_menus_that_fit_with_the_chosen_ones_and_their_negation_within_reach(
    qtbot, theme, settings
):
    menu = QMenu()
    qtbot.addWidget(menu)
    names = [f"label_{number:03}" for number in range(300)]
    wanted = Filter(labels={"label_123"})
    FilterMenu(menu, wanted, lambda: names, settings)
    menu.aboutToShow.emit()
    labels = menu.actions()[0].menu()
    texts = [action.text() for action in labels.actions() if not action.isSeparator()]
    assert texts[:3] == ["All but these", "label_123", "label_000 – label_019"]
    parts = [below for action in labels.actions() if (below := action.menu()) is not None]
    assert [action.text() for below in parts for action in below.actions()] == [
        one for one in names if one != "label_123"
    ]
    assert max(len(below.actions()) for below in (labels, *parts)) <= 22
    parts[-1].actions()[-1].trigger()
    assert wanted.labels == {"label_123", "label_299"}
    labels.popup(QPoint(0, 0))
    wait_until(labels.isVisible)
    assert labels.width() < labels.screen().availableGeometry().width() / 3
    labels.close()
