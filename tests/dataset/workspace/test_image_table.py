import random

import msgspec
import numpy as np
import pytest

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.review.findings import OutOfFoldAnswer
from apitorch_desktop.dataset.workspace.image_ids import ImageIds
from apitorch_desktop.dataset.workspace.image_table import ImageTable


def image(number, label="shirt", **more):
    more.setdefault("original_filename", f"IMG_{number}.JPG")
    return TrainingImage(
        filename=f"{number:040x}.jpg", url=f"http://x/{number}", id=f"ti_{number:040x}", label=label, bytes=number,
        width=number, height=2 * number, created_at="2026-05-01T12:00:00.000Z", **more,
    )  # fmt: skip


def made(*images):
    table = ImageTable()
    table.append(images)
    return table


def test_records_come_out_as_they_went_in_whatever_block_they_are_in():
    images = [image(number, f"label_{number % 3}", sha256=f"{number:064x}") for number in range(200)]
    table, other = ImageTable(), ImageTable()
    for start, end in ((0, 1), (1, 5), (5, 31), (31, 32), (32, 90)):
        table.append(images[start:end])
    other.append(images[90:150])
    table.absorb(other)
    table.append(images[150:])
    assert [table.record(slot) for slot in range(200)] == images
    assert list(table.snapshot()) == images
    assert table.snapshot()[7] == images[7]
    assert table.snapshot()[-1] == images[-1]
    assert list(table.snapshot()[150:]) == images[150:]
    assert table.snapshot().ids == [one.image_id for one in images]


def test_ids_of_any_form_are_found_and_followed():
    odd = [TrainingImage(filename=f"{name}.jpg", url="", label="hat") for name in ("a", "Ä", "ABCDEF" * 7)]
    table = made(*odd, *(image(number) for number in range(3000)))
    for slot, one in enumerate(odd):
        assert table.find(one.image_id) == slot
        assert table.id_of(slot) == one.image_id
    wanted = [image(2999).image_id, "ti_none", odd[1].image_id, image(5).image_id] + [image(7).image_id] * 40
    assert table.find_all(wanted).tolist() == [3002, 1, 8] + [10] * 40
    table.replace_id(image(5).image_id, image(50_000).image_id)
    assert table.find(image(5).image_id) == -1
    assert table.record(table.find(image(50_000).image_id)).bytes == 5
    table.remove(table.find_all([image(7).image_id]))
    assert table.find(image(7).image_id) == -1
    table.append([image(7, "hat")])
    assert table.record(table.find(image(7).image_id)).label == "hat"
    assert table.find_all([image(number).image_id for number in range(100)]).tolist() == [
        number + 3 if number != 7 else 3003 for number in range(100) if number != 5
    ]
    assert len(table) == 3003


@pytest.mark.parametrize(
    ("form", "keys"), [("{0:040x}", 3000), ("{0:06x}" + 34 * "0", 3000), ("{0:016x}00000000{0:016x}", 1)]
)
def test_ids_are_told_apart_at_either_end(form, keys):
    ids = ["ti_" + form.format(number) for number in range(3000)]
    found = ImageIds()
    found.append(0, ids)
    assert len(np.unique(found.parts(len(ids))["keys"])) == keys
    label = np.zeros(len(ids), np.int32)
    assert [found.find(ids[place], label) for place in (0, 1, 1500, 2999)] == [0, 1, 1500, 2999]
    assert found.find_all(ids[100:200], label).tolist() == list(range(100, 200))
    assert found.find("ti_" + form.format(3000), label) == -1


@pytest.mark.parametrize("count", [3, 400])
def test_an_image_that_came_back_is_found_however_many_come_with_it(count):
    images = [image(number) for number in range(count)]
    for come_back in ("append", "absorb"):
        table = made(*(image(number) for number in range(5000, 8000)))
        table.append(images)
        table.remove(table.find_all([one.image_id for one in images]))
        assert table.find(images[0].image_id) == -1
        if come_back == "append":
            table.append(images)
        else:
            table.absorb(made(*images))
        assert [table.record(table.find(one.image_id)) for one in images] == images
        assert len(table.find_all([one.image_id for one in images])) == count
        assert table.find_those_of(made(*images), np.arange(count)).tolist() == list(
            range(table.size - count, table.size)
        )


