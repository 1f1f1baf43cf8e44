import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import UNSET

from apitorch_desktop.api.types import CONFIDENCE_WORDS
from apitorch_desktop.service.classifiers.classification import STANDARD, ClassificationService, adjust, distribution
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.storage.errors import DiskFull, Invalid, RecordConflict, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision import standard_classifiers
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder, model_file
from apitorch_desktop.vision.images import UnreadableImage
from apitorch_desktop.vision.standard_classifiers import StandardAnswer
from tests.helpers.curating import OWNER, CountingEncoder, add, fill, training, until_ready
from tests.helpers.image_samples import photo_like, saved
from tests.helpers.waiting import until


@pytest.fixture(scope="module")
def encoder():
    return Encoder()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, encoder, photos):
    """A folder whose training set “Clothes” has learned dresses and hats; copied by what changes it."""
    folder = tmp_path_factory.mktemp("trained") / "data"
    with Store.open(folder) as store:
        clothes = store.training_sets.create(OWNER, "Clothes").id
        fill(store, clothes, photos, ["dress", "hat"], 12)
        with training(store, encoder) as trainer:
            until_ready(store, trainer, clothes)
    return folder


class Desk:
    """A store with trainer and answers, as the service has them."""

    def __init__(self, store: Store, trainer: Trainer, encoder) -> None:
        self.store = store
        self.trainer = trainer
        self.encoder = CountingEncoder(encoder)
        self.answers = ClassificationService(store, trainer, lambda: self.encoder)

    def classify(self, path, *slugs, owner=OWNER, **options):
        data = path.read_bytes()
        return self.answers.classify(owner, slugs, data, **options).result().data

    def row(self, slug="clothes"):
        return self.store.training_sets.by_slug(OWNER, slug)


@pytest.fixture
def desk(tmp_path, trained, encoder):
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(trained, folder)
    with Store.open(folder) as store, training(store, encoder) as trainer:
        yield Desk(store, trainer, encoder)


@pytest.fixture
def hats(photos):
    return sorted((photos / "test" / "hat").iterdir())


def test_a_trained_classifier_answers_as_documented_and_with_alternatives(desk, hats):
    (answer,) = desk.classify(hats[0], "clothes")
    assert re.fullmatch(r"cls_[0-9a-f]{40}", answer.id)
    assert (answer.classifier, answer.label, answer.sentence) == ("clothes", "hat", "Image is hat.")
    assert answer.confidence in CONFIDENCE_WORDS
    assert answer.confidence_value is UNSET
    (other,) = answer.alternatives
    ids = {label.name: label.id for label in desk.store.labels.all(OWNER, desk.row().id)}
    assert (answer.label_id, other.label, other.label_id) == (ids["hat"], "dress", ids["dress"])
    assert answer.version == 1


def test_the_confidence_value_is_a_decimal_in_a_string_where_it_is_asked_for(desk, hats):
    (answer,) = desk.classify(hats[0], "clothes", show_confidence_value=True)
    assert re.fullmatch(r"[01]\.\d{4}", answer.confidence_value)
    total = float(answer.confidence_value) + sum(float(other.confidence_value) for other in answer.alternatives)
    assert total == pytest.approx(1, abs=1e-3)


def test_an_answer_that_is_not_kept_is_not_stored(desk, hats, monkeypatch):
    monkeypatch.setattr(desk.store.classifications, "stage", lambda _data: pytest.fail("it was written to disk"))
    monkeypatch.setattr(desk.store.classifications, "put", lambda *_row: pytest.fail("it was recorded"))
    (answer,) = desk.classify(hats[0], "clothes", "safe-for-work", keep=False)[:1]
    assert (answer.label, answer.id) == ("hat", "")


def test_one_pass_of_the_encoder_serves_all_classifiers_of_a_call_in_the_order_given(desk, hats, photos, encoder):
    others = desk.store.training_sets.create(OWNER, "Others").id
    fill(desk.store, others, photos, ["shirt", "hat"], 3)
    until_ready(desk.store, desk.trainer, others)
    answers = desk.classify(hats[0], "others", "safe-for-work", "clothes", "others")
    assert [answer.classifier for answer in answers] == ["others", "safe-for-work", "clothes"]
    assert desk.encoder.passes == 1
    assert answers[1].label in STANDARD["safe-for-work"].labels
    assert len({answer.id for answer in answers}) == 3


