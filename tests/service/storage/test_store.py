"""The store, on SQLite and on PostgreSQL: what each call does, and what it refuses."""

import hashlib
import re

import pytest

from apitorch_desktop.service.storage.errors import Closed, Invalid, RecordConflict, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.records import EmbeddingRow, NewClassification
from apitorch_desktop.service.storage.store import Store
from tests.helpers.stores import ME, Facts, add, add_many, empty, files, stored

NO_IDS = [
    "",
    "word",
    "-1",
    "0",
    "1.0",
    "1e3",
    "٣",
    "²",
    str(2**63),
    "9" * 400,
    "1 ",
    "\0",
    "\ud800",
    "../1",
    0,
    -1,
    2**63,
]
NO_IMAGE_IDS = [
    "",
    "ti_",
    "ti_ti_" + "a" * 40,
    "a" * 39,
    "a" * 41,
    "A" * 40,
    "g" * 40,
    "\ud800",
    "\0",
    "ti_" + "0" * 40,
    "9" * 9999,
]


@pytest.fixture
def zebras(store: Store) -> int:
    return store.training_sets.create(ME, "Zebra Breeds").id


class TestTrainingSets:
    def test_a_new_one_has_a_slug_of_its_name_and_is_listed_with_labels_and_counts(self, store):
        made = store.training_sets.create(ME, "  Zebra\n Breeds ", "Stripes.\nMany.")
        assert (made.name, made.slug, made.description) == ("Zebra Breeds", "zebra-breeds", "Stripes.\nMany.")
        for data in (b"1", b"2", b"3"):
            add(store, made.id, "Plains Zebra", data)
        store.labels.create(ME, made.id, "Mountain Zebra")
        (listed,) = store.training_sets.all(ME)
        assert (listed.labels, listed.counts) == (("mountain_zebra", "plains_zebra"), (0, 3))
        assert listed == store.training_sets.get(ME, made.id) == store.training_sets.get(ME, str(made.id))
        assert listed == store.training_sets.by_slug(ME, "zebra-breeds") == store.training_sets.find(made.id)

    def test_they_are_listed_in_the_order_they_were_made(self, store):
        names = ["b", "a", "c"]
        for name in names:
            store.training_sets.create(ME, name)
        assert [row.name for row in store.training_sets.all(ME)] == names
        assert store.training_sets.all_ids() == [row.id for row in store.training_sets.all(ME)]

    def test_the_same_name_twice_is_two_slugs(self, store):
        slugs = [store.training_sets.create(ME, name).slug for name in ("Cats", "cats!", "Cats 2", "CATS", "🐈")]
        assert slugs == ["cats", "cats-2", "cats-2-2", "cats-3", "training-set"]

    def test_a_renamed_one_gets_the_slug_of_its_new_name(self, store):
        one = store.training_sets.create(ME, "Cats")
        other = store.training_sets.create(ME, "Dogs", "Barking")
        assert store.training_sets.update(ME, one.id, name="cats").slug == "cats"
        assert store.training_sets.update(ME, one.id, name="Dogs").slug == "dogs-2"
        assert store.training_sets.update(ME, other.id, description="").description == ""
        assert store.training_sets.get(ME, other.id).name == "Dogs"

    def test_the_slug_of_a_standard_classifier_is_for_its_feedback_only(self, store):
        assert store.training_sets.create(ME, "Safe for work").slug == "safe-for-work-2"
        made = store.training_sets.standard(ME, "safe-for-work", "Safe for work")
        assert (made.slug, made.standard) == ("safe-for-work", "safe-for-work")
        assert store.training_sets.standard(ME, "safe-for-work", "again") == made
        assert store.training_sets.update(ME, made.id, name="Mine").slug == "safe-for-work"
        with pytest.raises(Invalid):
            store.training_sets.standard(ME, "zebras", "Zebras")

    def test_a_deleted_one_takes_everything_with_it_and_its_id_is_never_given_again(self, store, zebras):
        other = store.training_sets.create(ME, "Other").id
        add(store, zebras, "a", b"only here")
        add(store, zebras, "a", b"both")
        add(store, other, "a", b"both")
        store.models.put_version(zebras, revision=1, encoder="e", head=b"h", metrics="{}", images=1, labels=1)
        assert store.training_sets.delete(ME, zebras).counts == (2,)
        assert stored(store) == {hashlib.sha256(b"both").hexdigest()}
        assert store.training_sets.find(zebras) is None
        assert store.models.versions(zebras) == []
        with pytest.raises(RecordNotFound):
            store.images.page(ME, zebras)
        store.training_sets.delete(ME, other)
        assert store.training_sets.create(ME, "New").id > other

    @pytest.mark.parametrize("name", ["", " \n\t ", "a" * 201])
    def test_a_name_that_cannot_be_is_refused(self, store, name):
        with pytest.raises(Invalid, match=r"^The name (is empty|has 201 characters)\. Give one"):
            store.training_sets.create(ME, name)
        assert store.training_sets.all(ME) == []

    def test_names_of_any_script_and_with_what_no_database_keeps_are_kept_as_text(self, store):
        names = ["斑马", "’; DROP TABLE images; --", "a\0b", "half \ud83d", "🦓" * 200]
        rows = [store.training_sets.create(ME, name) for name in names]
        assert [row.name for row in store.training_sets.all(ME)] == [
            names[0],
            names[1],
            "a\ufffdb",
            "half ?",
            names[4],
        ]
        assert rows[0].slug == "斑马"

    def test_a_description_may_be_long_but_not_endless(self, store):
        assert len(store.training_sets.create(ME, "a", "x" * 10_000).description) == 10_000
        with pytest.raises(Invalid, match="10,001 characters"):
            store.training_sets.create(ME, "b", "x" * 10_001)

    @pytest.mark.parametrize("number", NO_IDS, ids=ascii)
    def test_an_id_that_names_nothing_is_not_found(self, store, number):
        for call in (
            lambda: store.training_sets.get(ME, number),
            lambda: store.training_sets.update(ME, number, name="x"),
            lambda: store.training_sets.delete(ME, number),
            lambda: store.labels.all(ME, number),
            lambda: store.labels.create(ME, number, "a"),
            lambda: store.images.page(ME, number),
            lambda: add(store, number, "a", b"x"),
        ):
            with pytest.raises(RecordNotFound):
                call()
        assert stored(store) == set()

    @pytest.mark.parametrize("slug", ["", "no-such", "\0", "\ud800"], ids=ascii)
    def test_a_slug_that_names_nothing_is_not_found(self, store, slug):
        with pytest.raises(RecordNotFound):
            store.training_sets.by_slug(ME, slug)