def test_a_snapshot_keeps_the_labels_that_there_were():
    table = made(image(1), image(2, "hat"), image(3))
    seen = table.record(0)
    before = table.snapshot()
    table.set_label(np.array([0]), "hat")
    assert seen.label == "hat"
    assert before.label_column == ["shirt", "hat", "shirt"]
    assert [one.label for one in before] == ["shirt", "hat", "shirt"]
    assert {label: part.ids for label, part in table.snapshot().by_label().items()} == {
        "hat": [image(1).image_id, image(2).image_id],
        "shirt": [image(3).image_id],
    }
    assert [one.bytes for one in before.without_label("hat")] == [1, 3]
    table.remove(before.slots[:1])
    assert before.slots_in(table).tolist() == [1, 2]
    assert before.slots_in(made(image(3))).tolist() == [0]


def test_words_are_found_within_one_name_and_in_labels():
    names = ["Striped 04.jpg", "plain.jpg", "ärger.png", "stri", "ped", "x" * 300]
    table = made(*(image(at, "t_shirt" if at == 4 else "hat", original_filename=name) for at, name in enumerate(names)))
    found = lambda word: np.flatnonzero(table.with_word(word)).tolist()  # noqa: E731
    assert found("striped") == [0]
    assert found("stri") == [0, 3]
    assert found("ä") == [2]
    assert found("shirt") == [4]
    assert found("x" * 300) == [5]
    assert found("x" * 301) == []
    assert found("jpgplain") == []


@pytest.mark.parametrize("batches", [(1, 200), (60, 1, 1, 40, 3, 1)])
def test_names_have_their_order_also_as_more_come(batches):
    rng = random.Random(4)
    table, names = ImageTable(), []
    for count in batches:
        fresh = [rng.choice("abAB") + str(rng.randrange(60)) for _ in range(count)]
        table.append([image(len(names) + at, original_filename=name) for at, name in enumerate(fresh)])
        names += fresh
        order = np.lexsort((table.order, table.name_rank())).tolist()
        assert order == sorted(range(len(names)), key=lambda at: names[at].lower())


def test_answers_are_columns_also_for_images_that_came_since():
    table = made(*(image(number) for number in range(50)))
    answers = {
        image(number).image_id: OutOfFoldAnswer("hat" if number % 2 else "shirt", number / 100) for number in range(60)
    }
    given = table.answers(answers)
    assert given.confidence.tolist() == [number / 100 for number in range(50)]
    assert given.of_labels([name == "hat" for name in given.labels]).tolist() == [
        bool(number % 2) for number in range(50)
    ]
    table.append([image(55), image(70)])
    later = table.answers(answers)
    assert later.known.tolist()[-2:] == [True, False]
    assert later.confidence_or(9.0).tolist()[-2:] == [0.55, 9.0]


def test_a_record_handed_in_is_not_changed_by_the_table():
    mine = image(1)
    table = made(mine)
    table.set_label(np.array([0]), "hat")
    assert mine.label == "shirt"
    newer = msgspec.structs.replace(mine, split="test", url="http://newer")
    table.put_record(0, newer)
    assert table.record(0) == msgspec.structs.replace(newer, label="hat")
    assert table.split.tolist() == [3]


def test_splits_are_changed_for_many_at_once_and_seen_in_every_record():
    table = made(*(image(number, split="train") for number in range(70)))
    seen = table.record(3)
    before = table.snapshot()
    table.set_split(np.arange(40), "test")
    table.set_split(np.array([3, 5]), "")
    assert seen.known_split == ""
    wanted = ["" if number in (3, 5) else "test" if number < 40 else "train" for number in range(70)]
    assert [one.known_split for one in table.snapshot()] == [one.known_split for one in before] == wanted
    assert [table.record(slot).known_split for slot in range(70)] == wanted
    assert table.split.tolist() == [("", "train", "validation", "test").index(split) for split in wanted]
    table.put_record(3, msgspec.structs.replace(seen, split="validation"))
    assert table.record(3).known_split == "validation"
    table.replace_id(image(5).image_id, image(500).image_id)
    assert table.record(5).known_split == ""
