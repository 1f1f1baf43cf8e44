import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester

from apitorch_desktop.api.types import INBOX, TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.dataset.workspace.image_table import ImageTable
from apitorch_desktop.ui.grid.model import FlatList, GridModel, LabelGroup

LABELS = ["boots", "hat", "shirt", "shoes"]


def image(number, label="shirt", **more):
    return TrainingImage(
        filename=f"{number:040x}.jpg", url="", label=label, bytes=number, original_filename=f"IMG_{number}.jpg", **more
    )


def ids(*images):
    return [one.image_id for one in images]


def rows(model):
    return [model.image(row).image_id for row in range(model.shown)]


@pytest.fixture
def model(qapp):
    model = GridModel()
    model.tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    return model


@pytest.fixture
def listed(model):
    model.set_groups(
        [LabelGroup("hat", [image(1, "hat"), image(2, "hat")], 0.5), LabelGroup("shirt", [image(3), image(4)])]
    )
    return model


def test_rows_are_the_images_in_group_order(listed):
    assert rows(listed) == ids(image(1), image(2), image(3), image(4))
    assert [listed.label_at(row) for row in range(4)] == ["hat", "hat", "shirt", "shirt"]
    assert [(group.label, len(group.images), group.accuracy) for group in listed.groups] == [
        ("hat", 2, 0.5),
        ("shirt", 2, None),
    ]


def test_photos_without_a_label_are_the_first_group_while_there_are_any(listed):
    def shown():
        return [(group.label, len(group.images)) for group in listed.groups]

    listed.add([image(5, INBOX), image(6, INBOX)])
    assert shown() == [(INBOX, 2), ("hat", 2), ("shirt", 2)]
    listed.set_answers(
        {one.image_id: OutOfFoldAnswer("hat", 0.5 + one.bytes / 100) for one in (image(5), image(6), image(1))}
    )
    assert [(found.bytes, answer.label) for found, answer in listed.proposals()] == [(6, "hat"), (5, "hat")]
    assert listed.badge(image(5).image_id).startswith("hat? 55")
    assert listed.badge(image(1).image_id) == ""
    listed.set_sort(None, by_count=1)
    assert shown()[0][0] == INBOX
    listed.set_sort(None)
    listed.move(ids(image(5), image(6)), "boots")
    assert shown() == [("boots", 2), ("hat", 2), ("shirt", 2)]
    assert listed.proposals() == []
    assert listed.badge(image(5).image_id) == ""
    listed.move(ids(image(3)), INBOX)
    assert shown() == [(INBOX, 1), ("boots", 2), ("hat", 2), ("shirt", 1)]


def test_images_come_in_as_insertions_and_what_is_selected_and_focused_stays(listed):
    resets, inserted = [], []
    listed.modelReset.connect(lambda: resets.append(1))
    listed.rowsInserted.connect(lambda parent, first, last: inserted.append((first, last)))
    focus = QPersistentModelIndex(listed.index(3))
    listed.selection.set(range(2, 4))
    listed.add([image(5, "hat"), image(6, "hat"), image(7)])
    assert rows(listed) == ids(image(1), image(2), image(5), image(6), image(3), image(4), image(7))
    assert listed.selected_ids() == ids(image(3), image(4))
    assert focus.row() == 5
    assert resets == []
    assert inserted == [(2, 3), (6, 6)]


def test_a_label_that_is_new_finds_its_place_in_the_alphabet(listed):
    listed.add([image(5, "pants"), image(6, "boots")])
    assert [group.label for group in listed.groups] == ["boots", "hat", "pants", "shirt"]


def test_a_known_id_replaces_its_record_and_is_not_shown_twice(listed):
    newer = image(3)
    newer.bytes = 99
    listed.selection.set(range(2, 3))
    listed.add([newer, image(3)])
    assert listed.total == 4
    listed.add([newer])
    assert listed.record(newer.image_id).bytes == 99
    assert listed.selected_ids() == ids(newer)
    elsewhere = image(3, "hat")
    listed.add([elsewhere])
    assert rows(listed) == ids(image(1), image(2), image(3), image(4))
    assert listed.label_at(2) == "hat"


def test_moved_images_go_to_the_end_of_the_label_and_stay_selected(listed):
    listed.selection.set(range(1))
    listed.selection.set(range(3, 4))
    listed.move(ids(image(1), image(4), image(99)), "shirt")
    assert rows(listed) == ids(image(2), image(3), image(4), image(1))
    assert listed.selected_ids() == ids(image(4), image(1))
    assert listed.record(image(1).image_id).label == "shirt"


