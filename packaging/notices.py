"""Collects the licenses of what is installed with the program into resources/notices/third-party.txt.

    .venv/bin/python packaging/notices.py

Walks the run-time dependencies of `apitorch-desktop`, with the extras that its bundle has, and writes each one's license
files once, identical texts once for all. `of_bundle` names the other texts that a bundle carries: those of Python and of the
build machine's libraries.
Packages whose wheels carry no license file are named with the license their metadata states; its text is in `resources/notices`.
`tests/test_notices.py` fails when a dependency is missing from the file.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

sys.path.append(str(Path(__file__).parent / "bundle"))

from contents import EXTRAS

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
    """Return the installed distributions that `root` needs at run time, by normalized name, without `root` itself; for the
    program with the extras of its bundle.
    """
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

    for requirement in _needed(distribution(root), set(EXTRAS)):
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


def of_bundle(libraries: Iterable[str]) -> dict[str, Path]:
    """Return the files of license texts by the names that a bundle gives them: of Python, of PyInstaller's boot loader, and of
    the Debian packages that libraries of the build machine are from.
    """
    found: dict[str, Path] = {}
    standard = Path(sysconfig.get_path("stdlib"))
    named = [standard / "LICENSE.txt", standard.parent.parent / "LICENSE.txt", Path("/usr/share/doc/python3/copyright")]
    found["python.txt"] = next(path for path in named if path.is_file())
    (loader,) = [path for path in distribution("pyinstaller").files or [] if path.name == "COPYING.txt"]
    found["pyinstaller.txt"] = Path(str(loader.locate()))
    for library in libraries:
        package = _debian_package(library)
        found[f"system/{package}.txt"] = Path("/usr/share/doc", package, "copyright")
    return found


def _debian_package(library: str) -> str:
    real = Path(library).resolve()
    for path in (real, Path("/", *real.parts[2:])):  # packages may name /lib what is in /usr/lib
        run = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            return run.stdout.partition(":")[0]
    raise LookupError(f"no package has “{library}”: its license is not known")


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
