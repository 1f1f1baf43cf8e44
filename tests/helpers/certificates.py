"""Certificates for tests, made by openssl; a test that needs one is skipped where that is missing."""

import subprocess
from pathlib import Path

import pytest

NAMES = "IP:127.0.0.1,DNS:localhost"


def make_certificate(
    cert: Path,
    key: Path,
    names: str = NAMES,
    *,
    days: int = 2,
    issuer: tuple[Path, Path] | None = None,
    ca: bool = False,
) -> None:
    """Make a key and a certificate for `names` that is valid for some days, -1 for one that has expired.

    It is signed by the certificate and key of `issuer`, else by itself.
    """
    request = cert.with_suffix(".csr")
    extensions = cert.with_suffix(".ext")
    extensions.write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:{str(ca).upper()}\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    signed = ("-CA", issuer[0], "-CAkey", issuer[1], "-set_serial", "7") if issuer else ("-signkey", key)
    _openssl("req", *curve, "-subj", f"/CN={cert.stem}", "-keyout", key, "-out", request)
    _openssl("x509", "-req", "-in", request, "-days", days, "-extfile", extensions, *signed, "-out", cert)


def convert(*words: object) -> None:
    """Run openssl."""
    _openssl(*words)


def _openssl(*words: object) -> None:
    try:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    assert done.returncode == 0, done.stderr.decode(errors="replace")
