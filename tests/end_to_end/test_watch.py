"""The command `watch`, as a shell runs it: real photos that arrive, a real service, and what became of them."""

import csv
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import pytest
from PIL import Image

from apitorch_desktop.cli.main import main
from apitorch_desktop.dataset.batch.classification import COLUMNS
from tests.helpers.service_process import serving
from tests.helpers.waiting import PATIENCE, until

LABELS = {"red": (200, 40), "blue": (40, 200)}


def photo(path, label, seed):
    """Save noise of one color; return its path."""
    draw, (red, blue) = random.Random(f"{label}{seed}"), LABELS[label]
    image = Image.new("RGB", (60, 60), (red, 30, blue))
    for _ in range(200):
        image.putpixel((draw.randrange(60), draw.randrange(60)), (red, draw.randrange(256), blue))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


class Watching:
    """A running `watch`, and what it has printed."""

    def __init__(self, service, *words):
        environment = os.environ | {"APITORCH_BASE_URL": service.url, "APITORCH_API_KEY": service.key}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "apitorch_desktop", "watch", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said += line

    def until(self, words, times=1):
        until(lambda: self.said.count(words) >= times or self.process.poll() is not None)
        assert self.said.count(words) >= times, self.said + self.process.stderr.read()

    def end(self, number):
        """Send a signal; return exit status and standard error."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return self.process.returncode, self.process.stderr.read()


@contextmanager
def watching(service, *words):
    running = Watching(service, *words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        running.process.stderr.close()
        running.process.stdout.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A service with the classifier `colors`."""
    with serving(tmp_path_factory.mktemp("service") / "data") as service:
        set_id = service.new_set("Colors")
        place = tmp_path_factory.mktemp("photos")
        for label in LABELS:
            for seed in range(5):
                data = photo(place / f"{label}{seed}.png", label, seed).read_bytes()
                assert service.upload(set_id, label, data, f"{seed}.png").ok
        yield service


def rows(table):
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_arrives_is_moved_and_written_down_once_when_it_is_complete(trained, tmp_path, capsys, monkeypatch):
    """Also after a restart, after the folder was away, and with names that are taken."""
    folder, table, out = tmp_path / "in", tmp_path / "answers.csv", tmp_path / "in" / "by label"
    words = (folder, "--classifier", "colors", "--csv", table, "--move-to", out, "--min-confidence", "0.5")
    data = photo(folder / "a.png", "red", 90).read_bytes()
    (folder / "letter.jpg").write_text("Dear zebra,")
    (folder / ".hidden.png").write_bytes(data)
    with watching(trained, *words) as watch, (folder / "slow.png").open("wb") as slow:
        slow.write(data[: len(data) // 2])
        slow.flush()
        watch.until("letter.jpg: not classified.")
        watch.until(f"→ {out / 'red' / 'a.png'}")
        monkeypatch.setenv("APITORCH_BASE_URL", trained.url)
        monkeypatch.setenv("APITORCH_API_KEY", trained.key)
        assert main(["watch", *map(str, words)]) == 1
        assert "is being watched already" in capsys.readouterr().err
        folder.rename(tmp_path / "away")
        watch.until("is not there. Waiting for it.")
        photo(tmp_path / "away" / "a.png", "red", 91)
        photo(tmp_path / "away" / "trip" / "b.png", "blue", 92)
        (tmp_path / "away").rename(folder)
        watch.until("is back.")
        watch.until(f"→ {out / 'red' / 'a (2).png'}")
        watch.until(f"→ {out / 'blue' / 'b.png'}")
        assert "slow.png" not in watch.said and (folder / "slow.png").exists()
        assert watch.end(signal.SIGTERM) == (0, "")
        slow.write(data[len(data) // 2 :])
    assert (out / "red" / "a.png").read_bytes() == data
    folder.rename(tmp_path / "away")
    with watching(trained, *words) as watch:
        watch.until("is not there. Waiting for it.")
        photo(tmp_path / "away" / "later.png", "blue", 93)
        (tmp_path / "away").rename(folder)
        watch.until(f"→ {out / 'blue' / 'later.png'}")
        watch.until(f"→ {out / 'red' / 'slow.png'}")
        assert watch.end(signal.SIGHUP) == (0, "")
    assert (out / "red" / "slow.png").read_bytes() == data
    assert {path.name for path in folder.iterdir()} == {".hidden.png", "letter.jpg", "trip", "by label"}
    written = {row["image"]: row["label"] or row["error"][:22] for row in rows(table)}
    assert written == {
        str(folder / "letter.jpg"): "It is a text and not a",
        **{str(out / "red" / name): "red" for name in ("a.png", "a (2).png", "slow.png")},
        **{str(out / "blue" / name): "blue" for name in ("b.png", "later.png")},
    }
    assert len(rows(table)) == len(written)
    assert Counter(path.parent.name for path in out.glob("*/*")) == {"red": 3, "blue": 2}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["{}", "--classifier", "no-such"], 1, "There is no classifier “no-such”"),
        (["{}/file", "--classifier", "colors"], 2, "is no folder"),
        (["{}", "--classifier", "colors", "--min-confidence", "80"], 2, "no number from 0 to 1"),
        (["{}", "--classifier", "colors", "--csv", "{}/file"], 1, "is another file than a table of answers"),
        (
            ["{}", "--classifier", "colors", "--csv", "{}/no/table.csv"],
            1,
            "cannot be written: No such file or directory.",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(trained, tmp_path, capsys, monkeypatch, words, status, said):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("APITORCH_BASE_URL", trained.url)
    monkeypatch.setenv("APITORCH_API_KEY", trained.key)
    assert main(["watch", *(word.format(tmp_path) for word in words)]) == status
    assert said in (errors := capsys.readouterr().err) and "Traceback" not in errors
    assert (tmp_path / "file").read_text() == "mine"


def test_a_table_goes_on_where_standard_output_stands(trained, tmp_path):
    photo(tmp_path / "in" / "a.png", "red", 90)
    table = tmp_path / "answers.csv"
    table.write_text("yesterday\n")
    words = [
        sys.executable,
        "-m",
        "apitorch_desktop",
        "watch",
        str(tmp_path / "in"),
        "--classifier",
        "colors",
        "--csv",
        "-",
    ]
    environment = os.environ | {"APITORCH_BASE_URL": trained.url, "APITORCH_API_KEY": trained.key}
    with (
        table.open("a") as output,
        subprocess.Popen(words, env=environment, stdout=output, stderr=subprocess.PIPE) as running,
    ):
        until(lambda: "a.png" in table.read_text() or running.poll() is not None)
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=PATIENCE)[1].decode()
    assert table.read_text().startswith(f"yesterday\n{','.join(COLUMNS)}\n{tmp_path}"), said
    assert running.returncode == 0