def test_answers_outlast_a_restart_and_can_then_be_corrected(tmp_path, trained, encoder, hats):
    import shutil

    shutil.copytree(trained, tmp_path / "data")
    with Store.open(tmp_path / "data") as store, training(store, encoder) as trainer:
        (answer,) = Desk(store, trainer, encoder).classify(hats[0], "clothes", filename="My hat.jpg")
    with Store.open(tmp_path / "data") as store, training(store, encoder) as trainer:
        desk = Desk(store, trainer, encoder)
        row = store.classifications.get(OWNER, answer.id)
        assert (row.classifier, row.label, row.version, row.original_filename) == ("clothes", "hat", 1, "My hat.jpg")
        desk.answers.feedback_classification(OWNER, answer.id, "dress")
        assert dict(zip(desk.row().labels, desk.row().counts, strict=True)) == {"dress": 13, "hat": 12}


def test_a_corrected_photo_is_right_the_next_time(desk, hats):
    for number, path in enumerate(hats[:4]):
        (answer,) = desk.classify(path, "clothes")
        correct = "dress" if answer.label == "hat" else "hat"  # whatever it said, the person says otherwise
        feedback = desk.answers.feedback_classification(OWNER, answer.id, correct)
        assert feedback.message == f"The image is now under “{correct}” of “Clothes”. The classifier learns from it."
        assert re.fullmatch(r"ti_[0-9a-f]{40}", feedback.training_image_id)
        until_ready(desk.store, desk.trainer, desk.row().id)
        (again,) = desk.classify(path, "clothes")
        assert (again.label, again.version) == (correct, number + 2)


def test_the_right_label_may_be_given_by_its_id_and_may_be_new(desk, hats):
    (answer,) = desk.classify(hats[0], "clothes")
    ids = {label.name: label.id for label in desk.store.labels.all(OWNER, desk.row().id)}
    assert desk.answers.feedback_classification(OWNER, answer.id, ids["dress"]).label == "dress"
    assert desk.answers.feedback_classification(OWNER, answer.id, "Sun Hat").label == "sun_hat"
    until_ready(desk.store, desk.trainer, desk.row().id)
    (again,) = desk.classify(hats[0], "clothes")
    assert again.label == "sun_hat"  # a label of one photo answers for that photo at least
    assert dict(zip(desk.row().labels, desk.row().counts, strict=True)) == {"dress": 12, "hat": 12, "sun_hat": 1}


def test_a_training_image_moves_to_the_label_it_is_corrected_to(desk, photos):
    path = min((photos / "train" / "hat").iterdir())
    (answer,) = desk.classify(path, "clothes")
    before = {image.id: image.label for image in desk.store.images.page(OWNER, desk.row().id).images}
    feedback = desk.answers.feedback_classification(OWNER, answer.id, "dress")
    after = {image.id: image.label for image in desk.store.images.page(OWNER, desk.row().id).images}
    assert set(after) == set(before)
    moved = [each for each in after if after[each] != before[each]]
    assert [f"ti_{each}" for each in moved] == [feedback.training_image_id]
    again = desk.answers.feedback_classification(OWNER, answer.id, "dress")
    assert again.message.startswith("The image was under “dress” of “Clothes” already.")


@pytest.mark.parametrize("label", ["", "  ", "!!!", "🎩"])
def test_a_correction_to_no_label_is_refused(desk, hats, label):
    (answer,) = desk.classify(hats[0], "clothes")
    with pytest.raises((Invalid, RecordNotFound)):
        desk.answers.feedback_classification(OWNER, answer.id, label)
    assert desk.answers.feedback(OWNER) == []


@pytest.mark.parametrize("name", ["", "cls_", "cls_" + "0" * 40, "x" * 300, "../..", "cls_\x00"])
def test_a_correction_of_nothing_is_not_found(desk, name):
    with pytest.raises(RecordNotFound):
        desk.answers.feedback_classification(OWNER, name, "hat")


