"""API keys: random, of the length the published client demands, kept as a hash."""

import hashlib
import re

import pytest

from apitorch_desktop.api.types import KEY_LENGTH
from apitorch_desktop.service.storage.owners import HINT_LENGTH, hash_key, make_key


def test_a_key_has_42_letters_and_digits_and_no_two_are_alike():
    keys = {make_key() for _ in range(500)}
    assert len(keys) == 500
    assert all(re.fullmatch(f"[A-Za-z0-9]{{{KEY_LENGTH}}}", key) for key in keys)


def test_every_letter_and_digit_comes_up_at_every_place():
    keys = [make_key() for _ in range(3000)]
    assert all(len({key[place] for key in keys}) == 62 for place in range(KEY_LENGTH))


def test_the_hash_is_sha256_of_the_key():
    key = make_key()
    assert hash_key(key) == hashlib.sha256(key.encode()).digest()


@pytest.mark.parametrize("key", ["", "\ud800", "\0" * 42, "ß" * 10**5], ids=["empty", "surrogate", "nul", "long"])
def test_any_string_has_a_hash(key: str):
    assert len(hash_key(key)) == 32
    assert hash_key(key) != hash_key(key + "x")
    assert hash_key(key) == hash_key(key)


def test_a_hint_tells_too_little_to_guess_the_rest():
    assert (KEY_LENGTH - HINT_LENGTH) * 5.95 > 200  # bits that stay unknown
