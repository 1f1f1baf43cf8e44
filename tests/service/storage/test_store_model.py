"""The store against a model in memory: whatever is done in whatever order, both say the same."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from apitorch_desktop.api.slugs import slugify, snake_case
from apitorch_desktop.service.storage.errors import Invalid, RecordConflict, RecordNotFound
from apitorch_desktop.service.storage.records import NewClassification
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.service.storage.training_sets import STANDARD_SLUGS
from tests.helpers.stores import ME, Facts, add, consistent

NAMES = st.sampled_from(["Cats", "cats", "Dogs", "Safe for work", "🐈", "cats 2", " "])
LABELS = st.sampled_from(["a", "A", "B-b", "b b", "a", "b b", "!", "ü"])
_QUICK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # what is tested here is not the disk
CONTENTS = st.sampled_from([bytes([i]) * 10 for i in range(4)])
FILLING = st.lists(st.tuples(LABELS, CONTENTS), min_size=4, max_size=10)
MOST_SETS = 3  # so that what is done meets what is there


class Model(RuleBasedStateMachine):
    """`sets` is {set: {label: {sha256 as content: image id}}}, all in the order they came."""

    sets = Bundle("sets")
    images = Bundle("images")
    answers = Bundle("answers")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="store-model-", dir=_QUICK)
        self.store = Store.open(Path(self.folder.name))
        self.names: dict[int, tuple[str, str]] = {}
        self.held: dict[int, dict[str, dict[str, bytes]]] = {}  # set → label → image → content
        self.order: dict[int, list[str]] = {}
        self.classified: dict[str, bytes] = {}
        self.told: set[int] = set()
        self.feedback = 0
        self.stranger = self.store.owners.create("Ann").id
        self.store.on_change(self.told.add)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def slug(self, name: str, but: int | None = None) -> str:
        taken = {slug for number, (_, slug) in self.names.items() if number != but} | set(STANDARD_SLUGS)
        base = slugify(name) or "training-set"
        return next(each for each in (base, *(f"{base}-{n}" for n in range(2, 99))) if each not in taken)

    def where(self, image: str) -> tuple[int, str, bytes] | None:
        for number, labels in self.held.items():
            for label, held in labels.items():
                if image in held:
                    return number, label, held[image]
        return None

    def remove(self, image: str) -> None:
        number, label, _ = self.where(image)
        del self.held[number][label][image]
        self.order[number].remove(image)

    def put(self, number: int, image: str, label: str) -> str:
        """Move in the model; the image that is left."""
        _, old, content = self.where(image)
        target = self.held[number].setdefault(label, {})
        there = next((each for each, held in target.items() if held == content), None)
        if there is not None and there != image:
            self.remove(image)
            return there
        target[image] = self.held[number][old].pop(image)
        return image

    def held_twice(self) -> list[tuple[int, bytes]]:
        """Training sets, and a content that several of their labels have."""
        contents = {
            number: Counter(c for held in labels.values() for c in held.values())
            for number, labels in self.held.items()
        }
        return [
            (number, content) for number, counts in contents.items() for content, count in counts.items() if count > 1
        ]

    @initialize(target=sets)
    def begin(self):
        return self.create_set("Cats")

    @precondition(lambda self: len(self.held) < MOST_SETS)
    @rule(target=sets, name=NAMES)
    def create_set(self, name: str):
        try:
            row = self.store.training_sets.create(ME, name)
        except Invalid:
            assert not name.strip()
            return multiple()
        assert row.slug == self.slug(name)
        self.names[row.id] = (row.name, row.slug)
        self.held[row.id], self.order[row.id] = {}, []
        return row.id

    @rule(number=sets, name=NAMES)
    def rename_set(self, number: int, name: str) -> None:
        try:
            row = self.store.training_sets.update(ME, str(number), name=name)
        except Invalid:
            assert not name.strip()
        except RecordNotFound:
            assert number not in self.held
        else:
            slug = self.names[number][1] if self.names[number][0] == row.name else self.slug(name, number)
            assert row.slug == slug
            self.names[number] = (row.name, slug)

    @rule(number=consumes(sets))
    def delete_set(self, number: int) -> None:
        try:
            self.store.training_sets.delete(ME, number)
        except RecordNotFound:
            assert number not in self.held
        else:
            del self.held[number], self.order[number], self.names[number]

    @rule(target=images, number=sets, label=LABELS, content=CONTENTS)
    def add(self, number: int, label: str, content: bytes):
        try:
            row, created = self.store.images.add(ME, number, label, content, Facts())
        except Invalid:
            assert label == "!"
            return multiple()
        except RecordNotFound:
            assert number not in self.held
            return multiple()
        held = self.held[number].setdefault(snake_case(label), {})
        assert created == (content not in held.values())
        if created:
            held[row.id] = content
            self.order[number].append(row.id)
        assert held[row.id] == content
        return row.id

    @rule(target=images, number=sets, filling=FILLING)
    def fill(self, number: int, filling: list[tuple[str, bytes]]):
        added = [self.add(number, label, content) for label, content in filling]
        return multiple(*(image for image in added if isinstance(image, str)))

    @rule(number=sets, image=images, answer=answers, label=LABELS)
    def another_owner_finds_nothing(self, number: int, image: str, answer: str, label: str) -> None:
        store, them = self.store, self.stranger
        for call in (
            lambda: store.training_sets.get(them, number),
            lambda: store.training_sets.update(them, number, name="Theirs"),
            lambda: store.training_sets.delete(them, number),
            lambda: store.labels.create(them, number, "new"),
            lambda: store.labels.rename(them, number, label, "new", merge=True),
            lambda: store.labels.delete(them, number, label),
            lambda: store.images.add(them, number, "new", b"x", Facts()),
            lambda: store.images.get(them, image),
            lambda: store.images.move(them, image, "new"),
            lambda: store.images.move_many(them, number, [image], "new"),
            lambda: store.images.delete(them, image),
            lambda: store.images.delete_many(them, number, [image]),
            lambda: store.images.page(them, number),
            lambda: store.classifications.correct(them, answer, number, "new"),
        ):
            with pytest.raises(RecordNotFound):
                call()

    @rule(image=images, label=LABELS, with_prefix=st.booleans())
    def move(self, image: str, label: str, with_prefix: bool) -> None:
        found = self.where(image)
        try:
            row = self.store.images.move(ME, "ti_" * with_prefix + image, label)
        except Invalid:
            assert label == "!"
        except RecordNotFound:
            assert found is None
        else:
            assert row.id == self.put(found[0], image, snake_case(label))

    @rule(number=sets, images=st.lists(images, max_size=6), label=LABELS)
    def move_many(self, number: int, images: list[str], label: str) -> None:
        here = all((found := self.where(image)) is not None and found[0] == number for image in images)
        try:
            rows = self.store.images.move_many(ME, number, images, label)
        except Invalid:
            assert label == "!"
        except RecordNotFound:
            assert number not in self.held or not here
        else:
            assert here
            self.held[number].setdefault(snake_case(label), {})
            left: dict[str, str] = {}
            for image in images:
                left[image] = self.put(number, image, snake_case(label)) if image not in left else left[image]
            assert [row.id for row in rows] == [left[image] for image in images]

    @rule(image=images)
    def delete(self, image: str) -> None:
        found = self.where(image)
        try:
            self.store.images.delete(ME, image)
        except RecordNotFound:
            assert found is None
        else:
            self.remove(image)

    @rule(number=sets, images=st.lists(images, max_size=6))
    def delete_many(self, number: int, images: list[str]) -> None:
        here = all((found := self.where(image)) is not None and found[0] == number for image in images)
        try:
            count = self.store.images.delete_many(ME, number, images)
        except RecordNotFound:
            assert number not in self.held or not here
        else:
            assert here
            assert count == len(set(images))
            for image in set(images):
                self.remove(image)

    @rule(number=sets, label=LABELS)
    def create_label(self, number: int, label: str) -> None:
        name = snake_case(label)
        try:
            self.store.labels.create(ME, number, label)
        except Invalid:
            assert not name
        except RecordNotFound:
            assert number not in self.held
        except RecordConflict:
            assert name in self.held[number]
        else:
            assert name not in self.held[number]
            self.held[number][name] = {}

    @rule(number=sets, label=LABELS, new=LABELS, merge=st.booleans())
    def rename_label(self, number: int, label: str, new: str, merge: bool) -> None:
        old, name = snake_case(label), snake_case(new)
        labels = self.held.get(number, {})
        try:
            self.store.labels.rename(ME, number, label, new, merge=merge)
        except Invalid:
            assert not name
        except RecordNotFound:
            assert old not in labels
        except RecordConflict:
            assert name in labels
            assert old != name
            assert not merge
        else:
            if name not in labels:
                labels[name] = labels.pop(old)
            elif old != name:
                for image in list(labels[old]):
                    self.put(number, image, name)
                del labels[old]

    @precondition(lambda self: any(len(labels) > 1 for labels in self.held.values()))
    @rule(data=st.data())
    def merge_two_labels(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([number for number, labels in self.held.items() if len(labels) > 1]))
        old, new, *_ = data.draw(st.permutations(list(self.held[number])))
        self.rename_label(number, old, new, merge=True)

    @rule(number=sets, label=LABELS)
    def delete_label(self, number: int, label: str) -> None:
        name = snake_case(label)
        try:
            self.store.labels.delete(ME, number, label)
        except RecordNotFound:
            assert name not in self.held.get(number, {})
        else:
            for image in list(self.held[number][name]):
                self.remove(image)
            del self.held[number][name]

    @rule(target=answers, content=CONTENTS)
    def classify(self, content: bytes):
        row = self.store.classifications.put(ME, content, Facts(), [NewClassification("c", "l")])[0]
        self.classified[row.id] = content
        return row.id

    @rule(target=images, answer=answers, number=sets, label=LABELS)
    def correct(self, answer: str, number: int, label: str):
        content, name = self.classified[answer], snake_case(label)
        try:
            _, image, gained = self.store.classifications.correct(ME, answer, number, label)
        except Invalid:
            assert not name
            return multiple()
        except RecordNotFound:
            assert number not in self.held
            return multiple()
        self.feedback += 1
        labels = self.held[number]
        target = labels.setdefault(name, {})
        assert gained == (content not in target.values())
        same = [each for each in self.order[number] if self.where(each)[2] == content]
        same.sort(key=lambda each: each not in target)  # the one under the right label stays, else the oldest
        for each in same[1:]:
            self.remove(each)
        if same:
            assert image.id == self.put(number, same[0], name)
        else:
            target[image.id] = content
            self.order[number].append(image.id)
        return image.id

    @precondition(lambda self: self.held_twice())
    @rule(target=images, data=st.data(), label=LABELS)
    def correct_what_two_labels_have(self, data: st.DataObject, label: str):
        number, content = data.draw(st.sampled_from(self.held_twice()))
        return self.correct(self.classify(content), number, label)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store.open(Path(self.folder.name))
        assert self.store.startup_sweep.removed == 0
        assert self.store.startup_sweep.missing == ()
        self.store.on_change(self.told.add)

    @rule(number=sets, limit=st.integers(1, 4))
    def read_in_pages(self, number: int, limit: int) -> None:
        if number in self.held:
            got, after = [], None
            while True:
                page = self.store.images.page(ME, number, after=after, limit=limit)
                got += [row.id for row in page.images]
                after = page.next
                if after is None:
                    break
            assert got == self.order[number]

    @invariant()
    def both_say_the_same(self) -> None:
        rows = self.store.training_sets.all(ME)
        assert [(row.id, row.name, row.slug) for row in rows] == [(n, *self.names[n]) for n in sorted(self.names)]
        for row in rows:
            labels = self.held[row.id]
            assert dict(zip(row.labels, row.counts, strict=True)) == {name: len(held) for name, held in labels.items()}
            listed = self.store.images.page(ME, row.id).images
            assert [each.id for each in listed] == self.order[row.id]
            for each in listed:
                assert labels[each.label][each.id] == self.store.read(each.sha256)
        assert len(self.store.classifications.feedback(ME)) == self.feedback
        consistent(self.store)


_LONG = bool(os.environ.get("APITORCH_TEST_LONG"))

TestStoreAgainstAModel = Model.TestCase
TestStoreAgainstAModel.settings = settings(
    max_examples=500 if _LONG else 60,
    stateful_step_count=60 if _LONG else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStoreAgainstAModel = pytest.mark.timeout(3000 if _LONG else 900)(TestStoreAgainstAModel)


def test_the_model_sees_a_lost_image(tmp_path: Path) -> None:
    """The invariant can fail: a file removed behind the store's back is found out."""
    with Store.open(tmp_path) as store:
        row = add(store, store.training_sets.create(ME, "a").id, "a", b"x")
        consistent(store)
        (tmp_path / "images" / row.sha256[0] / row.sha256).unlink()
        with pytest.raises(AssertionError):
            consistent(store)