def test_what_was_sent_can_be_read_with_what_came_of_it(desk, hats):
    (answer,) = desk.classify(hats[0], "clothes")
    sent = desk.answers.feedback_classification(OWNER, answer.id, "dress")
    message = desk.answers.feedback_freeform(OWNER, "Größer, bitte 🎩")
    newest, oldest = desk.answers.feedback(OWNER)
    assert (newest.id, newest.kind, newest.text) == (message.id, "freeform", "Größer, bitte 🎩")
    assert (oldest.id, oldest.kind, oldest.classifier) == (sent.id, "classification", "clothes")
    assert (oldest.from_label, oldest.label, oldest.version) == (answer.label, "dress", 1)
    assert (oldest.classification_id, oldest.training_image_id) == (answer.id, sent.training_image_id)


def test_other_owners_see_and_correct_nothing(desk, hats):
    (answer,) = desk.classify(hats[0], "clothes")
    other = desk.store.owners.create("Ann").id
    with pytest.raises(RecordNotFound):
        desk.answers.feedback_classification(other, answer.id, "dress")
    with pytest.raises(RecordNotFound):
        desk.classify(hats[0], "clothes", owner=other)
    with pytest.raises(RecordNotFound):
        desk.answers.classifier(other, "clothes")
    assert desk.answers.feedback(other) == []
    assert [each.slug for each in desk.answers.classifiers(other)] == list(STANDARD)


def test_what_cannot_be_asked_is_refused_with_the_reason(desk, hats, photos):
    with pytest.raises(RecordNotFound, match="“no-such”"):
        desk.classify(hats[0], "clothes", "no-such")
    for slugs in ([], [f"c{number}" for number in range(11)]):
        with pytest.raises(Invalid, match="1 to 10"):
            desk.classify(hats[0], *slugs)
    few = desk.store.training_sets.create(OWNER, "Few").id
    add(desk.store, few, "hat", hats[0])
    with pytest.raises(RecordConflict, match="“hat” has 1"):
        desk.classify(hats[0], "few")
    assert desk.store.classifications.feedback(OWNER) == []


def test_without_an_encoder_the_answer_is_its_sentence(desk, hats):
    def broken():
        raise UnusableEncoder("The encoder's file is damaged.")

    with pytest.raises(StorageFault, match="damaged"):
        data = hats[0].read_bytes()
        ClassificationService(desk.store, desk.trainer, broken).classify(OWNER, ["clothes"], data)


def test_classifiers_are_the_standard_ones_and_the_training_sets_with_enough_images(desk, hats):
    few = desk.store.training_sets.create(OWNER, "Few").id
    add(desk.store, few, "hat", hats[0])
    listed = {each.slug: each for each in desk.answers.classifiers(OWNER)}
    assert list(listed) == ["safe-for-work", "extract-text", "design-score", "clothes"]
    assert listed["safe-for-work"].return_values == [
        [True, "Image is safe for work"],
        [False, "Image is not safe for work"],
    ]
    clothes = listed["clothes"]
    assert (clothes.status, clothes.version, clothes.labels) == ("ready", 1, ["dress", "hat"])
    assert clothes.metrics.images == 24
    assert clothes.training_set_id == desk.row().id
    assert desk.answers.classifier(OWNER, "few").status == "needs_images"
    assert desk.answers.classifier(OWNER, "extract-text").status == "ready"
    with pytest.raises(RecordNotFound):
        desk.answers.classifier(OWNER, "no-such")


def test_corrections_of_a_standard_classifier_collect_and_then_adjust_it(desk, photos):
    shown = [min((photos / "test" / label).iterdir()) for label in ("dress", "hat", "shirt", "pants")]
    wanted = ["not safe for work", "not safe for work", "safe for work", "safe for work"]
    for path, label in zip(shown, wanted, strict=True):
        (answer,) = desk.classify(path, "safe-for-work")
        assert answer.adjusted is UNSET
        feedback = desk.answers.feedback_classification(OWNER, answer.id, label)
    row = desk.row("safe-for-work")
    assert (row.name, row.standard) == ("Safe for Work", "safe-for-work")
    assert dict(zip(row.labels, row.counts, strict=True)) == {"not_safe_for_work": 2, "safe_for_work": 2}
    assert feedback.training_set_id == row.id
    until_ready(desk.store, desk.trainer, row.id)
    for path, label in zip(shown, wanted, strict=True):
        (answer,) = desk.classify(path, "safe-for-work", show_confidence_value=True)
        assert (answer.label, answer.adjusted, answer.version) == (label, True, 1)
        assert "4 corrected photos" in answer.sentence
        assert 0.5 < float(answer.confidence_value) <= 1
    assert [each.slug for each in desk.answers.classifiers(OWNER)].count("safe-for-work") == 1
    described = desk.answers.classifier(OWNER, "safe-for-work")
    assert described.status_message.startswith("Adjusted by corrections.")
    assert described.labels == ["safe for work", "not safe for work"]