def test_a_move_to_a_label_that_does_not_exist_yet_makes_it(listed):
    listed.move(ids(image(3)), "jacket")
    assert [group.label for group in listed.groups] == ["hat", "jacket", "shirt"]


def test_removed_images_are_gone_and_the_others_keep_their_selection(listed):
    listed.selection.all()
    index = QPersistentModelIndex(listed.index(3))
    gone = QPersistentModelIndex(listed.index(1))
    listed.remove(ids(image(2), image(99)))
    assert rows(listed) == ids(image(1), image(3), image(4))
    assert len(listed.selection) == 3
    assert index.row() == 2
    assert not gone.isValid()


def test_labels_can_be_made_renamed_merged_and_taken_out(listed):
    listed.selection.set(range(1))
    listed.add_label("boots")
    listed.rename_label("hat", "cap")
    assert [(group.label, len(group.images)) for group in listed.groups] == [("boots", 0), ("cap", 2), ("shirt", 2)]
    assert listed.record(image(1).image_id).label == "cap"
    listed.rename_label("cap", "shirt")
    assert rows(listed) == ids(image(3), image(4), image(1), image(2))
    assert listed.selected_ids() == ids(image(1))
    listed.remove_label("shirt")
    assert listed.total == 0
    assert listed.labels == ["boots"]


def test_a_filter_hides_images_and_groups_and_what_stays_shown_stays_selected(listed):
    listed.selection.all()
    listed.set_filter(lambda table: (table.file_size == 2) | (table.file_size == 9))
    assert rows(listed) == ids(image(2))
    assert [group.label for group in listed.groups] == ["hat"]
    assert (listed.shown, listed.total, listed.filtered) == (1, 4, True)
    listed.add([image(9), image(10)])
    assert rows(listed) == ids(image(2), image(9))
    listed.set_filter(None)
    assert rows(listed) == ids(image(1), image(2), image(3), image(4), image(9), image(10))
    assert listed.selected_ids() == ids(image(2))


def test_a_sort_orders_within_groups_and_newcomers_find_their_place(listed):
    listed.set_sort(lambda table: table.file_size, reverse=True)
    assert rows(listed) == ids(image(2), image(1), image(4), image(3))
    listed.add([image(0, "hat"), image(9, "hat")])
    assert rows(listed)[:4] == ids(image(9), image(2), image(1), image(0))
    listed.add([image(number) for number in range(20, 60)])
    assert rows(listed)[4:6] == ids(image(59), image(58))
    listed.set_sort(None)
    assert rows(listed)[:4] == ids(image(1), image(2), image(0), image(9))


def test_labels_are_ordered_by_how_many_they_have_and_stay_in_place_while_labelling(listed):
    def order():
        return [(group.label, len(group.images)) for group in listed.groups]

    listed.add([image(5)])
    listed.selection.set(range(1))
    kept = listed.selected_ids()
    listed.set_sort(None, by_count=1)
    assert order() == [("shirt", 3), ("hat", 2)]
    assert listed.selected_ids() == kept
    listed.add([image(6, "hat"), image(7, "hat"), image(8, "hat")])
    assert order() == [("hat", 5), ("shirt", 3)]
    listed.move(ids(image(6), image(7), image(8)), "shirt")
    assert order() == [("hat", 2), ("shirt", 6)]
    listed.remove(ids(image(1), image(2)))
    listed.add([image(9, "boots")])
    assert order() == [("hat", 0), ("shirt", 6), ("boots", 1)]
    listed.set_filter(lambda table: table.file_size > 3, again=True)
    assert order() == [("shirt", 5), ("boots", 1)]
    listed.rename_label("shirt", "top")
    listed.set_filter(None, again=True)
    assert order() == [("hat", 0), ("top", 6), ("boots", 1)]
    listed.set_filter(lambda table: table.file_size > 3)
    assert order() == [("top", 5), ("boots", 1)]
    listed.set_filter(None)
    assert order() == [("top", 6), ("boots", 1), ("hat", 0)]
    listed.remove(ids(image(9)))
    listed.add([image(20, "hat")])
    assert order() == [("top", 6), ("boots", 0), ("hat", 1)]
    listed.set_sort(None, by_count=1)
    assert order() == [("top", 6), ("hat", 1), ("boots", 0)]
    listed.set_sort(None)
    assert order() == [("boots", 0), ("hat", 1), ("top", 6)]


