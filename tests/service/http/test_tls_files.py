"""Certificate and key of `serve`: what is wrong with which file is one sentence, without a word of the key."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from apitorch_desktop.service.http.server import CannotListen, check_tls
from tests.helpers.certificates import convert, make_certificate


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files by name: a good pair, another one, and forms in which neither can be used."""
    folder = tmp_path_factory.mktemp("tls")
    good, key = folder / "good.pem", folder / "good.key"
    make_certificate(good, key)
    make_certificate(folder / "other.pem", folder / "other.key")
    convert("genrsa", "-out", folder / "rsa.key", "2048")
    convert("x509", "-in", good, "-outform", "der", "-out", folder / "good.der")
    convert("ec", "-in", key, "-aes256", "-passout", "pass:word", "-out", folder / "locked.key")
    convert("pkcs12", "-export", "-in", good, "-inkey", key, "-passout", "pass:word", "-out", folder / "good.p12")
    (folder / "chain.pem").write_bytes(good.read_bytes() + (folder / "other.pem").read_bytes())
    (folder / "wrong_order.pem").write_bytes((folder / "other.pem").read_bytes() + good.read_bytes())
    (folder / "both.pem").write_bytes(good.read_bytes() + key.read_bytes())
    (folder / "empty.pem").touch()
    (folder / "folder.pem").mkdir()
    (folder / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return folder


@pytest.mark.parametrize(
    ("cert", "key"), [("good.pem", "good.key"), ("chain.pem", "good.key"), ("both.pem", "both.pem")]
)
def test_what_fits_is_taken_in_silence(files, cert, key):
    assert check_tls(files / cert, files / key) == ""


@pytest.mark.parametrize(
    ("cert", "key", "culprit", "sentence"),
    [
        ("good.key", "good.pem", "good.key", "exchange the two"),
        ("good.pem", "other.key", "other.key", "is not the key of the first certificate"),
        ("wrong_order.pem", "good.key", "wrong_order.pem", "put its certificate first"),
        (
            "good.pem",
            "rsa.key",
            "rsa.key",
            "not a certificate and its private key|is not the key of the first certificate",
        ),
        ("good.pem", "locked.key", "locked.key", "protected by a password"),
        ("good.der", "good.key", "good.der", "it is binary"),
        ("good.p12", "good.key", "good.p12", "it is binary"),
        ("good.pem", "good.der", "good.der", "no private key in PEM form: it is binary"),
        ("empty.pem", "good.key", "empty.pem", "it is empty"),
        ("good.pem", "good.pem", "good.pem", "no private key"),
        ("good.key", "good.key", "good.key", "no certificate"),
        ("folder.pem", "good.key", "folder.pem", "cannot be read"),
        ("good.pem", "absent.pem", "absent.pem", "cannot be read"),
        ("damaged.pem", "good.key", "damaged.pem", "not a certificate and its private key"),
    ],
)
def test_what_does_not_fit_is_named(files, cert, key, culprit, sentence):
    with pytest.raises(CannotListen, match=sentence) as failed:
        check_tls(files / cert, files / key)
    assert culprit in str(failed.value) and failed.value.status == 2
    secret = (files / "good.key").read_text().splitlines()[1]
    assert secret not in str(failed.value) and base64.b64decode(secret)


def test_an_expired_certificate_is_warned_of_with_its_date(files, tmp_path):
    make_certificate(tmp_path / "old.pem", tmp_path / "old.key", days=-1)
    expired = datetime.now(UTC) - timedelta(days=1)
    sentence = check_tls(tmp_path / "old.pem", tmp_path / "old.key")
    assert any(f"expired on {day:%Y-%m-%d}" in sentence for day in (expired, expired - timedelta(hours=1)))