@pytest.mark.usefixtures("real_photos")
def test_a_few_corrections_do_not_turn_what_they_say_nothing_about(desk, photos):
    for label, correct in (("dress", "not safe for work"), ("hat", "safe for work")):
        for path in sorted((photos / "test" / label).iterdir())[:2]:
            (answer,) = desk.classify(path, "safe-for-work")
            desk.answers.feedback_classification(OWNER, answer.id, correct)
    until_ready(desk.store, desk.trainer, desk.row("safe-for-work").id)
    others = [path for label in ("pants", "shoes") for path in sorted((photos / "test" / label).iterdir())[:8]]
    answers = [desk.classify(path, "safe-for-work")[0] for path in others]
    assert sum(answer.label == "safe for work" for answer in answers) >= 12


def test_the_standard_classifiers_answer_as_documented(desk, photos):
    path = min((photos / "test" / "hat").iterdir())
    text, design, safe = desk.classify(path, "extract-text", "design-score", "safe-for-work")
    assert isinstance(text.value, bool)
    assert text.label in STANDARD["extract-text"].labels
    assert text.sentence == f"Image {text.label}."
    assert design.label in STANDARD["design-score"].labels
    assert design.measures
    assert (safe.label, safe.sentence) == ("safe for work", "Image is safe for work.")
    assert [each.label for each in safe.alternatives] == ["not safe for work"]


def test_a_classifier_that_fails_leaves_the_answers_of_the_others(desk, photos, monkeypatch, caplog):
    path = min((photos / "test" / "hat").iterdir())

    def fail(_image):
        raise ZeroDivisionError("width of 0")

    monkeypatch.setattr(standard_classifiers, "design_score", fail)
    data = path.read_bytes()
    answers = desk.answers.classify(OWNER, ["design-score", "safe-for-work", "clothes"], data).result()
    assert [answer.classifier for answer in answers.data] == ["safe-for-work", "clothes"]
    assert [(error.classifier, error.message) for error in answers.errors] == [
        ("design-score", "The classifier failed on this image.")
    ]
    assert "width of 0" in caplog.text
    with pytest.raises(ZeroDivisionError):
        desk.answers.classify(OWNER, ["design-score"], data)
    caplog.clear()


class _HeldEncoder(CountingEncoder):
    """An encoder in the middle of a pass, until it is let go."""

    def __init__(self, encoder) -> None:
        super().__init__(encoder)
        self.held, self.go = threading.Event(), threading.Event()

    def encode(self, pictures):
        self.held.set()
        assert self.go.wait(60)
        return super().encode(pictures)


def test_classifying_does_not_wait_for_the_trainers_backlog(tmp_path, trained, encoder, photos):
    import shutil

    shutil.copytree(trained, tmp_path / "data")
    held = _HeldEncoder(encoder)
    with Store.open(tmp_path / "data") as store, training(store, held) as trainer:
        desk = Desk(store, trainer, encoder)
        try:
            fill(store, store.training_sets.create(OWNER, "Many").id, photos, ["pants", "shoes"], 20)
            assert held.held.wait(60)
            desk.classify(min((photos / "test" / "dress").iterdir()), "clothes")
            assert held.count == 0
        finally:
            held.go.set()


def test_many_classify_at_once_and_each_gets_an_answer_of_its_own(desk, hats):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: desk.classify(path, "clothes")[0], hats[:12] * 2))
    assert len({answer.id for answer in answers}) == 24
    for one, other in zip(answers[:12], answers[12:], strict=True):
        assert (one.label, one.alternatives) == (other.label, other.alternatives)


