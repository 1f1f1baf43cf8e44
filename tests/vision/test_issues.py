import numpy as np
import pytest
from PIL import Image, ImageFilter

from apitorch_desktop.vision.head import train
from apitorch_desktop.vision.images import open_upright, shrunk
from apitorch_desktop.vision.issues import (
    FLAGS,
    KeeperCandidate,
    choose_keeper,
    explain,
    find_suspects,
    label_balance,
    label_next,
    quality_flags,
    review_features,
)
from tests.helpers.image_samples import photo_like, saved


def flags(image: Image.Image) -> tuple[str, ...]:
    """As the window finds them: from the thumbnail of the stored file."""
    return quality_flags(review_features(shrunk(saved(image, "JPEG", quality=90)), image.width, image.height))


@pytest.fixture(scope="module")
def features(clothing):
    files = [*clothing.train.files, *clothing.test.files]
    return [review_features(shrunk(file.read_bytes()), 400, 533) for file in files]


@pytest.mark.usefixtures("real_photos")
def test_ordinary_photos_are_hardly_ever_flagged(features):
    flagged = [quality_flags(one) for one in features]
    assert np.mean([bool(found) for found in flagged]) <= 0.02


@pytest.mark.usefixtures("real_photos")
def test_20_blurred_and_10_black_images_are_all_found(clothing):
    random = np.random.default_rng(3)
    for source in random.choice(600, 20, replace=False):
        photo = open_upright(clothing.train.files[source].read_bytes())
        assert "blurred" in flags(photo.filter(ImageFilter.GaussianBlur(random.uniform(4, 10))))
    for level in range(10):
        black = Image.fromarray(random.integers(0, level + 2, (533, 400, 3), dtype=np.uint8))
        assert flags(black) == ("dark",)


def test_a_night_photo_with_a_light_in_it_is_not_dark_and_a_thing_on_white_not_bright(clothing):
    night = Image.new("RGB", (400, 300), (8, 8, 12))
    night.paste(photo_like(200, 160), (100, 70))
    assert "dark" not in flags(night)
    product = Image.new("RGB", (400, 400), "white")
    product.paste(open_upright(clothing.train.files[0].read_bytes()).resize((160, 200)), (120, 100))
    assert "bright" not in flags(product)


def test_each_fault_has_its_flag_and_a_sentence():
    assert flags(Image.new("RGB", (300, 300), (250, 250, 250))) == ("bright",)
    assert flags(Image.new("RGB", (300, 300), (120, 130, 125))) == ("low contrast",)
    assert "odd shape" in flags(photo_like(1000, 200))
    assert "odd shape" not in flags(photo_like(900, 301))
    assert "tiny" in flags(photo_like(50, 70))
    assert "tiny" not in flags(photo_like(64, 64))
    for flag in FLAGS:
        assert explain(flag).endswith(".")


COPIES = [
    KeeperCandidate(400, 300, 50_000, "2024-05-02T10:00:00Z", 0.30),
    KeeperCandidate(800, 600, 90_000, "2024-05-03T10:00:00Z", 0.45),
    KeeperCandidate(800, 600, 120_000, "2024-05-04T10:00:00Z", 0.45),
    KeeperCandidate(200, 150, 9_000, "2024-05-01T10:00:00Z", 0.40),
    KeeperCandidate(300, 200, 9_000, "", 0.50),
]


@pytest.mark.parametrize(("rule", "kept"), [("largest", 2), ("oldest", 3), ("sharpest", 0)])
def test_the_keeper_rule_picks_one(rule, kept):
    assert choose_keeper(COPIES, rule) == kept


def test_equal_copies_are_decided_by_the_other_rules_then_by_order():
    first, second = KeeperCandidate(10, 10, 5, "2024-01-02", 0.1), KeeperCandidate(10, 10, 5, "2024-01-01", 0.1)
    assert choose_keeper([first, second], "largest") == 1
    assert choose_keeper([first, second], "sharpest") == 1
    assert choose_keeper([first, first], "oldest") == 0
    assert choose_keeper([KeeperCandidate(5, 5, 1, "", 0), KeeperCandidate(5, 5, 9, "", 0)], "oldest") == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_20_of_30_planted_wrong_labels_are_among_the_first_60_suspects(clothing, seed):
    random = np.random.default_rng(seed)
    names = sorted(set(clothing.train.labels))
    given = [str(label) for label in clothing.train.labels]
    wrong = random.choice(600, 30, replace=False)
    for image in wrong:
        given[image] = str(random.choice([name for name in names if name != given[image]]))
    training = train(clothing.train.embeddings, given, seed=seed)
    found = find_suspects(training.out_of_fold, given, training.head.labels)
    assert len({suspect.image for suspect in found[:60]} & set(wrong.tolist())) >= 20
    right = {image: str(clothing.train.labels[image]) for image in wrong}
    hits = [right[suspect.image] == suspect.likely for suspect in found[:60] if suspect.image in right]
    assert np.mean(hits) > 0.6  # the other label it offers is the true one
    for suspect in found:
        assert suspect.given == given[suspect.image] != suspect.likely
        assert suspect.likely_value > suspect.given_value


