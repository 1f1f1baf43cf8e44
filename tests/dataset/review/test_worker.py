"""The worker of Review on made features: labels by a training set's own encoder, near-duplicates by the built-in one."""

import numpy as np
import pytest

from apitorch_desktop.dataset.review.cache import CachedImage, ReviewCache
from apitorch_desktop.dataset.review.messages import (
    Analyze,
    BeginReview,
    FindingsUpdate,
    MissingThumbnails,
    Received,
    ReplaceIds,
    ReviewItem,
    SendEmbeddings,
)
from apitorch_desktop.dataset.review.worker import ReviewWorker

OWN = "own-0123456789ab-1"
COUNT, WRONG = 40, 6
KEYS = [f"id:{number}" for number in range(COUNT)]
ITEMS = [
    ReviewItem(f"ti_{number}", key, "ab"[number % 2], 300, 200, 9, "2026-01-01") for number, key in enumerate(KEYS)
]


class Side:
    """The window's side: what the worker answers."""

    def __init__(self, folder) -> None:
        self.answers = []
        self.worker = ReviewWorker(ReviewCache(folder), self.answers.append, lambda: False, 1)

    def ask(self, request, kind):
        self.answers.clear()
        self.worker.answer(request)
        assert isinstance(self.answers[-1], kind), self.answers[-1]
        return self.answers[-1]

    def begin(self, encoder="", items=ITEMS):
        return self.ask(BeginReview(1, "here", "7", items, ["a", "b"], [], encoder), MissingThumbnails)

    def send(self, vectors):
        self.ask(SendEmbeddings(1, OWN, vectors), Received)

    def findings(self):
        update = self.ask(Analyze(1), FindingsUpdate)
        assert update.final
        return update.findings


@pytest.fixture
def side(tmp_path):
    """A review of images that the built-in encoder cannot tell apart, the last one a copy of the first."""
    random = np.random.default_rng(3)
    made = Side(tmp_path)
    patterns = random.integers(0, 256, (COUNT, 48, 48), np.uint8)
    embeddings = random.normal(0, 1, (COUNT, 64)).astype(np.float16)
    patterns[-1], embeddings[-1] = patterns[0], embeddings[0]
    seen = {
        key: CachedImage(0.2, 0.1, 0.9, 0.5, 300, 200, 9, pattern.tobytes(), row.tobytes())
        for key, pattern, row in zip(KEYS, patterns, embeddings, strict=True)
    }
    made.worker._cache.remember("here", made.worker.encoder.name, seen)
    return made


@pytest.fixture
def vectors():
    """Embeddings by which the labels lie apart, but for one image that lies with the other label."""
    random = np.random.default_rng(4)
    kinds = np.arange(COUNT) % 2
    kinds[WRONG] = 1 - kinds[WRONG]
    rows = np.where(kinds[:, None], 1.0, -1.0) + random.normal(0, 0.3, (COUNT, 16))
    return {key: row.astype("<f2").tobytes() for key, row in zip(KEYS, rows, strict=True)}


def pairs(found):
    return [sorted(group.images) for group in found.groups]


def test_labels_are_judged_by_the_own_encoder_and_copies_found_by_the_built_in_one(side, vectors, tmp_path):
    copies = [["ti_0", f"ti_{COUNT - 1}"]]
    missing = side.begin(OWN)
    assert (missing.keys, missing.embeddings) == ([], KEYS)
    by_built_in = side.findings()
    assert by_built_in.encoder == "" and by_built_in.learned.accuracy < 0.9 and pairs(by_built_in) == copies

    side.send({key: vectors[key] for key in KEYS[:30]})
    assert side.begin(OWN).embeddings == KEYS[30:]
    assert side.findings().encoder == "", "too few for the whole set"

    side.send({key: vectors[key] for key in KEYS[30:-1]})
    found = side.findings()
    assert found.encoder == OWN and pairs(found) == copies
    assert [issue.image for issue in found.label_issues] == [f"ti_{WRONG}"]
    assert found.learned.accuracy == pytest.approx(1 - 1 / (COUNT - 1))
    assert f"ti_{COUNT - 1}" not in found.answers, "it was not encoded"
    assert found.unsure and set(found.unsure) <= found.answers.keys()

    again = Side(tmp_path)
    assert again.begin(OWN).embeddings == KEYS[-1:], "kept for the next start"
    assert again.findings().label_issues == found.label_issues
    assert again.begin().embeddings == [] and again.findings().encoder == "", "the built-in encoder was chosen again"


def test_own_embeddings_follow_an_image_to_another_id(side, vectors):
    side.begin(OWN)
    side.send(vectors)
    side.worker.answer(ReplaceIds("here", {KEYS[3]: "id:new"}))
    items = [ReviewItem("ti_new", "id:new", "b") if item.key == KEYS[3] else item for item in ITEMS]
    missing = side.begin(OWN, items)
    assert (missing.keys, missing.embeddings) == ([], [])
    assert "ti_new" in side.findings().answers
