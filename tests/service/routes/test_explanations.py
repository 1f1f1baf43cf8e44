"""Similar images and evidence over HTTP: of a training image, of a classified one, of any; of one owner alone."""

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import BadRequest, Conflict, NotFound
from tests.helpers.service_process import run
from tests.helpers.waiting import until


@pytest.fixture(scope="module")
def client(service):
    return ApiClient(service.url, service.key)


@pytest.fixture(scope="module")
def clothes(client, photos):
    """A training set with an embedding of each image; file → id of the image."""
    training_set = client.create_training_set("Similar clothes")
    paths = [path for label in ("dress", "hat") for path in sorted((photos / "train" / label).glob("*.jpg"))[:4]]
    ids = {path: client.upload_image(training_set.id, path.parent.name, path=path).id for path in paths}
    until(lambda: client.classifier(training_set.slug).status == "ready")
    return training_set, ids


def test_a_training_image_is_compared_with_its_set_and_never_with_itself(client, clothes):
    training_set, ids = clothes
    mine = next(iter(ids.values()))
    answer = client.similar(training_set.id, image_id=mine)
    assert answer.compared == len(ids)
    assert {one.image_id for one in answer.data} == set(ids.values()) - {mine}
    values = [one.similarity for one in answer.data]
    assert values == sorted(values, reverse=True)
    assert all(0 < value < 1 for value in values)
    assert client.download(answer.data[0].image.thumbnail_url)
    few = client.similar(training_set.id, image_id=mine, limit=2).data
    assert [one.image_id for one in few] == [one.image_id for one in answer.data[:2]]


def test_any_image_is_compared_with_one_set_or_with_all(client, clothes):
    training_set, ids = clothes
    path, image_id = next(iter(ids.items()))
    other = client.create_training_set("Similar others")
    copy = client.upload_image(other.id, "dress", path=path).id
    until(lambda: client.similar(other.id, image=path.read_bytes()).data)
    found = client.similar(training_set.id, image=path.read_bytes(), limit=1).data[0]
    assert (found.image_id, found.similarity) == (image_id, 1)
    everywhere = client.similar(None, image_id=image_id, limit=1).data[0]
    assert (everywhere.image_id, everywhere.training_set_id) == (copy, other.id)
    url = client.images(training_set.id).data[0].images[0].url
    answer = client.similar(None, image_url=url, limit=300)
    assert answer.data[0].similarity == 1
    assert not answer.data[0].image  # records come with short answers alone
    client.delete_training_set(other.id)


def test_a_classified_image_is_compared_with_its_classifier(client, clothes, photos):
    training_set, ids = clothes
    path = min((photos / "test" / "hat").glob("*.jpg"))
    plain, own = client.classify(["safe-for-work", training_set.slug], path=path)
    answer = client.similar(training_set.id, classification_id=own.id, limit=3)
    again = client.similar(training_set.id, image=path.read_bytes(), limit=3)
    assert [one.image_id for one in answer.data] == [one.image_id for one in again.data]
    with pytest.raises(NotFound, match="no training images"):
        client.similar(training_set.id, classification_id=plain.id)
    evidence = client.evidence(classification_id=own.id)
    assert (evidence.label, evidence.version) == (own.label, own.version)
    assert len(evidence.values) == evidence.rows * evidence.columns
    assert max(map(abs, evidence.values)) == 1
    with pytest.raises(NotFound, match="not trained here"):
        client.evidence(classification_id=plain.id)
    with pytest.raises(Conflict, match="not learned"):
        client.evidence(image_id=next(iter(ids.values())), label="glove")
    assert client.evidence(image_id=next(iter(ids.values())), label="hat").label == "hat"


def test_nothing_of_another_owner_is_found(service, client, clothes):
    training_set, ids = clothes
    stranger = ApiClient(service.url, run("keys", "--data", str(service.folder), "make", "Similar").stdout.strip())
    path, image_id = next(iter(ids.items()))
    assert stranger.similar(None, image=path.read_bytes()).data == []
    classified = client.classify([training_set.slug], path=path)[0]
    for unseen in (
        {"image_id": image_id},
        {"image": path.read_bytes()},
        {"classification_id": classified.id},
    ):
        with pytest.raises(NotFound):
            stranger.similar(training_set.id, **unseen)
    for unseen in ({"image_id": image_id}, {"classification_id": classified.id}):
        with pytest.raises(NotFound):
            stranger.evidence(**unseen)


def test_what_cannot_be_is_refused_with_a_sentence(client, clothes):
    training_set, ids = clothes
    with pytest.raises(BadRequest):
        client.similar(training_set.id, image_id=next(iter(ids.values())), limit=100_001)
    with pytest.raises(BadRequest):
        client.similar(training_set.id, image=b"no image")
