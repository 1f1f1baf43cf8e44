from datetime import UTC, datetime

import pytest
from PySide6.QtWidgets import QMenu

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.ui.filters import Filter, FilterMenu

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def image(label, name, created="2026-11-25T11:00:00+00:00", width=400, height=533):
    return TrainingImage(
        filename="0" * 40 + ".jpg", url="", label=label, original_filename=name, created_at=created,
        width=width, height=height,
    )  # fmt: skip


SHIRT = image("shirt", "Striped 04.jpg")
OLD = image("t_shirt", "plain.jpg", created="2026-11-01T11:00:00+00:00")
SMALL = image("shoes", "striped socks.jpg", width=300, height=120)
ALL = [SHIRT, OLD, SMALL]


def kept(wanted):
    keep = wanted.keep(NOW)
    return ALL if keep is None else [one for one in ALL if keep(one)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), ALL),
        (Filter("   "), ALL),
        (Filter("shirt"), [SHIRT, OLD]),
        (Filter("STRIPED shirt"), [SHIRT]),
        (Filter("striped -shoes"), [SHIRT]),
        (Filter("-"), []),
        (Filter(labels={"shoes", "t_shirt"}), [OLD, SMALL]),
        (Filter(days=7), [SHIRT, SMALL]),
        (Filter(size="small"), [SMALL]),
        (Filter(size="big", days=7), [SHIRT]),
    ],
)
def test_every_criterion_narrows_what_is_shown(wanted, found):
    assert kept(wanted) == found


def test_records_of_a_service_that_tells_little_are_no_fault():
    bare = TrainingImage(filename="1" * 40 + ".jpg", url="")
    for wanted in (Filter("shirt"), Filter(days=1), Filter(size="big")):
        assert not wanted.keep(NOW)(bare)


def test_the_menu_shows_what_is_chosen_and_takes_it_back(qapp):
    menu, wanted = QMenu(), Filter()
    filters = FilterMenu(menu, wanted, lambda: ["shirt", "shoes"])
    changes = []
    filters.changed.connect(lambda: changes.append(wanted.chosen()))
    menu.aboutToShow.emit()
    labels = menu.actions()[0].menu()
    labels.actions()[1].trigger()
    assert wanted.labels == {"shoes"}
    menu.aboutToShow.emit()
    assert [action.isChecked() for action in menu.actions()[0].menu().actions()] == [False, True]
    next(action for action in menu.actions() if action.text() == "Show all").trigger()
    assert changes == [1, 0]
    menu.deleteLater()
