"""Trainers of several processes on one database: each set is trained by one at a time, and all answer alike."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from apitorch_desktop.service.classifiers import training_data
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder
from apitorch_desktop.vision.images import open_upright
from tests.helpers.curating import OWNER, add, fill, state, training, until_ready
from tests.helpers.stores import postgres
from tests.helpers.waiting import until


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    (tmp_path / "bucket").mkdir()
    named = {"blob_url": (tmp_path / "bucket").as_uri()}
    with postgres() as url, ExitStack() as stack:
        yield tuple(
            stack.enter_context(Store.open(tmp_path / f"data{at}", database_url=url, **named)) for at in range(2)
        )


def test_two_processes_train_each_change_once_and_answer_alike(stores, photos, encoder, monkeypatch):
    """One of them ends in the middle, and the other goes on; an encoder that is broken in one leaves all to the other."""
    one, two = stores
    fits: list[tuple[int, int]] = []
    fit = training_data.fit

    def count(data, *more):
        if data.complete:  # else it is one of a preview, while images are still to be embedded
            fits.append((data.set_id, data.revision))
        return fit(data, *more)

    monkeypatch.setattr(training_data, "fit", count)
    sets = [one.training_sets.create(OWNER, name).id for name in ("Clothes", "More clothes", "Most clothes")]
    with training(two, encoder) as second:
        with training(one, encoder) as first:
            for number in sets:
                fill(one if number % 2 else two, number, photos, ["dress", "hat"], 4)
            for number in sets:
                ready = until_ready(one, first, number)
                until(lambda number=number, ready=ready: state(two, second, number) == ready)
                revision = one.training_sets.find(number).revision
                assert fits.count((number, revision)) <= 1
                path = sorted((photos / "train" / "hat").iterdir())[9]
                image = encoder.encode([open_upright(path.read_bytes(), encoder.shorter_side)])[0]
                answers = [
                    trainer.predict(store.training_sets.find(number), lambda _name, image=image: image)
                    for store, trainer in ((one, first), (two, second))
                ]
                assert answers[0] == answers[1]
            trained = len(fits)
            until(lambda: not one.jobs.waiting())  # all are given back
            assert len(fits) == trained
            add(one, sets[0], "hat", sorted((photos / "train" / "hat").iterdir())[5])
        until_ready(two, second, sets[0])  # whoever had begun it
        assert two.models.versions(sets[0])[0].images == 9

    def broken() -> Encoder:
        raise UnusableEncoder("The encoder's file is damaged.")

    with training(one, broken) as first:
        add(one, sets[1], "hat", sorted((photos / "train" / "hat").iterdir())[5])
        with training(two, encoder) as second:
            until_ready(two, second, sets[1])
            until(lambda: state(one, first, sets[1]) == state(two, second, sets[1]))


def test_a_head_that_another_process_put_to_use_answers_here(stores, photos, encoder):
    one, two = stores
    number = one.training_sets.create(OWNER, "Clothes").id
    with training(one, encoder) as first:
        fill(one, number, photos, ["dress", "hat"], 4)
        until_ready(one, first, number)
        second = Trainer(two, lambda: encoder)
        assert second.current_head(number).version == 1
        add(one, number, "hat", sorted((photos / "train" / "hat").iterdir())[5])
        until(lambda: second.current_head(number).version == 2)
        first.set_current(number, 1)
        until(lambda: second.current_head(number).version == 1)
        assert state(two, second, number) == state(one, first, number)
