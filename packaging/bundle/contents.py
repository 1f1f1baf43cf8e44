"""Contents of the bundle: what PyInstaller cannot see by itself, and what nobody needs of what it sees.

PyInstaller follows import statements, also those inside functions. Names that are put together at run time, files read
beside the code, and libraries loaded by name are listed here; `tests/test_packaging.py` compares them with the program.
"""

from __future__ import annotations

import re
from pathlib import Path

EXTRAS = ("archives", "postgres", "raw")
"""Extras of the program that the bundle has, since nobody can add them to it. `jxl` is under the GPL."""

IMPORTED_BY_NAME = (
    "keyring.backends.SecretService",
    "keyring.backends.chainer",
    "keyring.backends.fail",
    "keyring.backends.kwallet",
    "keyring.backends.libsecret",
    "keyring.backends.null",
    "psycopg_binary",
    "rapidocr.inference_engine.onnxruntime",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)
"""Modules of libraries that are imported by a name in a text: backends and dialects."""

DATA = ("certifi", "rapidocr")
"""Packages that read files beside their code: certificates; the models and settings that read text."""

METADATA = ("keyring",)
"""Distributions whose entry points are read at run time."""

REPLACEABLE = ("backports", "multivolumefile", "psycopg", "py7zr")
"""Packages that lie in the bundle as source files, which the LGPL wants to be replaceable; the others are in one archive."""

UNUSED = (
    "IPython", "PySide6.QtQml", "PySide6.QtQuick", "PySide6.QtTest", "_pytest", "cv2.gapi", "hypothesis", "matplotlib",
    "networkx", "onnx.backend.test", "pandas", "pip", "pyarrow", "pydoc_data", "pytest", "setuptools", "sklearn.datasets",
    "sympy", "tensorrt", "tkinter", "torch", "onnxruntime.tools", "onnxruntime.transformers", "onnxruntime.quantization",
    "zstandard._cffi",
)  # fmt: skip
"""Modules that libraries import in parts of theirs that the program does not use."""

_UNUSED_FILES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(^|/)tests?/",
        r"^PySide6/Qt/translations/",
        r"^PySide6/Qt/qml/",
        r"^PySide6/Qt/lib/libQt6(Qml|Quick|VirtualKeyboard|EglFS|EglFs|WaylandCompositor|WaylandEglCompositor|Pdf|Sql|Test|Designer|LabsAnimation)\w*\.so",
        r"^PySide6/Qt/plugins/(egldeviceintegrations|generic|networkinformation|printsupport|qml\w*|sqldrivers|designer)/",
        r"^PySide6/Qt/plugins/platforms/libq(eglfs|linuxfb|minimalegl|vkkhrdisplay|vnc)\.so",
        r"^PySide6/Qt/plugins/platforminputcontexts/libqtvirtualkeyboardplugin\.so",
        r"^PySide6/Qt/plugins/imageformats/libqpdf\.so",
        r"^PySide6/Qt/plugins/tls/",  # requests and uvicorn speak TLS, Qt does not
        r"\.(pyi|pyx|pxd|pyx\.tp|build)$",
        r"^PySide6/Qt/plugins/wayland-graphics-integration-server/",
        r"(^|/)(examples?|docs?)/.*\.(py|md|rst)$",
    )
)
"""Files that are collected with what is used, by their place in the bundle."""

_SYSTEM = re.compile(r"^(/usr)?/lib(64)?/")
_FROM_SYSTEM = re.compile(
    r"lib(python3|ssl|crypto|sqlite3|ffi|z|bz2|lzma|expat|mpdec|uuid|readline|ncursesw|tinfo|b2|xkbcommon(-x11)?|xcb-(cursor|icccm"
    r"|image|keysyms|randr|render|render-util|shape|shm|sync|util|xfixes|xinerama|xkb))[-.0-9]"
)
"""Libraries of the build machine that go into the bundle: Python's own, and those of X that few desktops install.

All others are taken from the machine it runs on, where they have to fit its graphics driver, fonts and desktop.
"""


def program_modules(package: Path) -> list[str]:
    """Return the dotted names of all modules of the program; the window loads parts of itself by name."""
    names = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def is_of_system(place: str, source: str) -> bool:
    """Return True for a library of the build machine's own, which may be under any license."""
    return _SYSTEM.match(source) is not None and not place.endswith(".so") and "lib-dynload" not in place


def is_needed(place: str, source: str) -> bool:
    """Return True if a file belongs into the bundle, by its place in it and the file that it is copied from."""
    if is_of_system(place, source):
        return _FROM_SYSTEM.match(Path(place).name) is not None
    return not any(pattern.search(place) for pattern in _UNUSED_FILES)


def icon(package: Path, folder: Path) -> str:
    """Draw the program's icon into a folder, and return the path of the image; PyInstaller makes the system's form of it."""
    return str(draw_icon(package / "resources", 512, folder / "icon.png"))


def draw_icon(resources: Path, size: int, target: Path) -> Path:
    """Write the program's icon as a PNG of `size` pixels a side, and return its path."""
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    image = QImage(size, size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    QSvgRenderer(str(resources / "icons" / "apitorch-desktop.svg")).render(painter)
    painter.end()
    target.parent.mkdir(parents=True, exist_ok=True)
    if not image.save(str(target)):
        raise OSError(f"“{target}” cannot be written")
    return target
