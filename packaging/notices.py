"""Collects the licenses of what is installed with the program into resources/notices/third-party.txt.

    .venv/bin/python packaging/notices.py

Walks the run-time dependencies of `apitorch-desktop` and writes each one's license files once, identical texts once for all.
Packages whose wheels carry no license file are named with the license their metadata states; its text is in `resources/notices`.
`tests/test_notices.py` fails when a dependency is missing from the file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

TARGET = Path("resources", "notices", "third-party.txt")
STATED = {
    "flatbuffers": ("Apache-2.0", "Apache-2.0.txt"),
    "obstore": ("MIT, Copyright (c) 2024 Development Seed", "MIT.txt"),
    "pyside6-essentials": ("LGPL-3.0-only, Copyright (c) The Qt Company Ltd.", "LGPL-3.0.txt"),
    "shiboken6": ("LGPL-3.0-only, Copyright (c) The Qt Company Ltd.", "LGPL-3.0.txt"),
}
"""Licenses of packages whose wheels carry no license file, and the file beside the target that has the text."""
_FILES = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)
_RULE = "=" * 100


def normalized(name: str) -> str:
    """Return a distribution's name in the form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies(root: str = "apitorch-desktop") -> dict[str, Distribution]:
    """Return the installed distributions that `root` needs at run time, by normalized name, without `root` itself."""
    found: dict[str, Distribution] = {}

    def visit(requirement: Requirement) -> None:
        name = normalized(requirement.name)
        if name in found:
            return
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another system
            return
        for needed in _needed(found[name], requirement.extras):
            visit(needed)

    for requirement in _needed(distribution(root), set()):
        visit(requirement)
    return found


def _needed(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in package.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield requirement


def license_texts(package: Distribution) -> list[str]:
    """Return the texts of a distribution's license files."""
    paths = [path for path in package.files or [] if _FILES.search(path.name) and path.suffix not in {".py", ".pyc"}]
    texts = [path.read_text("utf-8").strip() for path in paths]
    return list(dict.fromkeys(text for text in texts if text))


def render() -> str:
    """Return the whole file."""
    parts = [f"Licenses of the libraries that API Torch Desktop is installed with.\n{_RULE}"]
    seen: dict[str, str] = {}
    for name, package in sorted(dependencies().items()):
        texts = license_texts(package)
        if not texts:
            license_name, file = STATED[name]
            parts.append(f"{name}: {license_name}. The text is in {file}.")
            continue
        stated = package.metadata.get("License-Expression") or ""
        lines = [f"{name}{f': {stated}' if stated else ''}"]
        for text in texts:
            digest = hashlib.sha256(text.encode()).hexdigest()
            lines.append(f"(the same text as for {seen[digest]})" if digest in seen else text)
            seen.setdefault(digest, name)
        parts.append("\n\n".join(lines))
    return f"\n\n{_RULE}\n".join(parts) + "\n"


if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / TARGET).write_text(render(), "utf-8")
