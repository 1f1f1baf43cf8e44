"""Recipes of the packages: the bundle's contents, what a desktop is told, and that all of it is in step with the program."""

import ast
import gzip
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
PACKAGE = ROOT / "apitorch_desktop"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


contents = load(PACKAGING / "bundle" / "contents.py", "contents")
slim = load(PACKAGING / "bundle" / "slim.py", "bundle_slim")
install = load(PACKAGING / "linux" / "install.py", "linux_install")
changelog = load(PACKAGING / "debian" / "changelog.py", "debian_changelog")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What stands for /usr after the installation."""
    folder = tmp_path_factory.mktemp("usr")
    install.install(folder)
    return folder


def options(parser):
    return [word for action in parser._actions for word in action.option_strings]


def all_commands():
    made = install.parser()
    return [made, *(command for _, command in install.commands(made))]


# --- the bundle


def test_the_bundle_has_every_module_and_every_resource():
    names = contents.program_modules(PACKAGE)
    assert {"apitorch_desktop", "apitorch_desktop.cli.main", "apitorch_desktop.ui.wiring"} <= set(names)
    assert len(names) == len(list(PACKAGE.rglob("*.py")))
    for path in (ROOT / "resources").rglob("*"):
        assert contents.is_needed(f"apitorch_desktop/resources/{path.relative_to(ROOT / 'resources')}", str(path)), path


def test_modules_and_files_that_are_named_exist():
    for name in (*contents.IMPORTED_BY_NAME, *contents.DATA, *contents.METADATA):
        assert importlib.util.find_spec(name) is not None, name


def test_the_program_imports_nothing_that_is_left_out():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                assert not any(f"{name}.".startswith(f"{unused}.") for unused in contents.UNUSED), f"{path}: {name}"


@pytest.mark.parametrize(
    ("place", "source", "needed"),
    [
        ("libpython3.11.so.1.0", "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", True),
        ("libxkbcommon.so.0", "/lib/x86_64-linux-gnu/libxkbcommon.so.0", True),
        ("libxkbcommon-x11.so.0", "/lib/x86_64-linux-gnu/libxkbcommon-x11.so.0", True),
        ("libxcb-cursor.so.0", "/usr/lib/x86_64-linux-gnu/libxcb-cursor.so.0", True),
        ("libxcb.so.1", "/usr/lib/x86_64-linux-gnu/libxcb.so.1", False),
        ("libEGL.so.1", "/usr/lib/x86_64-linux-gnu/libEGL.so.1", False),
        ("libstdc++.so.6", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", False),
        ("lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", "/usr/lib/python3.11/lib-dynload/_ssl.so", True),
        ("PySide6/Qt/lib/libQt6Gui.so.6", "/venv/PySide6/Qt/lib/libQt6Gui.so.6", True),
        ("PySide6/Qt/lib/libQt6Qml.so.6", "/venv/PySide6/Qt/lib/libQt6Qml.so.6", False),
        ("PySide6/Qt/plugins/platforms/libqxcb.so", "/venv/PySide6/Qt/plugins/platforms/libqxcb.so", True),
        ("PySide6/Qt/translations/qt_de.qm", "/venv/PySide6/Qt/translations/qt_de.qm", False),
    ],
)
def test_drivers_and_fonts_are_the_systems(place, source, needed):
    assert contents.is_needed(place, source) is needed


def test_extras_of_the_bundle_are_extras_of_the_program():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(contents.EXTRAS) <= set(extras) and "jxl" not in contents.EXTRAS


def test_equal_files_become_links_and_dead_links_go(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "libx.so").write_bytes(b"x" * 200_000)
        (tmp_path / folder / "small").write_bytes(b"y")
    (tmp_path / "dead").symlink_to("nowhere")
    slim.link_equal(tmp_path)
    assert (tmp_path / "b" / "libx.so").readlink() == Path("../a/libx.so")
    assert not (tmp_path / "b" / "small").is_symlink() and not (tmp_path / "dead").is_symlink()


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("nm")), reason="no compiler")
def test_a_library_that_is_never_called_becomes_a_small_one_that_loads(tmp_path):
    """What links to it still loads, as from the wheel: names and name of the library are the same."""
    libraries = tmp_path / "opencv_python_headless.libs"
    libraries.mkdir()
    compile_library(libraries / "libavcodec-1.so", "int avcodec(void) { return 7; } static char big[300000] = {1};")
    user = tmp_path / "user.so"
    compile_library(user, "int avcodec(void); int use(void) { return avcodec(); }", libraries / "libavcodec-1.so")
    slim.replace_uncalled(tmp_path)
    assert "avcodec" in subprocess.check_output(["nm", "-D", libraries / "libavcodec-1.so"], text=True)
    code = f"import ctypes; ctypes.CDLL({str(libraries / 'libavcodec-1.so')!r}); ctypes.CDLL({str(user)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("nm")), reason="no compiler")
def test_opencv_gets_the_linear_algebra_of_scipy(tmp_path):
    for folder in ("cv2", "scipy.libs", "opencv_python_headless.libs"):
        (tmp_path / folder).mkdir()
    blas = tmp_path / "opencv_python_headless.libs" / "libopenblasp-r0-1.so"
    compile_library(blas, "int dgesv_(int a) { return a; } int unused_(void) { return 0; }")
    compile_library(tmp_path / "scipy.libs" / "libscipy_openblas-2.so", "int scipy_dgesv_(int a) { return a + 1; }")
    user = tmp_path / "cv2" / "cv2.abi3.so"
    compile_library(user, "int dgesv_(int); int solve(int a) { return dgesv_(a) * 10; }", blas)
    slim.share_blas(tmp_path)
    code = f"import ctypes; ctypes.CDLL({str(blas)!r}); print(ctypes.CDLL({str(user)!r}).solve(4))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "50\n"


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("readelf")), reason="no compiler")
def test_libraries_forget_the_folders_of_the_machine_they_were_built_on(tmp_path, monkeypatch):
    """Libraries without such folders need no patchelf; those with some are given to it with what is left."""
    calls = tmp_path / "calls"
    tool = tmp_path / "patchelf"
    tool.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    for name, path in (("libfine", "$ORIGIN"), ("libmixed", "/root/lib:$ORIGIN/../x"), ("libodd", "/usr/local/lib64")):
        compile_library(tmp_path / f"{name}.so", "int f(void) { return 1; }", f"-Wl,-rpath,{path}")
    slim.forget_build_machine(tmp_path)
    assert calls.read_text().splitlines() == [
        f"--set-rpath $ORIGIN/../x {tmp_path / 'libmixed.so'}", f"--remove-rpath {tmp_path / 'libodd.so'}"
    ]  # fmt: skip


def compile_library(path, source, *linked):
    command = ["cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{path.name}", "-x", "c", "-", "-o", path]
    subprocess.run([*command, "-x", "none", *linked], input=source, text=True, check=True)


# --- what a desktop is told


def test_the_man_page_has_every_command_and_every_option(tree):
    text = gzip.decompress((tree / "share/man/man1/apitorch-desktop.1.gz").read_bytes()).decode()
    plain = text.replace("\\-", "-")
    for command in all_commands():
        name = command.prog.removeprefix("apitorch-desktop").strip()
        assert not name or f"\n.SS {name}\n" in plain
        section = plain.partition(f"\n.SS {name}\n" if name else "\n.SH OPTIONS\n")[2].partition("\n.S")[0]
        for option in options(command):
            assert option in section, f"{command.prog} {option}"
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "ENVIRONMENT", "FILES", "EXIT STATUS"):
        assert f".SH {heading}\n" in text
    if shutil.which("groff"):
        command = ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-z"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
        assert done.stderr == ""


@pytest.mark.parametrize("shell", list(install.COMPLETIONS))
def test_the_completion_has_every_command_and_every_option(tree, shell):
    path = tree / install.COMPLETIONS[shell]
    text = path.read_text("utf-8")
    for command in all_commands():
        name = command.prog.split()[-1]
        assert command.prog == "apitorch-desktop" or re.search(rf"\b{name}\b", text)
        for option in options(command):
            in_fish = f"-l {option[2:]} " if option.startswith("--") else f"-s {option[1:]} "
            assert (in_fish if shell == "fish" else option) in text, option
    if shutil.which(shell):
        assert subprocess.run([shell, "-n", path], capture_output=True, text=True).stderr == ""


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["cl"], {"classify"}),
        (["service", "ba"], {"backup"}),
        (["classify", "--cla"], {"--classifier"}),
        (["export", "--format", "cr"], {"createml", "croissant"}),
    ],
)
def test_bash_completes(tree, words, expected):
    line = " ".join(f"'{word}'" for word in ("apitorch-desktop", *words))
    script = (
        f"source {tree / install.COMPLETIONS['bash']}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "$(complete -p apitorch-desktop | sed 's/.*-F \\([^ ]*\\).*/\\1/') apitorch-desktop; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert {word.strip() for word in done.stdout.split()} == expected, done.stderr


def test_icons_have_all_sizes(tree):
    for size in install.ICON_SIZES:
        data = (tree / f"share/icons/hicolor/{size}x{size}/apps/apitorch-desktop.png").read_bytes()
        assert struct.unpack(">II", data[16:24]) == (size, size)
        assert len(data) > 200, "something is drawn"
    assert (tree / "share/icons/hicolor/scalable/apps/apitorch-desktop.svg").is_file()


def test_everything_for_the_desktop_is_installed(tree):
    for pattern, folder in install.COPIES.items():
        files = list((PACKAGING / "linux").glob(pattern))
        assert files and all((tree / folder / file.name).read_bytes() == file.read_bytes() for file in files), pattern
    left = {path.name for path in (PACKAGING / "linux").rglob("*.*") if path.suffix not in (".py", ".sh", ".pyc")}
    assert left <= {path.name for path in tree.rglob("*")}


def test_the_desktop_entry_and_the_data_of_software_centers_are_valid(tree):
    entry = tree / "share/applications/apitorch-desktop.desktop"
    data = tree / f"share/metainfo/{install.APPSTREAM_ID}.metainfo.xml"
    if shutil.which("desktop-file-validate"):
        assert subprocess.run(["desktop-file-validate", entry], capture_output=True, text=True).returncode == 0
    if shutil.which("appstreamcli"):
        command = ["appstreamcli", "validate", "--no-net", "--pedantic", data]
        assert (done := subprocess.run(command, capture_output=True, text=True)).returncode == 0, done.stdout
    types = re.search(r"^MimeType=(.*);$", entry.read_text("utf-8"), re.MULTILINE)[1].split(";")
    known = Path("/usr/share/mime/packages/freedesktop.org.xml")
    if known.is_file():
        text = known.read_text("utf-8")
        assert not [one for one in types if f'type="{one}"' not in text and not one.startswith("inode/")]
    component = ElementTree.parse(data).getroot()
    assert component.findtext("id") == install.APPSTREAM_ID
    assert component.findtext("launchable") == entry.name
    image = component.findtext("screenshots/screenshot/image")
    assert (PACKAGING / "screenshots" / image.rpartition("/")[2]).is_file()


def test_releases_are_those_of_the_changelog():
    component = ElementTree.parse(PACKAGING / "linux" / f"{install.APPSTREAM_ID}.metainfo.xml").getroot()
    releases = {one.get("version"): one.get("date") for one in component.iter("release")}
    text = (PACKAGING / "CHANGELOG.md").read_text("utf-8")
    assert releases == dict(re.findall(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", text, re.MULTILINE))
    assert VERSION in text


# --- packages


def test_debians_changelog_is_that_of_the_program():
    text = changelog.debian_changelog((PACKAGING / "CHANGELOG.md").read_text("utf-8"), VERSION)
    assert f"apitorch-desktop ({VERSION}) unstable; urgency=medium\n\n  * " in text
    if shutil.which("dpkg-parsechangelog"):
        command = ["dpkg-parsechangelog", "-l-", "-S", "Version"]
        assert subprocess.run(command, input=text, capture_output=True, text=True).stdout.strip() == VERSION
    text = "## 9.9 (not released)\n### Here\n- New.\n### There\n- Too.\n## 9.8 (2020-01-02)\n- Old.\n"
    unreleased = changelog.debian_changelog(text, "9.9")
    assert "(9.9)" in unreleased and "  * New.\n  * Too.\n" in unreleased and "Thu, 02 Jan 2020" in unreleased
    assert "(9.9)" not in changelog.debian_changelog("## 9.9 (not released)\n- New.\n", "9.8")


def test_the_flatpak_is_of_the_same_program(tmp_path):
    manifest = yaml.safe_load((PACKAGING / "flatpak" / f"{install.APPSTREAM_ID}.yml").read_text("utf-8"))
    assert manifest["id"] == install.APPSTREAM_ID
    assert manifest["command"] == manifest["rename-icon"] == install.NAME
    assert manifest["rename-desktop-file"] == f"{install.NAME}.desktop"
    if shutil.which("flatpak-builder"):
        command = ["flatpak-builder", "--show-manifest", PACKAGING / "flatpak" / f"{install.APPSTREAM_ID}.yml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)  # it leaves a folder where it runs
        assert f'"id" : "{install.APPSTREAM_ID}"' in done.stdout


@pytest.mark.parametrize("script", sorted(PACKAGING.rglob("*.sh")), ids=lambda path: str(path.relative_to(PACKAGING)))
def test_scripts_are_shell_and_say_how_they_are_called(script):
    assert subprocess.run(["sh", "-n", script], capture_output=True, text=True).stderr == ""
    if script.parent.name in ("bundle", "debian", "appimage", "flatpak") or script.name == "try_bare.sh":
        done = subprocess.run(["sh", script], capture_output=True, text=True)
        assert (done.returncode, done.stderr.split(":")[0]) == (2, "usage")
        assert f"packaging/{script.relative_to(PACKAGING)} TARGET" in done.stderr
        assert f"packaging/{script.relative_to(PACKAGING)} TARGET" in (PACKAGING / "BUILDING.md").read_text("utf-8")