class TestLabels:
    def test_two_spellings_are_one_label(self, store, zebras):
        row = store.labels.create(ME, zebras, "T-Shirt")
        assert row.name == "t_shirt"
        assert re.fullmatch("tl_[0-9a-f]{40}", row.id)
        for spelling in ("t_shirt", "T SHIRT", " t-shirt ", row.id):
            assert store.labels.get(ME, zebras, spelling) == row
        with pytest.raises(RecordConflict, match="“t_shirt” already"):
            store.labels.create(ME, zebras, "t shirt")
        add(store, zebras, "T.Shirt", b"x")
        assert [(each.name, each.count) for each in store.labels.all(ME, zebras)] == [("t_shirt", 1)]

    @pytest.mark.parametrize("label", ["", "---", "🦓", "a" * 201, "\0"], ids=ascii)
    def test_a_label_that_cannot_be_is_refused_and_nothing_is_kept(self, store, zebras, label):
        for call in (
            lambda: store.labels.create(ME, zebras, label),
            lambda: add(store, zebras, label, b"x"),
        ):
            with pytest.raises(Invalid):
                call()
        with pytest.raises(RecordNotFound):
            store.labels.get(ME, zebras, label)
        assert store.labels.all(ME, zebras) == []
        assert stored(store) == set()

    def test_a_label_that_looks_like_a_number_or_an_id_is_a_label(self, store, zebras):
        names = ["7", "1", "tl_abc", "ti_1"]
        ids = [store.labels.create(ME, zebras, name).id for name in names]
        assert [store.labels.get(ME, zebras, name).id for name in names] == ids

    def test_a_renamed_label_keeps_its_id_and_images(self, store, zebras):
        image = add(store, zebras, "a", b"x")
        before = store.labels.get(ME, zebras, "a")
        after = store.labels.rename(ME, zebras, "A", "B b")
        assert (after.id, after.name, after.count) == (before.id, "b_b", 1)
        assert store.images.get(ME, image.id).label == "b_b"
        with pytest.raises(RecordNotFound):
            store.labels.get(ME, zebras, "a")

    def test_renaming_into_another_spelling_of_itself_changes_nothing(self, store, zebras):
        row = store.labels.create(ME, zebras, "a b")
        revision = store.training_sets.get(ME, zebras).revision
        assert store.labels.rename(ME, zebras, "a b", "A-B") == row
        assert store.training_sets.get(ME, zebras).revision == revision

    def test_renaming_into_another_label_needs_leave_to_merge(self, store, zebras):
        first = add(store, zebras, "a", b"1")
        both = add(store, zebras, "a", b"both")
        kept = add(store, zebras, "b", b"both")
        into = store.labels.get(ME, zebras, "b")
        with pytest.raises(RecordConflict, match="Merge the two"):
            store.labels.rename(ME, zebras, "a", "b")
        assert store.labels.get(ME, zebras, "a").count == 2
        merged = store.labels.rename(ME, zebras, "a", "b", merge=True)
        assert (merged.id, merged.count) == (into.id, 2)
        assert {row.id for row in store.images.page(ME, zebras).images} == {first.id, kept.id}
        assert [row.name for row in store.labels.all(ME, zebras)] == ["b"]
        with pytest.raises(RecordNotFound):
            store.images.get(ME, both.id)

    def test_a_deleted_label_takes_its_images(self, store, zebras):
        gone, kept = add(store, zebras, "a", b"1"), add(store, zebras, "b", b"2")
        assert store.labels.delete(ME, zebras, "A").count == 1
        assert stored(store) == {kept.sha256}
        with pytest.raises(RecordNotFound):
            store.images.get(ME, gone.id)
        with pytest.raises(RecordNotFound):
            store.labels.delete(ME, zebras, "a")

    def test_the_id_of_another_training_sets_label_is_not_found(self, store, zebras):
        other = store.training_sets.create(ME, "Other").id
        label = store.labels.create(ME, other, "a").id
        image = add(store, zebras, "b", b"x")
        with pytest.raises(RecordNotFound):
            store.labels.get(ME, zebras, label)
        with pytest.raises(RecordNotFound):
            store.images.move(ME, image.id, label)
        assert [row.name for row in store.labels.all(ME, zebras)] == ["b"]


