import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from apitorch_desktop.api.types import Id, LabelCount, ListingChanges, TrainingImage, TrainingImages, TrainingLabel
from apitorch_desktop.dataset.workspace import table_file
from apitorch_desktop.dataset.workspace.columnar_listing import ListingBuilder, changes_between, updated
from apitorch_desktop.dataset.workspace.image_ids import PackedIds
from apitorch_desktop.dataset.workspace.image_table import tabulate


def image(number: int, label: str = "", minute: int = 0) -> TrainingImage:
    return TrainingImage(
        filename=f"{number}.jpg", url=f"http://x/{number}", id=f"ti_{number:040x}", label=label,
        created_at=f"2026-05-01T12:{minute:02}:00.000Z",
    )  # fmt: skip


def page(**labels: list[int]) -> TrainingImages:
    groups = [
        TrainingLabel(label=label, images=[image(number, minute=number) for number in numbers], id=f"tl_{label}")
        for label, numbers in labels.items()
    ]
    return TrainingImages(training_set_id=Id("1"), training_set_slug="s", data=groups)


def listed(*pages: TrainingImages, labels=()):
    builder = ListingBuilder()
    for one in pages:
        builder.add(one)
    return builder.listing(labels)


def numbers(images) -> list[tuple[int, str]]:
    return [(int(one.image_id[3:], 16), one.label) for one in images]


def changes(images=(), removed=(), **counts: int) -> ListingChanges:
    labels = [LabelCount(id=f"tl_{label}", label=label, count=count) for label, count in counts.items()]
    return ListingChanges(
        training_set_id=Id("1"), revision="2-0", labels=labels, images=list(images),
        removed=[image(number).image_id for number in removed],
    )  # fmt: skip


def test_pages_become_one_listing_in_which_each_image_is_once():
    builder = ListingBuilder()
    assert numbers(builder.add(page(b=[1, 2], a=[3]))) == [(1, "b"), (2, "b"), (3, "a")]
    assert numbers(builder.add(page(a=[4, 3, 4], c=[2, 5]))) == [(4, "a"), (5, "c")]
    found = builder.listing(["empty", "a"])
    assert found.labels == ["empty", "a", "b", "c"]
    assert found.label_ids == {"a": "tl_a", "b": "tl_b", "c": "tl_c"}
    assert numbers(found.images) == [(3, "a"), (4, "a"), (1, "b"), (2, "b"), (5, "c")]
    with pytest.raises(ValueError, match="no answer"):
        ListingBuilder().listing()


def test_what_has_changed_leads_to_the_next_listing():
    before = listed(page(a=[1, 2, 5], b=[3, 4]))
    came = [image(9, "b", 1), image(2, "b", 2)]
    found, change = updated(before, changes(came, [4, 77], a=2, b=3))
    assert numbers(found.images) == [(1, "a"), (5, "a"), (9, "b"), (2, "b"), (3, "b")]  # by the time they were created
    assert (found.revision, found.labels, change.size) == ("2-0", ["a", "b"], 6)


def test_labels_that_change_names_with_each_other_do_so_at_once():
    before = listed(page(a=[1], b=[2, 3]))
    given = changes(a=2, b=1)
    given.labels[0].id, given.labels[1].id = "tl_b", "tl_a"
    found, change = updated(before, given)
    assert numbers(found.images) == [(2, "a"), (3, "a"), (1, "b")]
    assert (change.renamed, change.size) == ({"a": "b", "b": "a"}, 0)


@pytest.mark.parametrize(
    "given", [changes(a=3, b=2), changes(a=2), changes([image(9, "b")], a=2, b=2), changes(a=2, b=2, c=1)]
)
def test_changes_that_do_not_lead_to_the_counts_are_refused(given):
    assert updated(listed(page(a=[1, 2], b=[3, 4])), given) is None


def test_a_label_of_another_database_is_refused():
    given = changes(a=2, b=2)
    given.labels[0].id = "tl_other"
    assert updated(listed(page(a=[1, 2], b=[3, 4])), given) is None


def test_the_scratch_label_is_left_out():
    given = changes([image(9, "desktop_scratch")], a=1, desktop_scratch=1)
    found, change = updated(listed(page(a=[1])), given, "desktop_scratch")
    assert (found.labels, numbers(found.images), change.images) == (["a"], [(1, "a")], [])


