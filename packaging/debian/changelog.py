"""Prints CHANGELOG.md as Debian's changelog up to a version: python packaging/debian/changelog.py CHANGELOG.md VERSION."""

from __future__ import annotations

import calendar
import os
import re
import sys
import textwrap
import time
from email.utils import formatdate
from pathlib import Path

_PEOPLE = "The API Torch Desktop developers <desktop@apitorch.com>"


def debian_changelog(text: str, version: str) -> str:
    """Return the changes of all released versions, and those of `version` if it is built before its release."""
    entries = []
    for heading, points in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        found = re.fullmatch(r"(\S+) \((.+)\)", heading)
        if found is None:
            raise ValueError(f"“{heading}” is not “VERSION (DATE)”")
        number, date = found.groups()
        if number == version or re.fullmatch(r"\d{4}-\d\d-\d\d", date):
            entries.append(_entry(number, date, points))
    return "\n".join(entries)


def _entry(number: str, date: str, points: str) -> str:
    lines = [f"apitorch-desktop ({number}) unstable; urgency=medium", ""]
    points = re.sub(r"^### .+$", "", points, flags=re.MULTILINE)
    for point in re.split(r"^- ", points, flags=re.MULTILINE)[1:]:
        lines += textwrap.wrap(" ".join(point.split()), 78, initial_indent="  * ", subsequent_indent="    ")
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    if re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        seconds = calendar.timegm(time.strptime(date, "%Y-%m-%d"))
    return "\n".join([*lines, "", f" -- {_PEOPLE}  {formatdate(seconds)}", ""])


if __name__ == "__main__":
    sys.stdout.write(debian_changelog(Path(sys.argv[1]).read_text("utf-8"), sys.argv[2]))
