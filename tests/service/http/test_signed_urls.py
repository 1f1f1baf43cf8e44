"""Signed links: good for their path and their day, for nothing else."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest

from apitorch_desktop.api.packed_listing import filename_signer
from apitorch_desktop.service.http.signed_urls import SignedUrls, Signer
from apitorch_desktop.service.storage.records import ImageRow

PATH = "/images/ab/abcdef.jpg"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> Signer:
    return Signer(b"s" * 32, clock)


def parts(query: str) -> tuple[str, str]:
    fields = parse_qs(query, strict_parsing=True)
    assert set(fields) == {"day", "signature"}
    return fields["day"][0], fields["signature"][0]


def test_a_link_opens_its_path_all_day_and_not_a_second_longer(signer: Signer, clock: Clock):
    day, signature = parts(signer.sign(PATH))
    assert day == "20260501"
    for moment, opens in (
        (datetime(2026, 5, 1, 0, 0, 0, tzinfo=UTC), True),
        (datetime(2026, 5, 1, 23, 59, 59, 999_999, tzinfo=UTC), True),
        (datetime(2026, 5, 2, 0, 0, 0, tzinfo=UTC), False),
        (datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC), False),
        (NOON + timedelta(days=365), False),
    ):
        clock.now = moment
        assert signer.verify(PATH, day, signature) is opens


def test_the_day_is_the_utc_day_wherever_the_machine_is(signer: Signer, clock: Clock):
    clock.now = datetime(2026, 5, 1, 1, 0, tzinfo=timezone(timedelta(hours=10)))
    assert signer.today() == "20260430"


def test_any_changed_letter_closes_it(signer: Signer):
    day, signature = parts(signer.sign(PATH))
    assert signer.verify(PATH, day, signature)
    for place in range(len(signature)):
        changed = signature[:place] + ("0" if signature[place] != "0" else "1") + signature[place + 1 :]
        assert not signer.verify(PATH, day, changed)
    for place in range(len(PATH)):
        assert not signer.verify(PATH[:place] + "~" + PATH[place + 1 :], day, signature)


@pytest.mark.parametrize(
    "signature", ["", "0", "\ud800", "ü" * 32, "0" * 10**6, "0" * 32], ids=lambda each: ascii(each[:4])
)
@pytest.mark.parametrize("day", ["20260501", "", "\0", "\ud800", "9" * 100, "20260502"], ids=ascii)
def test_any_strings_may_be_given(signer: Signer, day: str, signature: str):
    assert not signer.verify(PATH, day, signature)
    assert not signer.verify("\ud800", day, signature)


def test_a_day_cannot_be_pushed_on_nor_taken_for_part_of_the_path(signer: Signer, clock: Clock):
    _, signature = parts(signer.sign(PATH))
    clock.now = NOON + timedelta(days=1)
    assert not signer.verify(PATH, "20260502", signature)
    assert signer.signature("/b", "1 /a") != signer.signature("/a /b", "1")


def test_another_secret_signs_otherwise_and_the_same_one_alike(clock: Clock):
    one, two, other = Signer(b"s" * 32, clock), Signer(b"s" * 32, clock), Signer(b"t" * 32, clock)
    assert one.sign(PATH) == two.sign(PATH) != other.sign(PATH)
    assert not other.verify(PATH, *parts(one.sign(PATH)))


def test_a_signature_is_keyed_blake2b_with_a_key_of_its_folder(clock: Clock):
    secret = bytes(range(32))
    key = hashlib.blake2b(b"8 20260501 /images/ab/", key=secret, digest_size=32).digest()
    assert Signer(secret, clock).folder_key("/images/ab/", "20260501") == key
    expected = hashlib.blake2b(b"abcdef.jpg", key=key, digest_size=16).hexdigest()
    assert Signer(secret, clock).signature(PATH, "20260501") == expected


def test_the_key_of_a_folder_opens_that_folder_on_that_day_alone(signer: Signer):
    sign = filename_signer(signer.folder_key("/images/ab/", "20260501"))
    assert signer.verify(PATH, "20260501", sign("abcdef.jpg"))
    for other in ("/images/ac/abcdef.jpg", "/images/abcdef.jpg", "/images/ab/abcdef.jpg/", "/abcdef.jpg", "abcdef.jpg"):
        assert not signer.verify(other, "20260501", sign("abcdef.jpg"))
    assert not signer.verify("/images/ab/c/d.jpg", "20260501", sign("c/d.jpg"))
    assert not signer.verify(
        PATH, "20260501", filename_signer(signer.folder_key("/images/ab/", "20260430"))("abcdef.jpg")
    )


def test_the_urls_of_a_listing_are_those_of_its_images(signer: Signer):
    links = SignedUrls("http://host:1", signer)
    urls = links.listing(7)
    for number in range(3):
        row = ImageRow(1, f"{number:040x}", 1, "a", "", ".jpg", 1, 1, 1, "", "", "")
        ends = row.filename + urls.query + filename_signer(urls.key)(row.filename)
        assert links.image(7, row) == (urls.images + ends, urls.thumbnails + ends)