class _MeetingEncoder(CountingEncoder):
    """An encoder that encodes once two photos are being encoded."""

    def __init__(self, encoder) -> None:
        super().__init__(encoder)
        self.both = threading.Barrier(2, timeout=60)

    def encode(self, pictures):
        self.both.wait()
        return super().encode(pictures)


def test_two_photos_are_encoded_at_once(desk, hats):
    desk.encoder = _MeetingEncoder(desk.encoder._encoder)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda path: desk.classify(path, "clothes")[0], hats[:2]))
    assert [answer.label for answer in answers] == ["hat", "hat"]


_SAFE = STANDARD["safe-for-work"]
_share = some.floats(0, 1)


def _says(safe: float) -> StandardAnswer:
    label = _SAFE.labels[0] if safe >= 0.5 else _SAFE.labels[1]
    return StandardAnswer(label, f"Image is {label}.", max(safe, 1 - safe), value=safe >= 0.5)


@given(_share, _share)
def test_adjusted_probabilities_are_probabilities_and_the_best_is_the_answer(said, heard):
    answer, values = adjust(_SAFE, _says(said), {"safe_for_work": heard, "not_safe_for_work": 1 - heard}, 4)
    assert sum(values.values()) == pytest.approx(1)
    assert values[answer.label] == max(values.values()) == answer.confidence_value
    assert answer.value == (answer.label == "safe for work")


@given(_share)
def test_a_head_that_only_guesses_changes_nothing(said):
    before = _says(said)
    answer, values = adjust(_SAFE, before, {"safe_for_work": 0.5, "not_safe_for_work": 0.5}, 4)
    assert answer.label == before.label
    for label, value in distribution(_SAFE, before).items():
        assert values[label] == pytest.approx(value, abs=0.01)


@given(_share, some.floats(0.95, 1))
def test_a_remembered_correction_holds_whatever_was_said(said, sure):
    answer, _ = adjust(_SAFE, _says(said), {"safe_for_work": 1 - sure, "not_safe_for_work": sure}, 4)
    assert answer.label == "not safe for work"
    answer, _ = adjust(
        _SAFE, _says(said), {"safe_for_work": (1 - sure) / 2, "not_safe_for_work": (1 - sure) / 2, "art": sure}, 5
    )
    assert answer.label == "art"
    assert answer.value is None


def test_a_label_that_no_correction_was_about_can_still_be_the_answer():
    entry = STANDARD["design-score"]
    said = StandardAnswer("good", "Design is good.", value=71)
    unsure, _ = adjust(entry, said, {"excellent": 0.55, "poor": 0.45}, 4)
    sure, _ = adjust(entry, said, {"excellent": 0.95, "poor": 0.05}, 4)
    assert (unsure.label, sure.label, sure.value) == ("good", "excellent", 71)


def test_the_image_comes_to_the_disk_while_the_encoder_looks_at_it(desk, hats, monkeypatch):
    staged, stage, encode = threading.Event(), desk.store.classifications.stage, desk.encoder.encode
    monkeypatch.setattr(desk.store.classifications, "stage", lambda data: (stage(data), staged.set())[0])
    monkeypatch.setattr(desk.encoder, "encode", lambda images: (staged.wait(60), encode(images))[1])
    desk.classify(hats[0], "safe-for-work")
    assert staged.is_set(), "it waited for the encoder"


def test_no_answer_is_given_before_it_is_kept(desk, hats, monkeypatch):
    """Feedback on it may come at once, and after a crash."""
    commit, ahead = threading.Event(), desk.store.classifications._writer.run
    monkeypatch.setattr(
        desk.store.classifications._writer,
        "run",
        lambda *more, **options: (commit.wait(60), ahead(*more, **options))[1],
    )
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(desk.classify, hats[0], "safe-for-work")
        with pytest.raises(TimeoutError):
            answering.result(1)
        commit.set()
        (answer,) = answering.result(60)
    assert desk.store.classifications.get(OWNER, answer.id).label == answer.label


def test_a_damaged_image_is_neither_encoded_nor_kept(desk, hats):
    there, encoded = set(desk.store.folder.joinpath("images").rglob("*")), desk.encoder.count
    for damaged in (hats[0].read_bytes()[:-3000], b"no image"):
        with pytest.raises(UnreadableImage):
            desk.answers.classify(OWNER, ["clothes"], damaged)
    assert desk.encoder.count == encoded
    assert set(desk.store.folder.joinpath("images").rglob("*")) == there


