"""Every library that the program is installed with has its license among the notices."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "packaging"))

import notices  # noqa: E402

NOTICES = ROOT / "resources" / "notices"


def test_every_dependency_has_its_license():
    text = (ROOT / notices.TARGET).read_text("utf-8")
    named = set(re.findall(r"^=+\n([a-z0-9-]+)(?::|$)", text, re.MULTILINE))
    assert set(notices.dependencies()) - named == set(), "run packaging/notices.py"


def test_the_licenses_that_are_only_stated_have_their_texts():
    for _license, file in notices.STATED.values():
        assert (NOTICES / file).is_file()
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in (NOTICES / "LGPL-3.0.txt").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in (NOTICES / "GPL-3.0.txt").read_text(), "which the LGPL refers to"


def test_what_bundled_libraries_owe_is_there():
    text = (ROOT / notices.TARGET).read_text("utf-8")
    for name in ("FFmpeg", "GEOS", "OpenBLAS"):
        assert name in text