@pytest.mark.parametrize("count", [4, 3000])
def test_two_listings_are_compared_by_id_and_label(count):
    odd = TrainingImage(filename="Ä.jpg", url="", label="a")
    before = [image(number, "a") for number in range(count)] + [odd]
    after = [image(number, "b" if number == 1 else "a") for number in range(1, count + 2)] + [odd]
    for old, new in ((before, after), (tabulate(before).snapshot(), tabulate(after).snapshot()[:])):
        found = changes_between(old, new)
        assert numbers(new[place] for place in found.came.tolist()) == [(count, "a"), (count + 1, "a")]
        assert {label: numbers(some) for label, some in found.moved.items()} == {"b": [(1, "a")]}
        assert found.went.ids == [image(0).image_id]
    assert [len(part) for part in changes_between([], after)] == [count + 2, 0, 0]
    assert [len(part) for part in changes_between(before, [])] == [0, 0, count + 1]
    gone = tabulate(after)
    gone.remove(gone.find_all([image(2).image_id]))
    assert changes_between(after, gone.snapshot()).went.ids == [image(2).image_id]


def test_a_table_comes_out_of_its_file_as_it_went_in_and_can_be_changed(tmp_path):
    odd = TrainingImage(filename="Ä.jpg", url="", label="a")
    table = tabulate([*(image(number, "ab"[number % 2], number % 60) for number in range(2000)), odd])
    table.put_record(7, image(7, "b", 59))
    table.set_split(table.find_all([image(8).image_id]), "test")
    table.remove(table.find_all([image(9).image_id]))
    before = list(table.snapshot())
    path = tmp_path / "x.images"
    table_file.write(table, path)
    written = path.read_bytes()
    found = table_file.read(path)
    assert list(found.snapshot()) == before
    assert found.find(odd.image_id) == 2000
    assert found.find(image(9).image_id) == -1
    assert found.with_word("ä").nonzero()[0].tolist() == [2000]
    found.append([image(9, "c"), image(5000, "a")])
    found.set_label(found.under("b"), "a")
    found.set_split(found.find_all([image(1).image_id]), "train")
    assert len(found) == 2002 and found.record(found.find(image(5000).image_id)).label == "a"
    assert found.record(1).split == "train"
    assert path.read_bytes() == written
    again = tmp_path / "y.images"
    table_file.write(found, again)
    assert list(table_file.read(again).snapshot()) == list(found.snapshot())
    table_file.write(tabulate([]), again)
    assert list(table_file.read(again).snapshot()) == []


def test_an_id_of_any_form_is_found_in_the_file_of_another_process(tmp_path):
    path = tmp_path / "x.images"
    script = (
        "import sys; from pathlib import Path; from apitorch_desktop.api.types import TrainingImage\n"
        "from apitorch_desktop.dataset.workspace import image_table, table_file\n"
        "images = [TrainingImage(filename=f'{name}.jpg', url='', label='a') for name in ('Ä', 'b', '5' * 40)]\n"
        "table_file.write(image_table.tabulate(images), Path(sys.argv[1]))"
    )
    root = str(Path(__file__).parents[3])
    subprocess.run(
        [sys.executable, "-c", script, str(path)],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": root},
    )
    table = table_file.read(path)
    assert [table.find(f"ti_{name}") for name in ("Ä", "b", "5" * 40, "c")] == [0, 1, 2, -1]


def test_a_table_with_many_empty_slots_is_made_anew(monkeypatch):
    table = tabulate([image(number, "ab"[number % 2]) for number in range(6000)])
    assert table.compact() is table
    table.remove(table.find_all([image(number).image_id for number in range(3000)]))
    found = table.compact()
    assert found.size == 3000
    assert sorted(numbers(found.snapshot())) == [(number, "ab"[number % 2]) for number in range(3000, 6000)]
    assert [one.image_id for one in found.snapshot(found.under("a"))] == [
        one.image_id for one in table.snapshot(table.under("a"))
    ]
    assert msgspec.structs.asdict(found.record(0)) == msgspec.structs.asdict(image(3000, "a"))


@pytest.mark.parametrize("count", [4, 3000])
@pytest.mark.parametrize("odd", [[], [TrainingImage(filename="Ä.jpg", url="", label="a")]])
def test_packed_ids_are_found_as_they_are_by_themselves(count, odd):
    table = tabulate([image(number, "a") for number in range(count)] + odd)
    wanted = [image(number).image_id for number in range(count + 2, 0, -1)] + [one.image_id for one in odd]
    packed = PackedIds(wanted)
    assert (list(packed), len(packed)) == (wanted, len(wanted))
    assert wanted[-1] in packed and "ti_0" not in packed
    found = table.find_all(packed).tolist()
    assert found == table.find_all(wanted).tolist() == [*range(count - 1, 0, -1), *([count] if odd else [])]