def test_nothing_stays_of_an_image_that_got_no_answer(desk, hats, monkeypatch):
    there = set(desk.store.folder.joinpath("images").rglob("*"))

    def fail(images):
        raise RecordConflict("no answer")

    monkeypatch.setattr(desk.encoder, "encode", fail)
    with pytest.raises(RecordConflict):
        desk.classify(hats[0], "clothes")
    until(lambda: set(desk.store.folder.joinpath("images").rglob("*")) == there)


def test_an_answer_that_cannot_be_kept_for_want_of_room_is_not_given(desk, hats, monkeypatch):
    def full(sha256, data):
        raise DiskFull("There is no room left.")

    monkeypatch.setattr(desk.store._blobs, "stage", full)
    with pytest.raises(DiskFull):
        desk.classify(hats[0], "safe-for-work")


def test_a_photo_unlike_all_that_was_learned_is_none_of_these(desk, hats, tmp_path):
    path = tmp_path / "drawn.jpg"
    path.write_bytes(saved(photo_like(400, 300, 1), "JPEG"))
    (answer,) = desk.classify(path, "clothes", show_confidence_value=True)
    assert answer.none_of_these is True and answer.confidence == "unknown"
    assert answer.label in ("dress", "hat") and answer.label_id is not UNSET and answer.confidence_value is not UNSET
    assert answer.sentence == f"Image is none of these; the nearest is {answer.label}."
    (known,) = desk.classify(hats[0], "clothes")
    assert known.none_of_these is UNSET


def test_a_corrected_photo_is_no_longer_none_of_these(desk, tmp_path):
    path = tmp_path / "drawn.jpg"
    path.write_bytes(saved(photo_like(400, 300, 1), "JPEG"))
    (answer,) = desk.classify(path, "clothes")
    assert answer.none_of_these is True
    desk.answers.feedback_classification(OWNER, answer.id, "dress")
    until_ready(desk.store, desk.trainer, desk.row().id)
    (answer,) = desk.classify(path, "clothes")
    assert (answer.label, answer.none_of_these, answer.version) == ("dress", UNSET, 2)


def test_a_classifier_of_the_first_version_answers_until_all_photos_are_encoded_anew(tmp_path, encoder, photos, hats):
    with Store.open(tmp_path / "data") as store:
        clothes = store.training_sets.create(OWNER, "Clothes").id
        fill(store, clothes, photos, ["dress", "hat"], 12)
        with training(store, Encoder(model_file("safe_for_work.onnx"))) as trainer:
            until_ready(store, trainer, clothes)
        held = _HeldAfterABatch(encoder)
        with training(store, held, patience=0.1) as trainer:
            desk = Desk(store, trainer, encoder)
            try:
                assert held.held.wait(60)
                time.sleep(1)  # a head of the first batch alone would have been trained by now
                (answer,) = desk.classify(hats[0], "clothes")
                assert (answer.label, answer.version) == ("hat", 1)
            finally:
                held.go.set()
            until(lambda: store.models.versions(clothes)[0].version == 2)
            until(lambda: desk.classify(hats[0], "clothes")[0].version == 2)
            assert store.models.versions(clothes)[0].encoder == encoder.name


class _HeldAfterABatch(_HeldEncoder):
    def encode(self, images):
        if not self.passes:
            return CountingEncoder.encode(self, images)
        return super().encode(images)


def test_a_thread_that_has_answered_does_not_wait_until_that_is_stored(desk, hats, monkeypatch):
    gate, put = threading.Event(), desk.store.classifications.put

    def held_back(*arguments):
        gate.wait()
        return put(*arguments)

    monkeypatch.setattr(desk.store.classifications, "put", held_back)
    data = hats[0].read_bytes()
    try:
        many = [desk.answers.classify(OWNER, ["clothes"], data) for _ in range(40)]  # more than there are threads
        assert not any(one.done() for one in many)
    finally:  # else a failure would wait for ever
        gate.set()
    ids = [one.result().data[0].id for one in many]
    assert len(set(ids)) == len(ids)
    assert all(desk.store.classifications.get(OWNER, each).label for each in ids)