def test_images_can_be_one_list_whatever_their_labels(listed):
    def order():
        return [(group.label, [one.bytes for one in group.images]) for group in listed.groups]

    listed.set_groups([LabelGroup("boots"), LabelGroup("hat", [image(1, "hat"), image(2, "hat")])])
    listed.add([image(3), image(4)])
    near = {image(number).image_id: value for number, value in ((2, 0.3), (3, 0.1), (4, 0.9))}
    flat = FlatList("Most similar first", lambda image_id: f"{near.get(image_id, 0):.0%}")
    listed.set_sort(lambda table: table.numbers(near, -2), reverse=True, flat=flat)
    assert order() == [("", [4, 2, 3, 1])]
    assert [listed.label_at(row) for row in range(4)] == ["shirt", "hat", "shirt", "hat"]
    assert listed.badge(image(2).image_id) == "30% · hat"
    listed.move(ids(image(4)), "hat")
    listed.add([image(5)])
    assert order() == [("", [4, 2, 3, 1, 5])]
    assert listed.label_at(0) == "hat"
    listed.set_filter(lambda table: table.file_size < 4)
    assert order() == [("", [2, 3, 1])]
    listed.set_filter(lambda table: table.file_size > 9)
    assert (order(), listed.shown) == ([], 0)
    listed.set_sort(None)
    listed.set_filter(None)
    assert order() == [("boots", []), ("hat", [1, 2, 4]), ("shirt", [3, 5])]
    assert listed.badge(image(2).image_id) == ""


def test_ids_that_a_service_changed_are_followed(listed):
    told = []
    listed.ids_replaced.connect(told.append)
    listed.set_badges({image(3).image_id: "hat?"})
    listed.selection.set(range(2, 3))
    listed.replace_ids({image(3).image_id: "ti_new"})
    assert listed.selected_ids() == ["ti_new"]
    assert listed.row_of("ti_new") == 2
    assert listed.row_of(image(3).image_id) is None
    assert listed.badges == {"ti_new": "hat?"}
    assert told == [{image(3).image_id: "ti_new"}]


def test_a_screen_reader_hears_label_name_finding_and_selection(listed):
    listed.set_badges({image(3).image_id: "hat?"})
    said = lambda row: listed.data(listed.index(row), Qt.ItemDataRole.AccessibleTextRole)  # noqa: E731
    assert said(2) == "shirt, IMG_3.jpg, hat?"
    listed.selection.toggle(2)
    assert said(2) == "shirt, IMG_3.jpg, hat?, selected"
    assert listed.data(listed.index(1), Qt.ItemDataRole.ToolTipRole) == "IMG_2.jpg\n2 bytes"


def test_selected_bytes_count_what_is_known(listed):
    listed.add([TrainingImage(filename="x.jpg", url="", label="shirt")])
    listed.selection.all()
    assert listed.selected_bytes() == 1 + 2 + 3 + 4


def test_neighbours_go_on_across_groups_and_end_at_the_ends(listed):
    assert listed.neighbor(image(2).image_id, 1).image_id == image(3).image_id
    assert listed.neighbor(image(3).image_id, -1).image_id == image(2).image_id
    assert listed.neighbor(image(4).image_id, 1) is None
    assert listed.neighbor("ti_none", 1) is None


def test_a_table_that_a_lane_made_is_shown_and_added_to(listed):
    table = ImageTable()
    table.append([image(number, "hat") for number in range(5, 80)])
    listed.selection.set(range(1))
    listed.add_table(table)
    more = ImageTable()
    more.append([image(number, "boots") for number in range(90, 95)])
    listed.add_table(more)
    assert [(group.label, len(group.images)) for group in listed.groups] == [("boots", 5), ("hat", 77), ("shirt", 2)]
    assert listed.selected_ids() == ids(image(1))
    assert rows(listed)[:6] == ids(*(image(number) for number in (90, 91, 92, 93, 94, 1)))
    assert listed.record(image(93).image_id).label == "boots"
    listed.add([image(96, "boots")])
    assert listed.label_of(image(96).image_id) == "boots"
    assert [one.bytes for one in listed.records()] == [90, 91, 92, 93, 94, 96, 1, 2, *range(5, 80), 3, 4]


