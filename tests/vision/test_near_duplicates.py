import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from apitorch_desktop.vision.images import open_upright, thumbnail
from apitorch_desktop.vision.near_duplicates import (
    ALIKE,
    DuplicatePair,
    NearDuplicateIndex,
    find_matches,
    find_near_duplicates,
    group_pairs,
    likeness,
    pattern,
)
from tests.helpers.image_samples import photo_like, saved


def cropped(image: Image.Image, part: float = 0.05) -> Image.Image:
    """Without 5 % on every side."""
    x, y = round(image.width * part), round(image.height * part)
    return image.crop((x, y, image.width - x, image.height - y))


PLANTED = {
    "resized": lambda image: saved(image.resize((image.width * 3 // 5, image.height * 3 // 5)), "JPEG", quality=90),
    "saved again": lambda image: saved(image, "JPEG", quality=50),
    "in another format": lambda image: saved(image, "WEBP", quality=70),
    "cropped": lambda image: saved(cropped(image), "JPEG", quality=90),
    "cropped on one side": lambda image: saved(
        image.crop((0, 0, image.width * 19 // 20, image.height)), "JPEG", quality=90
    ),
    "brightened": lambda image: saved(ImageEnhance.Brightness(image).enhance(1.2), "JPEG", quality=90),
    "darkened": lambda image: saved(ImageEnhance.Brightness(image).enhance(0.7), "JPEG", quality=90),
    "resized and brightened": lambda image: saved(
        ImageEnhance.Brightness(image).enhance(1.15).resize((200, 200 * image.height // image.width)),
        "JPEG",
        quality=85,
    ),
}


def small(data: bytes) -> Image.Image:
    return open_upright(thumbnail(data))


@pytest.fixture(scope="module")
def patterns(clothing):
    return [pattern(small(file.read_bytes())) for file in clothing.train.files]


@pytest.fixture(scope="module")
def planted(clothing, encoder):
    """40 copies, five of each kind: originals' indices, patterns, embeddings."""
    sources = np.random.default_rng(5).choice(600, 40, replace=False)
    files = [
        list(PLANTED.values())[index % len(PLANTED)](open_upright(clothing.train.files[source].read_bytes()))
        for index, source in enumerate(sources)
    ]
    embeddings = np.concatenate([encoder.encode([open_upright(data, encoder.shorter_side)]) for data in files])
    return sources, [pattern(small(data)) for data in files], embeddings


@pytest.mark.usefixtures("real_photos")
@pytest.mark.parametrize("with_embeddings", [True, False])
def test_at_least_38_of_40_planted_copies_are_found_and_at_most_2_others(clothing, patterns, planted, with_embeddings):
    sources, copies, embeddings = planted
    everything = np.concatenate([clothing.train.embeddings, embeddings]) if with_embeddings else None
    pairs = find_near_duplicates([*patterns, *copies], everything)
    truth = {(int(source), 600 + index) for index, source in enumerate(sources)}
    found = {(pair.first, pair.second) for pair in pairs}
    assert len(found & truth) >= 38
    assert len(found - truth) <= 2
    assert all(pair.likeness >= ALIKE and pair.first < pair.second for pair in pairs)
    assert len(pairs) == len(found)


@pytest.mark.usefixtures("real_photos")
def test_what_an_import_brings_again_is_found(clothing, patterns, planted):
    sources, copies, embeddings = planted
    everything, rows = np.stack([*patterns, *copies]), np.concatenate([clothing.train.embeddings, embeddings])
    index = NearDuplicateIndex(everything.__getitem__, rows.__getitem__)
    index.extend(600)
    index.extend(40)
    pairs = index.compare(600, 640)
    right = sum(pair.first == sources[pair.second - 600] for pair in pairs if pair.first < 600)
    assert right >= 38 and len(pairs) - right <= 2
    without = find_matches(copies, patterns)
    assert sum(pair.second == sources[pair.first] for pair in without) >= 36
    index.remove(sources.tolist())
    assert not [pair for pair in index.compare(600, 640) if pair.first in sources]


def test_an_index_that_grows_bit_by_bit_finds_what_one_made_at_once_does(real_photos):
    originals = [open_upright(file.read_bytes()) for file in sorted((real_photos / "train").glob("*/*.jpg"))[::40]]
    stack = np.stack([*map(pattern, originals), *(pattern(cropped(image, 0.02)) for image in originals)])
    rows = np.random.default_rng(1).standard_normal((len(originals), 40)).astype(np.float16)
    rows = np.concatenate([rows, rows + np.float16(0.01)])
    index, found = NearDuplicateIndex(stack.__getitem__, rows.__getitem__), []
    for start in range(0, len(stack), 7):
        index.extend(len(stack[start : start + 7]))
        found += index.compare(start, len(index))
    assert sorted(found) == find_near_duplicates(list(stack), rows)
    assert {(pair.first, pair.second) for pair in found} >= {(at, at + len(originals)) for at in range(len(originals))}


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_of_copy_is_like_its_original(photos, kind):
    originals = [open_upright(file.read_bytes()) for file in sorted((photos / "train").glob("*/*.jpg"))[::60]]
    first = np.stack([pattern(image) for image in originals])
    second = np.stack([pattern(small(PLANTED[kind](image))) for image in originals])
    assert np.mean(likeness(first, second) >= ALIKE) >= 0.9
    assert np.mean(likeness(second, first) >= ALIKE) >= 0.9
    assert np.all(likeness(first, np.roll(first, 1, axis=0)) < ALIKE)


def test_plain_images_are_not_called_copies_of_each_other():
    plain = [pattern(Image.new("RGB", (300, 300), color)) for color in ("black", "white", "gray", "red", "black")]
    assert find_near_duplicates(plain) == []


def test_a_mirrored_or_turned_image_is_another():
    image = photo_like(400, 300)
    turned = [image, image.transpose(0), image.transpose(3)]
    assert find_near_duplicates([pattern(one) for one in turned]) == []


def test_the_same_bytes_are_alike_to_the_full():
    image = photo_like(300, 200)
    assert find_near_duplicates([pattern(image)] * 2) == [DuplicatePair(0, 1, pytest.approx(1.0, abs=1e-4))]


@pytest.mark.parametrize("number", [0, 1])
def test_none_or_one_image_has_no_copies(number):
    assert find_near_duplicates([pattern(photo_like(64, 64))] * number, np.ones((number, 8))) == []
    assert find_matches([pattern(photo_like(64, 64))] * number, []) == []


def test_cancelling_ends_early(patterns):
    asked = []
    assert (
        find_near_duplicates(patterns + patterns, cancelled=lambda: bool(asked.append(1)) or len(asked) > 1) is not None
    )
    assert len(asked) == 2


def test_many_copies_of_one_image_become_one_group():
    image = pattern(photo_like(300, 200))
    assert group_pairs(find_near_duplicates([image] * 30)) == [list(range(30))]


def test_groups_are_what_pairs_link():
    pairs = [
        DuplicatePair(4, 7, 1),
        DuplicatePair(1, 2, 1),
        DuplicatePair(2, 9, 1),
        DuplicatePair(7, 4, 1),
        DuplicatePair(9, 1, 1),
    ]
    assert group_pairs(pairs) == [[1, 2, 9], [4, 7]]
    assert group_pairs([]) == []


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda pair: pair[0] != pair[1])))
def test_every_linked_image_is_in_exactly_one_group(links):
    found = group_pairs(DuplicatePair(a, b, 1.0) for a, b in links)
    members = [image for group in found for image in group]
    assert sorted(members) == sorted({image for link in links for image in link})
    home = {image: index for index, group in enumerate(found) for image in group}
    assert all(home[a] == home[b] for a, b in links)


def test_copies_are_found_among_ten_thousand_images():
    """Different images with 100 copies among them; embeddings of a real length."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (10_000, 6, 6), dtype=np.uint8)
    images = [np.asarray(Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC)) for one in coarse]
    embeddings = random.normal(size=(10_000, 1536)).astype(np.float32)
    for index in range(100):
        images[9000 + index] = images[index]
        embeddings[9000 + index] = embeddings[index]
    pairs = find_near_duplicates(images, embeddings)
    assert {(pair.first, pair.second) for pair in pairs} >= {(index, 9000 + index) for index in range(100)}
    assert len(pairs) < 200


def test_thumbnails_are_as_good_as_the_whole_image(photos):
    for file in sorted((photos / "train").glob("*/*.jpg"))[::100]:
        data = file.read_bytes()
        whole = Image.open(io.BytesIO(data)).convert("RGB")
        assert likeness(pattern(whole)[None], pattern(small(data))[None])[0] > 0.995
