from PySide6.QtCore import Qt

from apitorch_desktop.api.types import (
    ClassificationChange,
    ClassifierVersion,
    LabelMetrics,
    Metrics,
    TrainingImage,
    VersionDifference,
)
from apitorch_desktop.ui.photo_board.model import HeadingRow
from apitorch_desktop.ui.versions.controller import (
    ComparedVersions,
    VersionsPage,
    answers_text,
    changed_rows,
    data_text,
    state_text,
)
from tests.helpers.event_loop import expose, turn


def version(number, accuracies=None, *, images=10, **facts):
    counts = {"added": 0, "removed": 0, "relabeled": 0, "better": 0, "worse": 0, "sideways": 0}
    given = {name: facts.pop(name) for name in counts if name in facts}
    found = ClassifierVersion(
        version=number, trained_at="2026-05-01T12:00:00.000Z", current=facts.pop("current", False), images=images,
        labels=list(accuracies or ()), **facts,
    )  # fmt: skip
    if accuracies:
        labels = [LabelMetrics(label=name, count=5, accuracy=share) for name, share in accuracies.items()]
        shares = list(accuracies.values())
        found.metrics = Metrics(accuracy=sum(shares) / len(shares), images=images, folds=5, labels=labels)
    if number > 1:
        found.difference = VersionDifference(version=number - 1, images=8, p_value=1, **(counts | given))
    return found


def test_changes_of_a_version_are_told_in_a_few_words():
    assert (data_text(version(1)), answers_text(version(1))) == ("", "")
    assert (data_text(version(2)), answers_text(version(2))) == ("the same photos", "none changed")
    changed = version(2, added=12, removed=3, relabeled=2, better=5, sideways=1)
    assert data_text(changed) == "+12 −3, 2 relabeled"
    assert answers_text(changed) == "5 better, 1 still wrong"
    assert data_text(version(2, relabeled=4)) == "4 relabeled"
    states = [state_text(each) for each in (version(1), version(2, current=True), version(3, waiting=True))]
    assert states == ["", "in use", "waits"]


def test_two_versions_are_compared_by_what_was_lost_and_gained():
    pair = ComparedVersions(
        version(1, {"cat": 0.9, "dog": 0.7}), version(2, {"cat": 0.8, "dog": 0.9, "owl": 0.1}, images=14)
    )
    assert pair.sentence() == (
        "Version 2 compared with version 1: 80 % → 60 % right, 10 photos → 14. "
        "Most lost: cat, 90 % → 80 %. Most gained: dog, 70 % → 90 %."
    )
    same = ComparedVersions(version(1, {"cat": 0.9}), version(2, {"cat": 0.9}))
    assert same.sentence() == "Version 2 compared with version 1: 90 % → 90 % right, 10 photos → 10."
    assert ComparedVersions(version(1), version(2)).sentence() == "Version 2 compared with version 1."


def test_changed_photos_come_by_kind_without_those_that_are_gone():
    def change(image, kind, before, after):
        return ClassificationChange(
            image_id=image,
            label="cat",
            from_label=before,
            to_label=after,
            from_value="0.61",
            to_value="0.84",
            kind=kind,
        )

    images = {name: TrainingImage(filename=f"{name}.jpg", url="", id=name, label="cat") for name in "abc"}
    changes = [
        change("a", "better", "dog", "cat"),
        change("b", "sideways", "dog", "owl"),
        change("c", "worse", "cat", "dog"),
        change("gone", "worse", "cat", "owl"),
    ]
    rows = changed_rows(changes, images.get)
    assert [row.title if isinstance(row, HeadingRow) else row.lines for row in rows] == [
        "Worse · 1", ("cat → dog", "61 % → 84 %"),
        "Better · 1", ("dog → cat", "61 % → 84 %"),
        "Still wrong · 1", ("dog → owl", "is cat"),
    ]  # fmt: skip


def test_the_chart_gives_way_to_the_columns_and_then_those_that_say_least(theme, loader, qtbot):
    page = VersionsPage(theme, loader)
    qtbot.addWidget(page)
    page.show_versions([
        version(number, {"cat": 0.9, "dog": 0.7}, added=1200, removed=345, relabeled=67, better=123, worse=45, sideways=6)
        for number in (3, 2)
    ])  # fmt: skip
    page.resize(1600, 700)
    expose(page)
    header, table = page.table.header(), page.table

    def columns():
        shown = [at for at in range(header.count()) if not header.isSectionHidden(at)]
        return sum(max(header.sectionSizeHint(at), table.sizeHintForColumn(at)) for at in shown)

    seen, given_up = set(), []
    for width in range(1600, 400, -25):
        page.resize(width, 700)
        turn()
        seen.add(page.chart.isHidden())
        if not page.chart.isHidden():
            assert table.viewport().width() >= columns()
            assert page.chart.width() >= theme.px(140)
        hidden = {column.title for at, column in enumerate(page.model.columns) if header.isSectionHidden(at)}
        assert table.viewport().width() >= columns() or len(hidden) == 3
        assert page.chart.isHidden() or not hidden
        given_up += sorted(hidden - set(given_up))
    assert seen == {False, True}
    assert given_up == ["Made", "Changed photos", "Photos"]
    tip = page.model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert tip.startswith("10 photos · +1,200 −345, 67 relabeled")
    page.resize(1600, 700)
    turn()
    assert not any(header.isSectionHidden(at) for at in range(header.count()))
    page.close()