class ModelAgainstLists(RuleBasedStateMachine):
    """The model with all its signals against a dict of lists."""

    @initialize()
    def start(self):
        self.model = GridModel()
        self.tester = QAbstractItemModelTester(self.model, QAbstractItemModelTester.FailureReportingMode.Fatal)
        self.model.set_groups([LabelGroup("hat"), LabelGroup("shirt")])
        self.all = {"hat": [], "shirt": []}
        self.selected = set()
        self.keep, self.key, self.by_count = None, None, 0
        self.held = None
        self.last = 0
        self.focus = QPersistentModelIndex()
        self.focused = ""
        self.model.rowsInserted.connect(self.check_view_of_insertions)

    def check_view_of_insertions(self, parent, first, last):
        assert self.model.rowCount() == self.model.shown

    def hold(self, going):
        if going and self.by_count and self.held is None:
            self.held = list(self.shown())

    def make_known(self):
        return sorted(one for ones in self.all.values() for one in ones)

    @rule(label=st.sampled_from(LABELS), count=st.integers(1, 25))
    def add(self, label, count):
        fresh = [image(self.last + at + 1, label) for at in range(count)]
        self.last += count
        self.model.add(fresh)
        if label not in self.all:
            self.all[label] = []
            self.all = dict(sorted(self.all.items()))
        self.all[label] += [one.bytes for one in fresh]

    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def move(self, data, label):
        known = self.make_known()
        if known:
            going = data.draw(st.sets(st.sampled_from(known), max_size=6))
            going = {one for one in going if one not in self.all.get(label, ())}
            self.hold(going)
            self.model.move(ids(*map(image, going)), label)
            moved = [one for ones in self.all.values() for one in ones if one in going]
            if moved:
                self.all = {name: [one for one in ones if one not in going] for name, ones in self.all.items()}
                self.all.setdefault(label, [])
                self.all = dict(sorted(self.all.items()))
                self.all[label] += moved

    @rule(data=st.data())
    def remove(self, data):
        known = self.make_known()
        if known:
            going = data.draw(st.sets(st.sampled_from(known), max_size=6))
            self.hold(going)
            self.model.remove(ids(*map(image, going)))
            self.all = {name: [one for one in ones if one not in going] for name, ones in self.all.items()}
            self.selected -= going

    @rule(parity=st.sampled_from([None, 0, 1]))
    def filter(self, parity):
        self.keep, self.held = parity, None
        self.model.set_filter(None if parity is None else lambda table: table.file_size % 2 == parity)
        self.selected &= {one for ones in self.shown().values() for one in ones}

    @rule(way=st.sampled_from([None, False, True]), by_count=st.sampled_from([0, 1, -1]))
    def sort(self, way, by_count):
        self.key, self.by_count, self.held = way, by_count, None
        key = None if way is None else lambda table: table.file_size % 7
        self.model.set_sort(key, reverse=bool(way), by_count=by_count)

    @rule(data=st.data())
    def select(self, data):
        if self.model.shown:
            row = data.draw(st.integers(0, self.model.shown - 1))
            self.model.selection.toggle(row)
            self.selected ^= {self.model.image(row).bytes}
            self.focus = QPersistentModelIndex(self.model.index(row))
            self.focused = self.model.image(row).image_id

    def shown(self):
        found = {}
        for label, ones in self.all.items():
            ones = [one for one in ones if self.keep is None or one % 2 == self.keep]
            if self.key is not None:
                ones.sort(key=lambda one: one % 7, reverse=self.key)
            if ones or self.keep is None:
                found[label] = ones
        held = self.held
        if held is not None:
            return dict(sorted(found.items(), key=lambda item: held.index(item[0]) if item[0] in held else len(held)))
        return dict(sorted(found.items(), key=lambda item: -self.by_count * len(item[1])))

    @invariant()
    def the_same(self):
        if not hasattr(self, "model"):
            return
        model = self.model
        assert {group.label: [one.bytes for one in group.images] for group in model.groups if group.images} == {
            label: ones for label, ones in self.shown().items() if ones
        }
        assert [group.label for group in model.groups] == list(self.shown()) or self.keep is not None
        assert {model.record(one).bytes for one in model.selected_ids()} == self.selected
        assert model.total == sum(map(len, self.all.values()))
        assert model.rowCount(QModelIndex()) == model.shown == len(rows(model))
        for row in random.sample(range(model.shown), min(5, model.shown)):
            one = model.image(row)
            assert model.row_of(one.image_id) == row
            assert one.label == model.label_at(row) == model.label_of(one.image_id)
        if self.focus.isValid():
            assert model.image(self.focus.row()).image_id == self.focused


ModelAgainstLists.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.usefixtures("qapp")
class TestModelAgainstLists(ModelAgainstLists.TestCase):
    pass