class TestImages:
    def test_what_goes_in_comes_out(self, store, zebras):
        row, created = store.images.add(ME, str(zebras), "T-Shirt", b"bytes", Facts(3, 4, ".png"), "a/ñ “x”\n.png")
        assert created
        assert (row.label, row.extension, row.width, row.height, row.bytes) == ("t_shirt", ".png", 3, 4, 5)
        assert row.original_filename == "ñ “x”\n.png"
        assert row.sha256 == hashlib.sha256(b"bytes").hexdigest()
        assert (row.wire_id, row.filename) == (f"ti_{row.id}", f"{row.id}.png")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row.created_at)
        assert store.images.get(ME, row.id) == store.images.get(ME, row.wire_id) == row
        assert store.read(row.sha256) == b"bytes"
        assert store.blob(row.sha256).extension == ".png"

    def test_the_same_bytes_under_the_same_label_are_one_image(self, store, zebras):
        first = store.images.add(ME, zebras, "a", b"x", Facts(), "one.jpg")[0]
        again, created = store.images.add(ME, zebras, "A", b"x", Facts(), "two.jpg")
        assert (again, created) == (first, False)
        other = add(store, zebras, "b", b"x")
        assert other.id != first.id
        assert stored(store) == {first.sha256}
        store.images.delete(ME, first.id)
        assert stored(store) == {first.sha256}
        store.images.delete(ME, other.id)
        assert stored(store) == set()
        with pytest.raises(RecordNotFound):
            store.read(first.sha256)

    def test_an_image_that_was_deleted_can_come_back(self, store, zebras):
        first = add(store, zebras, "a", b"x")
        store.images.delete(ME, "ti_" + first.id)
        again = add(store, zebras, "a", b"x")
        assert again.id != first.id
        assert store.read(again.sha256) == b"x"

    @pytest.mark.parametrize("image", NO_IMAGE_IDS, ids=lambda each: ascii(each[:50]))
    def test_an_id_that_names_nothing_is_not_found(self, store, zebras, image):
        kept = add(store, zebras, "a", b"x")
        for call in (
            lambda: store.images.get(ME, image),
            lambda: store.images.move(ME, image, "b"),
            lambda: store.images.delete(ME, image),
            lambda: store.images.move_many(ME, zebras, [kept.id, image], "b"),
            lambda: store.images.delete_many(ME, zebras, [kept.id, image]),
        ):
            with pytest.raises(RecordNotFound):
                call()
        assert store.images.get(ME, kept.id) == kept
        assert [row.name for row in store.labels.all(ME, zebras)] == ["a"]
        for strange in (image, "x" * 64, "../../etc/passwd"):
            with pytest.raises(RecordNotFound):
                store.read(strange)

    def test_moved_ones_go_to_a_label_that_is_made(self, store, zebras):
        rows = [add(store, zebras, "a", bytes([i])) for i in range(3)]
        moved = store.images.move_many(ME, zebras, [row.wire_id for row in rows[:2]], "New Label")
        assert [(row.id, row.label) for row in moved] == [(row.id, "new_label") for row in rows[:2]]
        assert store.images.move(ME, rows[2].id, store.labels.get(ME, zebras, "new_label").id).label == "new_label"
        assert [row.count for row in store.labels.all(ME, zebras)] == [0, 3]

    def test_moving_onto_the_same_bytes_makes_one_of_two(self, store, zebras):
        there = add(store, zebras, "b", b"x")
        moving = add(store, zebras, "a", b"x")
        assert store.images.move(ME, moving.id, "b") == there
        with pytest.raises(RecordNotFound):
            store.images.get(ME, moving.id)
        one, two = add(store, zebras, "c", b"y"), add(store, zebras, "d", b"y")
        moved = store.images.move_many(ME, zebras, [one.id, two.id, one.id], "e")
        assert [row.id for row in moved] == [one.id, one.id, one.id]

    def test_many_are_moved_or_deleted_all_or_none(self, store, zebras):
        other = store.training_sets.create(ME, "Other").id
        mine = [add(store, zebras, "a", bytes([i])) for i in range(5)]
        foreign = add(store, other, "a", b"foreign")
        ids = [row.id for row in mine]
        before = store.training_sets.all(ME)
        with pytest.raises(
            RecordNotFound, match="1 of the 6 images are not in this training set, so nothing was changed"
        ):
            store.images.delete_many(ME, zebras, [*ids, foreign.id])
        with pytest.raises(RecordNotFound):
            store.images.move_many(ME, zebras, [*ids, foreign.id], "b")
        with pytest.raises(Invalid):
            store.images.move_many(ME, zebras, ids, "!")
        assert store.training_sets.all(ME) == before
        assert store.images.delete_many(ME, zebras, [ids[0], "ti_" + ids[0], ids[1]]) == 2
        assert [row.id for row in store.images.page(ME, zebras).images] == ids[2:]

    def test_very_many_are_moved_and_deleted_in_one_call(self, store, zebras):
        ids = [row.id for row in add_many(store, zebras, "a", [bytes([i % 256, i // 256]) for i in range(1200)])]
        assert [row.id for row in store.images.move_many(ME, zebras, ids, "b")] == ids
        assert store.images.delete_many(ME, zebras, ids) == 1200
        assert stored(store) == set()

    def test_names_with_half_characters_and_paths_are_kept_as_names(self, store, zebras):
        names = ["C:\\photos\\a.jpg", "../../etc/passwd", "x\0y", "bad\udcff.jpg", "ü" * 2000, ""]
        kept = [add(store, zebras, "a", bytes([i]), name=name).original_filename for i, name in enumerate(names)]
        assert kept == ["a.jpg", "passwd", "x\ufffdy", "bad?.jpg", "ü" * 1000, ""]


class TestPages:
    def test_pages_give_every_image_once_in_the_order_of_arrival(self, store, zebras):
        rows = [add(store, zebras, "ab"[i % 2], bytes([i])) for i in range(25)]
        assert store.images.page(ME, zebras).images == rows
        assert store.images.page(ME, zebras, label="b").images == rows[1::2]
        for label, wanted in ((None, rows), ("a", rows[0::2])):
            got, after = [], None
            while True:
                page = store.images.page(ME, zebras, label=label, after=after, limit=7)
                assert len(page.images) <= 7
                got += page.images
                after = page.next
                if after is None:
                    break
            assert got == wanted

    def test_a_page_that_is_just_full_has_none_after_it(self, store, zebras):
        rows = [add(store, zebras, "a", bytes([i])) for i in range(4)]
        assert store.images.page(ME, zebras, limit=4).next is None
        assert store.images.page(ME, zebras, limit=3).next is not None
        assert store.images.page(ME, zebras, after=rows[3].id).images == []

    def test_nothing_is_left_out_or_given_twice_when_images_come_and_go_between_pages(self, store, zebras):
        rows = [add(store, zebras, "a", bytes([i])) for i in range(10)]
        first = store.images.page(ME, zebras, limit=5)
        store.images.delete(ME, rows[4].id)  # the one the page ended with
        store.images.move(ME, rows[6].id, "b")
        new = add(store, zebras, "0 comes first by name", b"new")
        rest = store.images.page(ME, zebras, after=first.next).images
        assert [row.id for row in rest] == [row.id for row in rows[5:]] + [new.id]

    def test_the_id_of_an_image_does_as_a_place_to_go_on_from(self, store, zebras):
        rows = [add(store, zebras, "a", bytes([i])) for i in range(3)]
        assert store.images.page(ME, zebras, after=rows[0].wire_id).images == rows[1:]

    @pytest.mark.parametrize("after", ["word", "-1", "9" * 30, "\ud800", ""], ids=ascii)
    def test_a_place_that_never_was_one_is_refused(self, store, zebras, after):
        with pytest.raises(Invalid):
            store.images.page(ME, zebras, after=after)

    def test_a_limit_below_one_is_refused_and_a_huge_one_is_all(self, store, zebras):
        row = add(store, zebras, "a", b"x")
        with pytest.raises(Invalid):
            store.images.page(ME, zebras, limit=0)
        assert store.images.page(ME, zebras, limit=10**30).images == [row]

    def test_a_label_that_is_not_there_is_not_found(self, store, zebras):
        with pytest.raises(RecordNotFound):
            store.images.page(ME, zebras, label="nope")


class TestChanges:
    def test_each_change_of_images_or_labels_raises_the_revision_and_tells_the_listener(self, store, zebras):
        told: list[int] = []
        store.on_change(told.append)
        other = store.training_sets.create(ME, "Other").id
        image = add(store, zebras, "a", b"1")
        for change in (
            lambda: add(store, zebras, "a", b"2"),
            lambda: store.images.move(ME, image.id, "b"),
            lambda: store.labels.create(ME, zebras, "c"),
            lambda: store.labels.rename(ME, zebras, "c", "d"),
            lambda: store.labels.rename(ME, zebras, "d", "a", merge=True),
            lambda: store.images.delete(ME, image.id),
            lambda: store.labels.delete(ME, zebras, "b"),
        ):
            told.clear()
            before = store.models.examples(zebras)[0]
            change()
            assert store.models.examples(zebras)[0] > before
            assert told == [zebras]
        assert store.training_sets.find(other).revision == 0

    def test_what_changes_nothing_tells_nobody(self, store, zebras):
        image = add(store, zebras, "a", b"1")
        told: list[int] = []
        store.on_change(told.append)
        before = store.training_sets.find(zebras)
        add(store, zebras, "a", b"1")
        store.images.move(ME, image.id, "a")
        store.training_sets.update(ME, zebras, description="x")
        store.models.put_embeddings("e", [EmbeddingRow(image.sha256, b"v", None)])
        with pytest.raises(RecordNotFound):
            store.images.delete(ME, "0" * 40)
        assert told == []
        assert store.training_sets.find(zebras).revision == before.revision

    def test_a_deleted_set_is_told_of_and_a_listener_that_fails_harms_nobody(self, store, zebras, caplog):
        told: list[int] = []
        store.on_change(lambda number: 1 // 0)
        store.on_change(told.append)
        store.training_sets.delete(ME, zebras)
        store.training_sets.create(ME, "still works")
        assert "a listener for changes failed" in caplog.text
        assert told == [zebras]


class TestLearning:
    def test_embeddings_are_kept_by_content_and_encoder(self, store, zebras):
        rows = [add(store, zebras, "a", bytes([i])) for i in range(3)]
        add(store, zebras, "b", bytes([0]))
        wanted = [row.sha256 for row in rows]
        assert store.models.missing(zebras, "e") == wanted
        store.models.put_embeddings("e", [EmbeddingRow(wanted[0], b"abc", 0.25), EmbeddingRow(wanted[2], b"d", None)])
        assert store.models.missing(zebras, "e") == [wanted[1]]
        assert store.models.missing(zebras, "other") == wanted
        assert store.models.embeddings("e", wanted) == {
            wanted[0]: EmbeddingRow(wanted[0], b"abc", 0.25),
            wanted[2]: EmbeddingRow(wanted[2], b"d", None),
        }
        store.models.put_embeddings("e", [EmbeddingRow(wanted[0], b"new", 0.5)])
        assert store.models.embeddings("e", wanted)[wanted[0]].vector == b"new"

    def test_an_embedding_goes_with_its_image_and_none_is_kept_of_one_that_is_gone(self, store, zebras):
        image = add(store, zebras, "a", b"x")
        row = EmbeddingRow(image.sha256, b"v", None)
        store.models.put_embeddings("e", [row])
        store.images.delete(ME, image.id)
        assert stored(store) == set()
        assert store.models.embeddings("e", [image.sha256]) == {}
        store.models.put_embeddings("e", [row])
        assert store.models.embeddings("e", [image.sha256]) == {}

    def test_examples_are_all_images_with_their_labels(self, store, zebras):
        rows = [add(store, zebras, label, label.encode()) for label in "bab"[:2]]
        revision, examples = store.models.examples(zebras)
        assert revision == store.training_sets.get(ME, zebras).revision
        assert [(each.image_id, each.label, each.sha256) for each in examples] == [
            (row.id, row.label, row.sha256) for row in rows
        ]
        with pytest.raises(RecordNotFound):
            store.models.examples(zebras + 1)

    def test_the_split_of_images_is_set_all_or_none_and_says_what_is_learned(self, store, zebras):
        rows = [add(store, zebras, label, bytes([number])) for number, label in enumerate("aaab")]
        ids = [row.wire_id for row in rows]
        before = store.training_sets.get(ME, zebras).revision
        changed = store.images.set_split(ME, zebras, [ids[2], ids[0]], "test")
        assert [(row.id, row.split) for row in changed] == [(rows[2].id, "test"), (rows[0].id, "test")]
        now = store.training_sets.get(ME, zebras)
        assert now.revision > before
        assert (now.counts, now.held_out, now.classes) == ((3, 1), (2, 0), {"a": 1, "b": 1})
        assert [each.image_id for each in store.models.examples(zebras)[1]] == [rows[1].id, rows[3].id]
        assert [each.split for each in store.models.examples(zebras, held_out=True)[1]] == ["test", "", "test", ""]
        with pytest.raises(RecordNotFound):
            store.images.set_split(ME, zebras, [ids[1], "ti_" + "0" * 40], "validation")
        store.images.set_split(ME, zebras, ids[:1], "test")
        assert store.training_sets.get(ME, zebras).revision == now.revision, "it was there already"
        store.images.set_split(ME, zebras, ids, "train")
        assert store.training_sets.get(ME, zebras).classes == {"a": 3, "b": 1}
        assert {row.split for row in store.images.set_split(ME, zebras, ids, "")} == {""}

    def test_a_new_version_is_current_and_the_last_ten_are_kept(self, store, zebras):
        for number in range(1, 13):
            row = store.models.put_version(
                zebras, revision=number, encoder="e", head=bytes([number]), metrics="{}", images=4, labels=2
            )
            assert (row.version, row.current, row.revision) == (number, True, number)
        versions = store.models.versions(zebras)
        assert [row.version for row in versions] == list(range(12, 2, -1))
        assert [row.version for row in versions if row.current] == [12]
        assert store.models.head(zebras)[1] == bytes([12])
        assert store.models.head(zebras, 5)[1] == bytes([5])
        with pytest.raises(RecordNotFound):
            store.models.head(zebras, 2)

    def test_an_older_version_can_be_made_current_and_the_next_one_takes_over(self, store, zebras):
        def put() -> int:
            return store.models.put_version(
                zebras, revision=1, encoder="e", head=b"h", metrics="{}", images=4, labels=2
            ).version

        put(), put()
        assert store.models.set_current(zebras, 1).current
        assert store.models.head(zebras)[0].version == 1
        assert put() == 3
        assert store.models.head(zebras)[0].version == 3
        for strange in (0, -1, 4, 2**63):
            with pytest.raises(RecordNotFound):
                store.models.set_current(zebras, strange)

    def test_a_version_that_waits_replaces_nothing_and_the_one_in_use_is_kept(self, store, zebras):
        def put(waits: bool = True) -> int:
            return store.models.put_version(
                zebras, revision=1, encoder="e", head=b"h", metrics="{}", images=4, labels=2, answers=b"a",
                difference="{}", waits=waits,
            ).version  # fmt: skip

        def state() -> list[tuple[int, bool, bool]]:
            return [(row.version, row.current, row.waiting) for row in store.models.versions(zebras)[:2]]

        put(waits=False), put(), put()
        assert state() == [(3, False, True), (2, False, False)], "one waits at a time"
        assert store.models.replace_head(zebras, 1, b"other").version == 1
        assert store.models.head(zebras) == (store.models.versions(zebras)[-1], b"other")
        assert (store.models.answers(zebras, 3), store.models.answers(zebras, 9)) == (b"a", None)
        store.models.set_current(zebras, 3)
        store.models.set_current(zebras, 1, waiting=3)
        assert state() == [(3, False, True), (2, False, False)], "a decision taken back"
        for _ in range(10):
            put()
        assert [row.version for row in store.models.versions(zebras)] == [*range(13, 3, -1), 1]
        with pytest.raises(RecordNotFound):
            store.models.set_current(zebras, 13, waiting=2)
        assert store.models.head(zebras)[0].version == 1

    def test_a_version_of_a_set_that_is_gone_is_not_kept(self, store, zebras):
        store.training_sets.delete(ME, zebras)
        with pytest.raises(RecordNotFound):
            store.models.put_version(zebras, revision=1, encoder="e", head=b"", metrics="", images=1, labels=1)
        with pytest.raises(RecordNotFound):
            store.models.head(zebras)


class TestClassifications:
    def put(self, store: Store, data: bytes = b"seen", **values) -> str:
        answer = NewClassification(classifier="zebra-breeds", label="a", confidence=0.5, version=3, **values)
        return store.classifications.put(ME, data, Facts(), [answer], "photo.jpg")[0].id

    def test_answers_of_one_call_are_remembered_with_the_image(self, store):
        answers = [NewClassification("safe-for-work", "safe for work"), NewClassification("zebras", "a", 0.75, 1, 2)]
        rows = store.classifications.put(ME, b"seen", Facts(), answers, "x.jpg")
        assert rows[0].call_id == rows[1].call_id
        assert store.classifications.get(ME, rows[0].id) == rows[0]
        assert store.classifications.get(ME, "cls_" + rows[1].id) == rows[1]
        assert store.read(rows[0].sha256) == b"seen"
        assert store.classifications.put(ME, b"none", Facts(), []) == []

    @pytest.mark.parametrize("strange", ["", "word", "cls_", "\ud800", "cls_" + "0" * 40, "-1"], ids=ascii)
    def test_one_that_is_not_there_is_not_found(self, store, zebras, strange):
        with pytest.raises(RecordNotFound, match="classify the image again"):
            store.classifications.get(ME, strange)
        with pytest.raises(RecordNotFound):
            store.classifications.correct(ME, strange, zebras, "a")

    def test_a_correction_adds_the_image_to_the_right_label(self, store, zebras):
        given = self.put(store)
        row, image, gained = store.classifications.correct(ME, "cls_" + given, zebras, "Right One")
        assert gained
        assert (image.label, image.original_filename, image.width) == ("right_one", "photo.jpg", 400)
        assert store.images.page(ME, zebras).images == [image]
        assert (row.kind, row.classification_id, row.predicted, row.label) == (
            "classification",
            given,
            "a",
            "right_one",
        )
        assert (row.image_id, row.confidence, row.version, row.training_set_id) == (image.id, 0.5, 3, zebras)
        assert store.classifications.feedback(ME) == [row]

    def test_the_same_correction_again_changes_nothing_but_is_kept(self, store, zebras):
        given = self.put(store)
        _, image, _ = store.classifications.correct(ME, given, zebras, "right")
        label = store.labels.get(ME, zebras, "right").id
        revision = store.training_sets.find(zebras).revision
        _, again, gained = store.classifications.correct(ME, given, zebras, label)
        assert (again, gained) == (image, False)
        assert store.training_sets.find(zebras).revision == revision
        assert len(store.classifications.feedback(ME)) == 2
        assert len(store.classifications.feedback(ME, limit=1)) == 1

    def test_a_correction_moves_an_image_that_is_under_another_label(self, store, zebras):
        wrong, wrong_too = add(store, zebras, "wrong", b"seen"), add(store, zebras, "wrong too", b"seen")
        _, image, gained = store.classifications.correct(ME, self.put(store), zebras, "right")
        assert gained
        assert (image.id, image.label) == (wrong.id, "right")
        assert [row.id for row in store.images.page(ME, zebras).images] == [wrong.id]
        with pytest.raises(RecordNotFound):
            store.images.get(ME, wrong_too.id)

    def test_a_correction_that_fails_leaves_nothing(self, store, zebras):
        given = self.put(store)
        for call in (
            lambda: store.classifications.correct(ME, given, zebras, "!"),
            lambda: store.classifications.correct(ME, given, zebras + 1, "a"),
            lambda: store.classifications.correct(ME, given, zebras, "tl_" + "0" * 40),
        ):
            with pytest.raises((Invalid, RecordNotFound)):
                call()
        assert store.classifications.feedback(ME) == []
        assert store.labels.all(ME, zebras) == []

    def test_messages_are_kept_newest_first(self, store):
        messages = ["first", "second\n“third”", "\0"]
        for message in messages:
            store.classifications.put_message(ME, message)
        assert [row.message for row in store.classifications.feedback(ME)] == ["\ufffd", "second\n“third”", "first"]
        with pytest.raises(Invalid):
            store.classifications.put_message(ME, "x" * 100_001)

    def test_a_classified_image_stays_until_it_is_forgotten(self, store, zebras):
        given = self.put(store)
        image = add(store, zebras, "a", b"seen")
        store.images.delete(ME, image.id)
        assert store.read(image.sha256) == b"seen"
        store.classifications.correct(ME, given, zebras, "b")
        assert store.read(image.sha256) == b"seen"

    def test_the_oldest_are_forgotten_with_their_images(self, store, zebras):
        from sqlalchemy import update

        from apitorch_desktop.service.storage.schema import classifications

        kept = add(store, zebras, "a", b"kept by a training set")
        old = [self.put(store, b"old"), self.put(store, b"kept by a training set")]
        new = self.put(store, b"new")
        store._writer.run(
            lambda transaction: transaction.execute(
                update(classifications)
                .where(classifications.c.id.in_(old))
                .values(created_at="2020-01-01T00:00:00.000Z")
            )
        )
        store.sweep()
        assert store.classifications.get(ME, new)
        for each in old:
            with pytest.raises(RecordNotFound):
                store.classifications.get(ME, each)
        assert stored(store) == {kept.sha256, hashlib.sha256(b"new").hexdigest()}

    def test_only_so_many_are_kept(self, store):
        store.classifications._capacity = 50
        ids = [self.put(store, bytes([i % 256, i // 256])) for i in range(300)]
        if store.jobs is not None:
            store.classifications.delete_expired()  # the leader does, every ten minutes
        assert len(stored(store)) < 50 + 200 + 1
        store.sweep()
        for each in ids[:250]:
            with pytest.raises(RecordNotFound):
                store.classifications.get(ME, each)
        assert all(store.classifications.get(ME, each) for each in ids[250:])
        assert len(stored(store)) == 50


class TestOwners:
    def test_a_key_lets_its_owner_in_until_it_is_revoked(self, store):
        ann = store.owners.create("Ann")
        row, key = store.owners.create_key(ann.id, "laptop")
        assert re.fullmatch("[A-Za-z0-9]{42}", key)
        assert (row.owner, row.hint, row.note) == ("Ann", key[:6], "laptop")
        assert store.owners.find_by_key(key) == ann.id
        assert store.owners.keys() == store.owners.keys(ann.id) == [row]
        assert store.owners.keys(ME) == []
        assert [(each.name, each.keys) for each in store.owners.all()] == [("local", 0), ("Ann", 1)]
        assert store.owners.revoke_key(row.id) == row
        assert store.owners.find_by_key(key) is None
        with pytest.raises(RecordNotFound):
            store.owners.revoke_key(str(row.id))

    @pytest.mark.parametrize(
        "key", ["", "x" * 42, "\ud800", "\0", "ß" * 42, "x" * 10**6], ids=lambda key: ascii(key[:9])
    )
    def test_a_key_nobody_made_lets_nobody_in(self, store, key):
        store.owners.create_key()
        store.owners.add_temporary_key("a" * 42)
        assert store.owners.find_by_key(key) is None

    def test_a_key_of_this_run_is_the_local_owners_and_is_not_stored(self, store, tmp_path):
        store.owners.add_temporary_key("run key " + "x" * 34)
        assert store.owners.find_by_key("run key " + "x" * 34) == ME
        assert store.owners.keys() == []

    def test_no_key_is_stored_in_clear(self, tmp_path):
        with Store.open(tmp_path / "data") as opened:
            _, key = opened.owners.create_key()
            opened.owners.add_temporary_key("z" * 42)
        assert not any(
            text in path.read_bytes()
            for path in (tmp_path / "data").iterdir()
            if path.is_file()
            for text in (key.encode(), b"z" * 42)
        )

    def test_names_of_owners_are_unique(self, store):
        store.owners.create("Ann")
        with pytest.raises(RecordConflict):
            store.owners.create(" Ann ")
        with pytest.raises(Invalid):
            store.owners.create(" ")
        with pytest.raises(RecordNotFound):
            store.owners.create_key(99)

    def test_owners_see_nothing_of_each_other(self, store, zebras):
        ann = store.owners.create("Ann").id
        image = add(store, zebras, "a", b"mine")
        given = store.classifications.put(ME, b"mine", Facts(), [NewClassification("c", "l")])[0]
        store.classifications.put_message(ME, "mine")
        theirs = store.training_sets.create(ann, "Zebra Breeds")
        assert theirs.slug == "zebra-breeds"
        assert store.training_sets.all(ann) == [theirs]
        assert store.training_sets.by_slug(ann, "zebra-breeds") == theirs
        assert store.classifications.feedback(ann) == []
        for call in (
            lambda: store.training_sets.get(ann, zebras),
            lambda: store.training_sets.update(ann, zebras, name="x"),
            lambda: store.training_sets.delete(ann, zebras),
            lambda: store.labels.all(ann, zebras),
            lambda: store.labels.get(ann, zebras, "a"),
            lambda: store.labels.create(ann, zebras, "b"),
            lambda: store.labels.rename(ann, zebras, "a", "b"),
            lambda: store.labels.delete(ann, zebras, "a"),
            lambda: add(store, zebras, "a", b"x", owner=ann),
            lambda: store.images.get(ann, image.id),
            lambda: store.images.move(ann, image.id, "b"),
            lambda: store.images.move_many(ann, zebras, [image.id], "b"),
            lambda: store.images.move_many(ann, theirs.id, [image.id], "b"),
            lambda: store.images.delete(ann, image.id),
            lambda: store.images.delete_many(ann, theirs.id, [image.id]),
            lambda: store.images.page(ann, zebras),
            lambda: store.images.page(ann, theirs.id, after=image.id),
            lambda: store.classifications.get(ann, given.id),
            lambda: store.classifications.correct(ann, given.id, theirs.id, "a"),
            lambda: store.classifications.correct(ME, given.id, theirs.id, "a"),
        ):
            with pytest.raises(RecordNotFound):
                call()
        assert store.images.page(ME, zebras).images == [image]


class TestOpenAndClose:
    def test_everything_is_there_after_a_restart(self, tmp_path):
        with Store.open(tmp_path / "data") as one:
            made = one.training_sets.create(ME, "Zebras")
            image = add(one, made.id, "a", b"x")
            key = one.owners.create_key()[1]
            secret = one.secret
        with Store.open(tmp_path / "data") as two:
            assert two.images.page(ME, made.id).images == [image]
            assert two.read(image.sha256) == b"x"
            assert two.owners.find_by_key(key) == ME
            assert two.secret == secret
            assert two.startup_sweep.removed == 0
            assert two.startup_sweep.missing == ()

    def test_everything_is_there_after_a_restart_on_postgres(self, tmp_path, server):
        empty(server)
        with Store.open(tmp_path / "data", database_url=server) as one:
            made = one.training_sets.create(ME, "Zebras")
            image = add(one, made.id, "a", b"x")
        with Store.open(tmp_path / "data", database_url=server) as two:
            assert two.images.page(ME, made.id).images == [image]
            assert two.secret == one.secret

    def test_after_closing_every_call_says_so(self, tmp_path):
        opened = Store.open(tmp_path / "data")
        made = opened.training_sets.create(ME, "Zebras")
        opened.close()
        opened.close()
        for call in (
            lambda: opened.training_sets.create(ME, "x"),
            lambda: opened.training_sets.all(ME),
            lambda: opened.owners.find_by_key("x"),
            lambda: opened.sweep(),
            lambda: add(opened, made.id, "a", b"x"),
            lambda: opened.images._writer.run(lambda _: None, opened._blobs.stage("a" * 64, b"x")),
        ):
            with pytest.raises(Closed):
                call()
        assert files(tmp_path / "data") == set()
        assert not list((tmp_path / "data" / "images" / "incoming").iterdir())

    def test_what_a_crash_left_is_in_quarantine_after_the_start(self, tmp_path):
        folder = tmp_path / "data"
        with Store.open(folder) as one:
            kept = add(one, one.training_sets.create(ME, "Zebras").id, "a", b"x")
        (folder / "images" / "a" / ("a" * 64)).write_bytes(b"no row refers to this")
        (folder / "images" / "incoming" / "tmp1234").write_bytes(b"half")
        with Store.open(folder) as two:
            assert (two.startup_sweep.new, two.startup_sweep.removed) == (1, 0)
            assert set(two.sweeper.quarantined()) == {"a" * 64}
            assert files(folder) == {kept.sha256, "a" * 64}

    def test_a_row_whose_file_is_gone_is_reported_and_kept_and_healed_by_the_same_upload(self, tmp_path):
        folder = tmp_path / "data"
        with Store.open(folder) as one:
            number = one.training_sets.create(ME, "Zebras").id
            image = add(one, number, "a", b"x")
        next((folder / "images").rglob(image.sha256)).unlink()
        with Store.open(folder) as two:
            assert two.startup_sweep.missing == (image.sha256,)
            assert two.images.get(ME, image.id) == image
            with pytest.raises(StorageFault, match="Upload it again"):
                two.read(image.sha256)
            assert add(two, number, "a", b"x") == image
            assert two.read(image.sha256) == b"x"