def test_suspects_come_in_order_of_doubt():
    chances = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.02, 0.28, 0.7], [0.4, 0.45, 0.15]])
    found = find_suspects(chances, ["a"] * 4, ["a", "b", "c"])
    assert [(suspect.image, suspect.likely) for suspect in found] == [(2, "c"), (1, "b"), (3, "b")]
    assert found[0].given_value == pytest.approx(0.02) and found[0].likely_value == pytest.approx(0.7)
    assert find_suspects(np.empty((0, 2)), [], ["a", "b"]) == []


def test_balance_advises_where_something_is_missing():
    def sentences(counts, accuracy=None):
        return [advice.sentence for advice in label_balance(counts, accuracy)]

    assert sentences({"hat": 60, "shoe": 55, "skirt": 70}) == []
    assert "two labels" in sentences({})[0] and "two labels" in sentences({"hat": 20})[0]
    advice = label_balance(
        {"hat": 60, "shoe": 0, "skirt": 1, "dress": 4, "shirt": 15, "pants": 60, "shorts": 60, "cap": 400}
    )
    by_label = {one.label: one for one in advice}
    assert "no photos" in by_label["shoe"].sentence and by_label["shoe"].urgent
    assert "one image" in by_label["skirt"].sentence and by_label["skirt"].urgent
    assert "4 photos" in by_label["dress"].sentence and not by_label["dress"].urgent
    assert "others have about 60" in by_label["shirt"].sentence
    assert "400" in by_label["cap"].sentence
    assert "hat" not in by_label
    assert [one.urgent for one in advice] == sorted((one.urgent for one in advice), reverse=True)
    assert "40 %" in sentences({"hat": 60, "shoe": 60}, {"hat": 0.4, "shoe": 0.9})[0]


def test_what_to_label_next_is_unsure_and_varied(clothing):
    rows, labels = clothing.train.only(*sorted(set(clothing.train.labels)), each=10)
    head = train(rows, labels).head
    pool = clothing.test.embeddings
    chances = head.predict(pool)
    chosen = label_next(chances, pool, 20)
    assert len(chosen) == len(set(chosen)) == 20

    def entropy(images):
        return float(-(chances[images] * np.log(chances[images])).sum(axis=1).mean())

    everything = list(range(len(pool)))
    assert entropy(chosen) > entropy(everything)
    doubled = label_next(np.concatenate([chances, chances]), np.concatenate([pool, pool]), 20)
    assert len({image % len(pool) for image in doubled}) == 20  # never the same image twice


def test_what_is_next_is_unlike_what_is_known(clothing):
    """A photo that is known, or one near it, is not asked for while there are others as uncertain."""
    pool = clothing.test.embeddings
    chances = np.full((len(pool), 10), 0.1)
    known = pool[:100]
    assert min(label_next(chances, pool, 20, known)) >= 100
    assert min(label_next(chances, pool, 20)) < 100
    many = np.repeat(pool, 30, axis=0)  # more than are compared with each other
    chosen = label_next(np.repeat(chances, 30, axis=0), many, 20)
    assert len({image // 30 for image in chosen}) == 20


def test_labeling_what_is_asked_for_teaches_more_than_chance(clothing):
    """20 random labels and 80 more in steps of 20, chosen and by lot; the benchmark compares it with more random ones."""
    rows, labels, test = clothing.train.embeddings, clothing.train.labels, clothing.test

    def learned(images):
        return train(rows[images], [str(label) for label in labels[images]]).head

    def accuracy(images) -> float:
        head = learned(images)
        return float(np.mean(np.array(head.labels)[head.predict(test.embeddings).argmax(axis=1)] == test.labels))

    by_choice, by_lot = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(600)
        labeled, rest = order[:20], order[20:]
        for _ in range(4):
            chosen = label_next(learned(labeled).predict(rows[rest]), rows[rest], 20, rows[labeled])
            labeled, rest = np.concatenate([labeled, rest[chosen]]), np.delete(rest, chosen)
        by_choice.append(accuracy(labeled))
        by_lot.append(accuracy(order[:100]))
    assert np.mean(by_choice) > np.mean(by_lot) + 0.01, (by_choice, by_lot)


def test_nothing_to_label_is_nothing():
    assert label_next(np.empty((0, 3)), np.empty((0, 8))) == []
    assert label_next(np.ones((2, 2)) / 2, np.ones((2, 8)), 5) in ([0, 1], [1, 0])
