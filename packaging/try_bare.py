"""Drives the program inside a bare system from outside: python packaging/try_bare.py ROOT COMMAND, called by try_bare.sh.

The program runs in a chroot as an ordinary user, on an X server outside. Its buttons are found by reading the screen, pressed
by xdotool, and what came of it is read back from its service over HTTP. Runs with the Python that the bundle was built with.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageGrab

from apitorch_desktop.utils.paths import resources
from apitorch_desktop.vision.standard_classifiers import TextReader

_PATIENCE = 300.0
"""Seconds until something is given up; nothing is hurried by it."""
_STANDARD = ("safe-for-work", "extract-text", "design-score")
_HOME = "home/me"
_TITLE = "API Torch Desktop"
_SAMPLE = 48


class Bare:
    """A bare system with the program in it."""

    def __init__(self, root: Path, command: str, display: str) -> None:
        self.root, self.command, self.display = root, command, display
        self.home = root / _HOME
        self.errors = root / "errors.txt"
        self.errors.write_text("")
        self.started: list[subprocess.Popen[str]] = []
        self._reader = TextReader()
        self._reader._engine = self._reader._load()  # rapidocr's own answer has the places of the words

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command as the user; its standard error is added to the file `errors`."""
        environment = {"HOME": f"/{_HOME}", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "DISPLAY": self.display}
        inside = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), self.command, *words]
        with self.errors.open("a") as errors:
            process = subprocess.Popen(
                ["chroot", "--userspec=me:me", str(self.root), *inside],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, **options,
            )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *words: str) -> str:
        """Run the command to its end and return what it printed."""
        with self.start(*words) as process:
            printed, _ = process.communicate(timeout=_PATIENCE)
        check(process.returncode == 0, f"“{' '.join(words)}” ended with {process.returncode}")
        return printed

    def call(self, path: str) -> Any:
        """Return what the service answers to a GET, None while there is none."""
        try:
            record = json.loads((self.home / ".local/share/apitorch-desktop/service/running.json").read_text())
        except (OSError, ValueError):
            return None
        key = base64.b64encode(f"{record['key']}:".encode()).decode()
        request = urllib.request.Request(f"{record['url']}{path}", headers={"Authorization": f"Basic {key}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return json.load(answer)
        except OSError:
            return None

    def counts(self, name: str) -> dict[str, int]:
        """Return how many images the labels of a training set have; empty while there is no such set."""
        sets = (self.call("training-sets") or {}).get("data", [])
        found = next((one for one in sets if one["name"] == name), None)
        listing = self.call(f"training-set/{found['id']}/images") if found else None
        return {label["label"]: len(label["images"]) for label in (listing or {}).get("data", [])}

    def classifiers(self) -> list[str]:
        """Return the slugs of the classifiers that answer."""
        return [one["slug"] for one in (self.call("classifiers") or {}).get("data", [])]

    def screen(self) -> Image.Image:
        """Return what is on the screen."""
        return ImageGrab.grab(xdisplay=self.display).convert("RGB")

    def places(self) -> list[tuple[str, int, int]]:
        """Return the texts on the screen, lower case without spaces, and their centers."""
        found = self._reader._engine(np.asarray(self.screen())[:, :, ::-1])
        pairs = zip(found.txts or (), found.boxes if found.boxes is not None else (), strict=True)
        return [("".join(text.lower().split()), *(int(mean) for mean in np.mean(box, axis=0))) for text, box in pairs]

    def shows(self, beginning: str) -> bool:
        """Return whether a text on the screen begins so."""
        return any(text.startswith(beginning) for text, *_ in self.places())

    def press(self, text: str) -> None:
        """Press the button with a text, once it is on the screen."""
        wanted = "".join(text.lower().split())

        def found() -> tuple[str, int, int] | None:
            return next((place for place in reversed(self.places()) if place[0] == wanted), None)

        place = wait(found, f"“{text}” on the screen", self)
        self.xdotool("mousemove", place[1], place[2], "click", 1)

    def xdotool(self, *words: object) -> str:
        """Run xdotool on the display and return what it printed."""
        environment = os.environ | {"DISPLAY": self.display}
        run = subprocess.run(
            ["xdotool", *map(str, words)], env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        return run.stdout

    def find_window(self, name: str) -> str:
        """Return the id of the window with a title, empty if none is shown."""
        return self.xdotool("search", "--onlyvisible", "--name", f"{name}$").split("\n")[0]

    def key(self, window: str, *words: str) -> None:
        """Give a window the keyboard, then run xdotool's `key` or `type`."""
        identity = wait(lambda: self.find_window(window), f"window “{window}”", self)
        self.xdotool("windowfocus", "--sync", identity, *words)

    def processes(self) -> set[str]:
        """Return what the processes of the program are: the first word that says it."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                inside = (process / "root").readlink() == self.root
            except OSError:
                continue
            if inside and words[0].endswith("apitorch-desktop") and words[1] != "-B":  # multiprocessing's own
                found.add(words[1].lstrip("-") or "window")
        return found


def check(holds: object, sentence: str) -> None:
    """End with a sentence unless something holds."""
    if not holds:
        sys.exit(f"FAILED: {sentence}.")


def wait(condition: Callable[[], Any], sentence: str, bare: Bare | None = None) -> Any:
    """Return what a condition returns once it holds; end with a picture of the screen if it never does."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    if bare is not None:
        bare.screen().save(bare.root / "screen.png")
        sys.stderr.write(f"The screen is in {bare.root / 'screen.png'}. {bare.errors.read_text()}\n")
    sys.exit(f"FAILED: no {sentence} within {_PATIENCE:.0f} s.")


def say(sentence: str) -> None:
    """Print one thing that was seen, with the seconds since the start."""
    sys.stdout.write(f"  {time.monotonic() - _START:5.1f} s  {sentence}\n")
    sys.stdout.flush()


_START = time.monotonic()


def drive(bare: Bare) -> None:
    """Use the program as a newcomer would."""
    say(bare.run("--version").strip())
    bare.run("--help")
    lay_out(bare)
    window = bare.start()
    wait(lambda: bare.find_window(_TITLE) or window.poll() is not None, "window", bare)
    check(window.poll() is None, f"no window: {bare.errors.read_text()}")
    say("the window is shown")
    bare.press("Open the sample")
    counts = wait(lambda: ready(bare, "Zebra coats", "zebra-coats"), "sample with its classifier", bare)
    say(f"“Open the sample”: {sum(counts.values())} photos under {len(counts)} labels, and their classifier")

    bare.run(f"/{_HOME}/Photos")  # goes to the window
    wait(
        lambda: any(text.startswith(f"notsent:{_SAMPLE}") for text, *_ in bare.places()),
        "plan, with what is there already",
        bare,
    )
    bare.key("Import photos", "key", "Home")  # from the open training set to a new one
    bare.press(f"Import {_SAMPLE} photos")
    counts = wait(lambda: ready(bare, "Photos", "photos"), "imported photos with their classifier", bare)
    say(f"a folder is imported by its plan: {counts}, and their classifier")
    classify(bare)
    export(bare)
    watch(bare)

    bare.key(_TITLE, "key", "ctrl+shift+m")
    found = wait(
        lambda: {"serve", "multiprocessing-fork"} <= bare.processes() and bare.processes(), "map's process", bare
    )
    say(f"processes while the map is made: {', '.join(sorted(found))}")
    bare.key(_TITLE, "key", "ctrl+q")
    check(window.wait(_PATIENCE) == 0, "the window did not end with 0")
    wait(lambda: not bare.processes(), "end of all its processes", bare)
    text = bare.errors.read_text()
    check(not text, f"on standard error: {text}")
    say("quit: exit status 0, no process left, nothing on standard error")


def lay_out(bare: Bare) -> None:
    """Put a folder of photos and a photo of a sign into the user's home."""
    zipfile.ZipFile(resources() / "sample" / "zebra_coats.zip").extractall(bare.home / "Photos")
    sign = Image.new("RGB", (640, 400), "white")
    ImageDraw.Draw(sign).text((40, 150), "FRESH BREAD DAILY", "black", ImageFont.load_default(56))
    sign.save(bare.home / "sign.jpg")
    (bare.home / "Camera").mkdir()
    for path in (*bare.home.rglob("*"),):
        shutil.chown(path, bare.home.stat().st_uid, bare.home.stat().st_gid)


def ready(bare: Bare, name: str, slug: str) -> dict[str, int]:
    """Return the counts of a training set once all photos of the sample are in it and its classifier answers, else {}."""
    counts = bare.counts(name)
    return counts if sum(counts.values()) == _SAMPLE and slug in bare.classifiers() else {}


def classify(bare: Bare) -> None:
    """Ask in the window, and all standard classifiers by the command."""
    bare.run("--classify", f"/{_HOME}/sign.jpg")
    wait(lambda: bare.shows("safeforwork"), "answer of safe-for-work in the window", bare)
    bare.xdotool("mousemove", 1260, 750, "click", "--repeat", 30, 5)  # the cards may be higher than the panel
    wait(lambda: bare.shows("containstext"), "answer of extract-text in the window", bare)
    say("the window shows the answers of safe-for-work and extract-text about a photo")
    for slug in (*_STANDARD, "photos"):
        answer = json.loads(bare.run("classify", f"/{_HOME}/sign.jpg", "--classifier", slug, "--json"))
        say(f"{slug}: {answer['sentence']}")


def export(bare: Bare) -> None:
    """Export the photos by the command, the classifier in the window."""
    bare.run("export", "Photos", f"/{_HOME}/copy", "--format", "zip")
    [archive] = (bare.home / "copy").rglob("*.zip")
    bare.key(_TITLE, "key", "ctrl+shift+p")
    bare.key("Find an action", "type", "Export the classifier")
    bare.xdotool("key", "Return")
    bare.press("Export")
    [network] = wait(lambda: list(bare.home.glob("*.onnx")), "exported classifier", bare)
    say(f"exported: {archive.name} with {len(zipfile.ZipFile(archive).namelist())} files, {network.name}")


def watch(bare: Bare) -> None:
    """Watch a folder until one photo has come."""
    process = bare.start("watch", f"/{_HOME}/Camera", "--classifier", "photos", start_new_session=True)
    shutil.copy(next((bare.home / "Photos").rglob("*.jpg")), bare.home / "Camera")
    line = next((line for line in process.stdout or () if ".jpg" in line), "").strip()
    os.killpg(process.pid, signal.SIGINT)
    check(process.wait(_PATIENCE) in (0, 130), "“watch” did not end by Ctrl+C")
    say(f"watch: {line}")


def main(root: Path, command: str) -> None:
    """Start an X server and drive the program on it."""
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1600x1000x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writer], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writer)
    try:
        with os.fdopen(reader) as line:
            bare = Bare(root.resolve(), command, f":{line.readline().strip()}")
        try:
            drive(bare)
        finally:
            for process in bare.started:
                process.kill()  # what is left after a failure; the service ends with its window
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
