"""The commands for scripts, as a shell runs them."""

import csv
import hashlib
import json
import os
import pty
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.importer.plan import scan
from apitorch_desktop.dataset.workspace.listing import iter_images
from tests.helpers.fake_api import FakeApi
from tests.helpers.image_samples import motion_photo, raw_photo, saved, scene
from tests.helpers.mounts import read_only, tmpfs
from tests.helpers.service_process import serving
from tests.helpers.waiting import PATIENCE, until

UPLOAD = {"method": "POST", "path": "/image$"}
ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PHONE = {
    "IMG_1.HEIC": (Path(__file__).parents[1] / "data" / "heif" / "scene.heic").read_bytes(),
    "IMG_2.avif": saved(scene(), "AVIF"),
    "IMG_3.MP.jpg": motion_photo(),
    "DSC_4.NEF": raw_photo(),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture
def run(home):
    """Run the command: `run("import", …, at=service)`; without `at` it is the embedded service's turn."""

    def command(*words, at=None, given="", **environment):
        return subprocess.run(
            [sys.executable, "-m", "apitorch_desktop", *map(str, words)],
            input=given,
            errors="surrogateescape",
            capture_output=True,
            text=True,
            env=_environment(at) | environment,
            timeout=PATIENCE,
        )

    return command


def _environment(at):
    there = {"APITORCH_BASE_URL": at.url, "APITORCH_API_KEY": at.key} if at else {}
    return os.environ | {"PYTHONIOENCODING": "utf-8"} | there


@pytest.fixture
def folder(tmp_path):
    """Two labels of five pictures, noise of two kinds."""
    root = tmp_path / "pictures"
    for label, colours in {"Red Ones": (200, 40), "blue": (40, 200)}.items():
        for number in range(5):
            draw = random.Random(f"{label}{number}")
            image = Image.new("RGB", (60, 60), (colours[0], 30, colours[1]))
            for _ in range(200):
                image.putpixel((draw.randrange(60), draw.randrange(60)), (colours[0], draw.randrange(256), colours[1]))
            (root / label).mkdir(parents=True, exist_ok=True)
            image.save(root / label / f"{number}.png")
    return root


@contextmanager
def client_of(service):
    client = ApiClient(service.url, service.key)
    try:
        yield client
    finally:
        client.close()


# --- import


def test_photos_come_in_with_a_summary_and_a_second_time_nothing_new(run, service, photos):
    name = "Hats and skirts"
    at = {"at": service}
    first = run("import", photos / "test", "--name", name, **at)
    assert (first.returncode, first.stderr) == (0, "")
    count = len(list((photos / "test").glob("*/*.jpg")))
    assert f"{count} photos came into “{name}”, under 10 labels." in first.stdout
    assert "t_shirt     20" in first.stdout
    second = run("import", photos / "test", "--name", name, **at)
    assert second.returncode == 0
    assert f"Nothing new came into “{name}”.\n{count} photos were there already." in second.stdout


def test_the_embedded_service_is_used_where_no_other_is_named(run, folder):
    assert run("import", folder, "--name", "Mine").returncode == 0
    again = run("import", folder, "--name", "Mine")
    assert "10 photos were there already" in again.stdout


def test_a_split_and_photos_without_a_label_come_in_go_out_and_come_back(run, service, folder, tmp_path):
    """`test` holds loose photos, as many sets do: they wait without a label, and no export makes a label of them."""
    for label in ("Red Ones", "blue"):
        for number, path in enumerate(sorted((folder / label).iterdir())):
            part = tmp_path / "set" / ("test" if number == 4 else "train")
            place = part / label if number < 4 else part
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / f"{label} {number}.png")
    done = run("import", tmp_path / "set", "--name", "Halves", at=service)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 photos in “test” have no label: the name of a part of a set is none." in done.stdout
    assert "2 photos without a label wait under “No label yet”." in done.stdout
    assert "The photos keep their split: 8 train, 2 test." in done.stdout
    assert "10 photos came into “Halves”, under 2 labels." in done.stdout
    with client_of(service) as client:
        before = parts_of(client, "Halves")
    assert before == {"red_ones train": 4, "blue train": 4, "unlabelled test": 2}
    assert run("export", "Halves", tmp_path / "plain", at=service).returncode == 0
    plain = tmp_path / "plain" / "halves"
    assert {path.name for path in plain.iterdir() if path.is_dir()} == {"red_ones", "blue"}
    assert len(list(plain.glob("*.png"))) == 2
    assert run("export", "Halves", tmp_path / "out", "--splits", at=service).returncode == 0
    assert {path.name for path in (tmp_path / "out" / "halves").iterdir()} == {"train", "test"}
    assert run("export", "Halves", tmp_path / "list", "--format", "csv", at=service).returncode == 0
    for place in ("out", "list"):
        again = run("import", tmp_path / place / "halves", "--name", f"Again {place}", at=service)
        assert again.returncode == 0, again.stdout
        with client_of(service) as client:
            assert parts_of(client, f"Again {place}") == before


def parts_of(client, name):
    """“label split” → number of images, of a training set."""
    found = next(one for one in client.training_sets() if one.name == name)
    return dict(
        Counter(
            f"{group.label} {image.known_split}" for group in client.images(found.id).data for image in group.images
        )
    )


def test_what_did_not_come_in_is_named_with_the_reason(run, service, folder):
    (folder / "blue" / "letter.jpg").write_text("Dear zebra,")
    (folder / "blue" / "cut.png").write_bytes((folder / "blue" / "1.png").read_bytes()[:200])
    (folder / "loose.png").write_bytes((folder / "blue" / "1.png").read_bytes())
    (folder / "notes.md").write_text("Nothing.")
    (folder / "blue" / "again.png").write_bytes((folder / "blue" / "1.png").read_bytes())
    done = run("import", folder, "--name", "Not all", at=service)
    assert done.returncode == 1
    assert "10 photos came into “Not all”, under 2 labels." in done.stdout
    assert "2 photos did not come in:" in done.stdout
    assert "letter.jpg: It is a text and not an image" in done.stdout
    assert "cut.png: " in done.stdout
    assert "notes.md" in done.stdout
    assert "2 photos came twice" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["import", "nowhere", "--name", "X"], 2, "There is no “nowhere”"),
        (["import", ".", "--name", " "], 2, "cannot be empty"),
        (["import", "."], 2, "--name"),
        (["import", ".", "--name", "X"], 1, "There is no photo"),
        (["export", "No such set", "out"], 1, "There is no training set “No such set”"),
        (["export", "X", "out", "--format", "tarot"], 2, "tarot"),
        (["classify", "x.jpg", "--classifier", "no-such"], 1, "There is no classifier “no-such”"),
        (["classify", "--classifier", "x"], 2, "IMAGE"),
        (["classify", "-", "--classifier", "safe-for-work"], 1, "There is no photo to classify."),
        (["classify", "-", "--classifier", "x", "--json", "--csv", "-"], 2, "not allowed with"),
        (["import", "--name", "X"], 2, "FOLDER"),
        (["import", ".", "-0", "--name", "X"], 2, "FOLDER"),
        (["import", "-0", "--name", "X"], 1, "There is no photo"),
        (["classify", "x.jpg", "--classifier", "x", "--csv", ""], 2, "--csv: it is empty"),
        (["classify", "", "--classifier", "safe-for-work"], 2, "IMAGE: it is empty"),
        (["classify", "x.jpg", "--classifier", ""], 2, "--classifier: it is empty"),
        (["watch", "", "--classifier", "safe-for-work"], 2, "FOLDER: it is empty"),
        (["import", "", "--name", "X"], 2, "FOLDER: it is empty"),
        (["export", "", "out"], 2, "TRAINING_SET: it is empty"),
        (["export", "X", ""], 2, "FOLDER: it is empty"),
        (["serve", "--data", ""], 2, "--data: it is empty"),
        (["--classify", ""], 2, "A path is empty"),
        (["export", "X", "-"], 2, "give the name of a FOLDER"),
        (["export", "X", "/dev/null"], 2, "is no folder"),
        (["import", ".", "--name", "x" * 201], 2, "The name has 201 characters: a training set has 200 at most."),
        (["classify", "x.jpg", "--classifier", "x", "--patience", "-1"], 2, "“-1” is no number of seconds"),
        (
            ["classify", "s3://a/b.jpg", "--classifier", "x"],
            2,
            "“s3://a/b.jpg” cannot be read: only http:// and https://",
        ),
        (["classify", "http:///b.jpg", "--classifier", "x"], 2, "“http:///b.jpg” cannot be read: only http:// and"),
        (["import", "ftp://a//b", "--name", "X"], 2, "“ftp://a//b” cannot be read: only http:// and https:// are"),
        (["import", "data:image/png;base64,AA", "--name", "X"], 2, "“data:image/png;base64,AA” cannot be read"),
        (["import", "http://a/b.zip", "--name", "X"], 2, "“http://a/b.zip” is a web address: download it"),
        (["import", "file:///no/where", "--name", "X"], 2, "There is no “/no/where”"),
        (["export", "X", "s3://a/b"], 2, "FOLDER: “s3://a/b” is no file or folder of this machine"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run, service, tmp_path, monkeypatch, words, status, said):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = run(*words, at=service)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "empty").iterdir())


def test_what_is_wrong_with_an_address_is_said_and_nothing_else(run, service, folder):
    wrong = (
        (f"{service.origin}/api/v1/", "The base URL of the API ends in /api/"),
        (f"http://2130706433.nip:{service.port}/api/", "There is no “2130706433.nip”"),
    )
    for url, said in wrong:
        done = run("export", "X", folder, at=service, APITORCH_BASE_URL=url)
        assert done.returncode == 1 and said in done.stderr
        assert "deleted" not in done.stderr and "key" not in done.stderr


def test_a_service_that_asks_to_wait_for_long_is_given_up(run, folder):
    with FakeApi() as strange:
        strange.add_set("Set")
        strange.wrong(429, times=100, path="", retry_after="120")
        done = run("classify", folder, "--classifier", "set", "--patience", "1", at=strange)
    assert done.returncode == 1
    assert done.stderr.endswith("Given up: try again in 2 min.\n")


def test_a_wrong_key_and_a_service_that_is_away_are_said(run, service, folder):
    wrong = run("import", folder, "--name", "X", at=service, APITORCH_API_KEY="x" * 42)
    assert wrong.returncode == 1
    assert "key" in wrong.stderr
    away = run("export", "X", folder, at=service, APITORCH_BASE_URL="http://127.0.0.1:9/api/")
    assert away.returncode == 1
    assert "Nothing answers" in away.stderr
    half = run("export", "X", folder, APITORCH_BASE_URL="http://127.0.0.1:9/api/")
    assert half.returncode == 2


def test_interrupted_it_says_so_and_the_same_command_goes_on(folder):
    for number in range(40):
        Image.new("RGB", (20, 20), (number * 6, 3, 99)).save(folder / "blue" / f"more{number}.png")
    with FakeApi() as strange:
        training_set = strange.add_set("Set")
        strange.merges_same = False
        words = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Set"]
        for end in (signal.SIGINT, signal.SIGKILL):
            count = len(strange.image_ids(training_set))
            strange.wrong("held", times=1000, **UPLOAD)
            strange.release(9)
            running = subprocess.Popen(words, env=_environment(strange), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            until(lambda: len(strange.image_ids(training_set)) > count + 8)  # noqa: B023
            running.send_signal(end)
            said = running.communicate(timeout=PATIENCE)[1].decode()
            if end is signal.SIGINT:
                assert running.returncode == 130
                assert "goes on when the same command is given again" in said
                assert "Traceback" not in said
            strange.right()
            assert len(strange.image_ids(training_set)) < 42
        last = subprocess.run(words, env=_environment(strange), capture_output=True, text=True, timeout=PATIENCE)
        assert last.returncode == 0, last.stdout + last.stderr
        assert "Going on with" in last.stdout
        found = [hashlib.sha256(data).hexdigest() for datas in strange.stored(training_set).values() for data in datas]
        there = [hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*/*.png")]
        assert sorted(found) == sorted(there)


def test_a_service_that_makes_no_training_sets_is_said(folder, run):
    with FakeApi() as strange:
        done = run("import", folder, "--name", "New", at=strange)
        plan = run("import", folder, "--name", "New", "--dry-run", at=strange)
    assert done.returncode == plan.returncode == 1
    assert "make “New” on its own page" in done.stderr and done.stderr == plan.stderr
    assert "10 photos would come into a new training set “New”" in plan.stdout


def test_photos_of_phones_go_to_a_service_of_the_documented_calls_as_jpeg_and_the_plan_says_so(tmp_path, run):
    (tmp_path / "cat").mkdir()
    for name, data in PHONE.items():
        (tmp_path / "cat" / name).write_bytes(data)
    with FakeApi() as strange:
        training_set = strange.add_set("Phone")
        done = run("import", tmp_path / "cat", "--name", "Phone", at=strange)
        assert done.returncode == 0, done.stderr
        assert "3 photos (AVIF, HEIC, NEF) are sent as JPEG" in done.stdout
        stored = strange.stored(training_set)["cat"]
    assert len(stored) == 4 and PHONE["IMG_3.MP.jpg"] in stored
    assert all(data.startswith(b"\xff\xd8\xff") for data in stored)


def test_on_a_terminal_there_is_one_line_of_progress(folder, service):
    out, drawn = on_a_terminal(service, "import", str(folder), "--name", "Terminal")
    assert "10 photos came into" in out
    assert b"\r\x1b[K" in drawn
    assert b"\n" not in drawn
    paths = "\n".join(map(str, sorted(folder.rglob("*.png"))))
    out, drawn = on_a_terminal(service, "classify", "-", "--classifier", "safe-for-work", "--json", given=paths)
    assert [json.loads(line)["image"] for line in out.splitlines()] == paths.splitlines()
    assert b"\r\x1b[K" in drawn
    assert b"\n" not in drawn


def on_a_terminal(service, *words, given=""):
    """Run a command whose standard error is a terminal; return its output, and what it drew there."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "apitorch_desktop", *words]
    with subprocess.Popen(
        words, env=_environment(service), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs
    ) as running:
        os.close(theirs)
        drawn: list[bytes] = []
        reader = threading.Thread(target=lambda: drawn.extend(all_of(ours)))  # else the terminal might become full
        reader.start()
        out = running.communicate(given.encode(), timeout=PATIENCE)[0].decode()
        reader.join()
    os.close(ours)
    return out, b"".join(drawn)


def all_of(terminal):
    """Parts of what is written to a terminal, until its other end is closed."""
    with suppress(OSError):
        while part := os.read(terminal, 65536):
            yield part


def test_names_that_are_no_text_and_terminals_that_know_no_quotes(folder, run, service):
    (folder / "blue" / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"no picture")
    done = run("import", folder, "--name", "Ünï", at=service, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "10 photos came into" in done.stdout
    assert "Traceback" not in done.stderr


# --- whatever the shell hands over


@pytest.mark.parametrize(
    "words", [["export", "Nothing", "out"], ["export", "\x1b[31mno\u202eset", "out"], ["export", "a", "b", "\x1b[31mc"]]
)
def test_a_terminal_obeys_no_name(run, service, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with client_of(service) as client:
        made = client.create_training_set("a\x1b[31mred\u202eا\u200cب")
        try:
            done = run(*words, at=service)
            imported = run("import", tmp_path, "--name", "a\x1b[31mred\u202e", "--dry-run", at=service)
        finally:
            client.delete_training_set(made.id)
    said = done.stdout + done.stderr + imported.stdout + imported.stderr
    assert all(char.isprintable() or char in "\n\u200c" for char in said), ascii(said)
    if "Nothing" in words:
        assert "a␛[31mred�ا\u200cب" in said


def test_names_of_sets_that_differ_in_signs_are_two_sets(run, service, folder):
    for name in ("Grade C", "Grade C++", "Grade C#"):
        done = run("import", folder, "--name", name, at=service)
        assert f"10 photos came into “{name}”" in done.stdout
    with client_of(service) as client:
        names = [training_set.name for training_set in client.training_sets()]
    assert {"Grade C", "Grade C++", "Grade C#"} <= set(names)
    again = run("import", folder, "--name", "grade-c", at=service)  # a slug, as the window shows it
    assert "Nothing new came into" in again.stdout
    assert "10 photos were there already" in again.stdout


def test_names_that_become_one_label_are_told_before_anything_is_sent(run, service, folder):
    for name in ("C", "C++"):
        shutil.copytree(folder / "blue", folder / name)
    done = run("import", folder, "--name", "Signs", at=service)
    assert done.stdout.index("“C” and “C++” become one label") < done.stdout.index("photos came into")


@pytest.mark.parametrize("end", ["\r", "\n", " ", "\r\n", ":"])
def test_a_key_is_taken_as_it_was_meant(run, service, folder, end):
    done = run("import", folder, "--name", "Key", at=service, APITORCH_API_KEY=service.key + end)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["import", ".", "--name", "X"], ["export", "X", "out"]])
def test_a_home_that_cannot_be_written_is_one_sentence(run, service, folder, words, monkeypatch):
    run("import", folder, "--name", "X", at=service)
    monkeypatch.chdir(folder)
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = run(*words, at=service, HOME="/proc/nohome", APITORCH_DESKTOP_HOME="/proc/nohome")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize("command", ["import", "watch"])
def test_a_home_on_a_read_only_disk_is_said_with_what_to_do(run, service, folder, tmp_path, command):
    words = {"import": ["--name", "X"], "watch": ["--classifier", "safe-for-work"]}[command]
    with tmpfs(tmp_path / "disk") as disk:
        read_only(disk, True)
        done = run(command, folder, *words, at=service, APITORCH_DESKTOP_HOME=str(disk / "home"))
    assert done.returncode == 1
    assert "cannot be used: read-only file system. Free some space or check the folder" in done.stderr


@pytest.mark.parametrize("embedded", [False, True])
def test_the_folders_that_a_command_makes_are_its_users_alone(run, service, folder, home, tmp_path, embedded):
    at = None if embedded else service
    folders = [home, home / "desktop", *[home / "service"] * embedded]
    assert run("import", folder, "--name", "Private", at=at).returncode == 0
    assert [path.stat().st_mode & 0o777 for path in folders] == [0o700] * len(folders)
    for path in folders:
        path.chmod(0o755)
    assert run("export", "Private", tmp_path / "out", at=at).returncode == 0
    assert [path.stat().st_mode & 0o777 for path in folders] == [0o700] * len(folders)
    (home / "of others").touch()
    for path in folders:
        path.chmod(0o755)
    assert run("export", "Private", tmp_path / "out", at=at).returncode == 0
    assert [path.stat().st_mode & 0o777 for path in folders] == [0o755, *[0o700] * (len(folders) - 1)]


def test_a_name_that_is_no_utf8_is_read(run, service, folder):
    done = run("import", folder, "--name", os.fsdecode(b"Fr\xfcchte"), at=service)
    assert "10 photos came into “Früchte”" in done.stdout
    assert "Traceback" not in done.stderr


def test_words_and_folders_are_utf8_in_a_locale_that_is_not(run, service, folder):
    (folder / "blue").rename(folder / "blåu")
    done = run("import", folder, "--name", "Zürich", "--json", at=service, **ASCII_LOCALE)
    report = json.loads(done.stdout)
    assert (report["training_set"], report["labels"]) == ("Zürich", {"blåu": 5, "red_ones": 5})
    assert not any("no UTF-8" in note for note in report["notes"])


@pytest.mark.parametrize("form", ["imagefolder", "csv", "jsonl", "zip"])
def test_an_export_is_utf8_in_a_locale_that_is_not(run, service, folder, tmp_path, form):
    name, long = f"Zürich {form}", "猫" * 100
    (folder / "blue").rename(folder / "blåu")
    (folder / "Red Ones").rename(folder / "rot")
    table = "file_name,label\n" + "".join(f"rot/{number}.png,{long}\n" for number in range(5))
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    run("import", folder, "--name", name, at=service)
    out = tmp_path / "Aus"
    for _ in range(2 if form == "imagefolder" else 1):
        done = run("export", name, out, "--format", form, at=service, **ASCII_LOCALE)
        assert (done.returncode, done.stderr) == (0, "")
    if form == "zip":
        out = tmp_path / "unpacked"
        zipfile.ZipFile(tmp_path / "Aus" / f"zürich-{form}.zip").extractall(out)
    assert [path.name for path in out.iterdir()] == [f"zürich-{form}"]
    assert Counter(item.label for item in scan([out]).sending()) == {"blåu": 5, long: 5}


def test_a_full_disk_at_the_end_is_one_sentence(service, folder):
    words = [sys.executable, "-m", "apitorch_desktop", "import", str(folder), "--name", "Full"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words, env=_environment(service), stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
        )
    assert done.returncode == 1
    assert done.stderr.strip() == "apitorch-desktop: Standard output cannot be written: no space left on device."
    with client_of(service) as client:
        assert any(training_set.name == "Full" for training_set in client.training_sets())


@pytest.mark.parametrize("words", [["--help"], ["classify", "--help"], ["--version"], ["export", "nothing", "there"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_leaves_no_trace_of_python(service, words, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "apitorch_desktop", *words],
            env=_environment(service) | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert "Exception" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Standard output cannot be written" in done.stderr or words[0] == "export"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_end_no_command(service, folder, closed):
    words = f"{sys.executable} -m apitorch_desktop import {folder} --name Closed {closed}"
    done = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, env=_environment(service), timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ["classify", ".", "--classifier", os.fsdecode(b"\xff\xfe")],
        ["export", os.fsdecode(b"\xff\xfe"), "out"],
        ["import", os.fsdecode(b"\xff\xfe"), "--name", "X"],
        ["classify", os.fsdecode(b"\xff.jpg"), "--classifier", "safe-for-work"],
    ],
)
def test_words_that_are_no_utf8_end_in_a_sentence(run, service, folder, monkeypatch, words):
    monkeypatch.chdir(folder)
    done = run(*words, at=service)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "unexpected went wrong" not in done.stderr


def test_a_table_follows_links_and_is_written_to_pipes(run, service, folder, tmp_path):
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("target.csv")
    words = ["classify", folder / "blue" / "1.png", "--classifier", "safe-for-work", "--csv"]
    done = run(*words, link, at=service)
    assert done.returncode == 0, done.stderr
    assert link.is_symlink()
    assert target.read_text("utf-8").startswith("image,classifier,")
    assert target.stat().st_mode & 0o777 == 0o640
    done = run(*words, "/dev/stdout", at=service)
    assert len(list(csv.DictReader(done.stdout.splitlines()))) == 1, "nothing but the table goes there"
    assert "1 photo classified" in done.stderr
    assert run(*words, "-", at=service).stdout == done.stdout
    (tmp_path / "out").symlink_to("/dev/stdout")
    assert "image,classifier," in run(*words, tmp_path / "out", at=service).stdout
    assert (tmp_path / "out").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reading:
        run(*words, tmp_path / "pipe", at=service)
        assert "image,classifier," in reading.communicate(timeout=PATIENCE)[0]
    assert run(*words, "/dev/full", at=service).returncode == 1
    assert "cannot be written" in run(*words, tmp_path, at=service).stderr


@pytest.mark.parametrize(
    "table", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "out.csv", "link.csv", "/dev/fd/7"]
)
def test_a_table_goes_on_where_its_open_file_stands(service, folder, tmp_path, table):
    """As in `(echo a; … --csv -; echo b) > out.csv`, where another opening of it would write from its beginning."""
    (tmp_path / "link.csv").symlink_to("out.csv")
    photo = shlex.quote(str(folder / "blue" / "1.png"))
    line = f"{sys.executable} -m apitorch_desktop classify {photo} --classifier safe-for-work --csv {table}"
    for redirection, kept in ((">", ""), (">>", "yesterday\n")):
        (tmp_path / "out.csv").write_text("yesterday\n")
        words = f"(echo before; {line} 7>&1; echo after) {redirection} out.csv"
        done = subprocess.run(
            ["sh", "-c", words],
            cwd=tmp_path,
            env=_environment(service),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert "1 photo classified" in done.stderr
        text = (tmp_path / "out.csv").read_text("utf-8")
        assert text.startswith(f"{kept}before\nimage,classifier,") and text.endswith("after\n")
        assert len(text.splitlines()) == 4 + bool(kept)


def test_an_export_into_a_file_is_one_sentence(run, service, folder):
    run("import", folder, "--name", "Into a file", at=service)
    photo = folder / "blue" / "1.png"
    for place, status in ((photo, 2), ("/proc", 1), (photo / "deeper", 1)):  # what is no folder is a usage error
        for form in ("imagefolder", "csv"):
            done = run("export", "Into a file", place, "--format", form, at=service)
            assert done.returncode == status, done.stderr
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
            assert "Traceback" not in done.stderr


# --- export


def tree(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_folder_tree_is_that_of_the_published_client(run, service, folder, tmp_path):
    assert run("import", folder, "--name", "To Export", at=service).returncode == 0
    with client_of(service) as client:
        found = next(one for one in client.training_sets() if one.name == "To Export")
    theirs = tmp_path / "theirs"
    script = "import sys, pathlib; from apitorch.training_set import download_images\n"
    script += "download_images(int(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    theirs.mkdir()
    subprocess.run([sys.executable, "-c", script, str(found.id), theirs], env=_environment(service), check=True)
    for number, name in enumerate([str(found.id), "To Export", "to-export"]):
        done = run("export", name, tmp_path / f"ours{number}", at=service)
        assert done.returncode == 0, done.stderr
        assert tree(tmp_path / f"ours{number}") == tree(theirs)
    assert len(tree(theirs)) == 10
    again = run("export", "to-export", tmp_path / "ours0", at=service)
    assert "10 photos were there already" in again.stdout


@pytest.mark.parametrize("form", ["zip", "csv", "jsonl", "createml", "croissant"])
def test_every_format_is_written_and_nothing_overwritten(run, service, folder, tmp_path, form):
    run("import", folder, "--name", "Formats", at=service)
    done = run("export", "Formats", tmp_path / "out", "--format", form, at=service)
    assert (done.returncode, done.stderr) == (0, "")
    before = tree(tmp_path / "out")
    assert before
    again = run("export", "Formats", tmp_path / "out", "--format", form, at=service)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_names_that_photos_had_come_back_with_an_export(run, service, folder, tmp_path, form):
    (folder / "blue" / "0.png").rename(folder / "blue" / "=1 été.png")
    assert run("import", folder, "--name", f"Named {form}", at=service).returncode == 0
    assert run("export", f"Named {form}", tmp_path / "out", "--format", form, at=service).returncode == 0
    with ZipFile(tmp_path / "out.zip", "w") as archive:
        for path in (tmp_path / "out").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path))
    for place in ("out", "out.zip"):
        assert run("import", tmp_path / place, "--name", f"Again {place} {form}", at=service).returncode == 0
    with client_of(service) as client:
        first, *again = (
            sorted((image.label, image.original_filename) for image in iter_images(client, found.id, paged=False))
            for found in client.training_sets()
            if found.name in {f"Named {form}", f"Again out {form}", f"Again out.zip {form}"}
        )
    assert ("blue", "=1 été.png") in first and ("blue", "1.png") in first
    assert again == [first, first]


def test_photos_of_phones_and_labels_of_200_letters_go_in_and_out_as_they_are_or_as_jpeg(run, service, tmp_path):
    (tmp_path / "in").mkdir()
    for name, data in PHONE.items():
        (tmp_path / "in" / name).write_bytes(data)
    rows = "".join(f"{name},{'字' * 200}\n" for name in PHONE)
    (tmp_path / "in" / "labels.csv").write_text(f"file_name,label\n{rows}", "utf-8")
    assert run("import", tmp_path / "in", "--name", "Phone", at=service).returncode == 0
    with client_of(service) as client:
        found = next(one for one in client.training_sets() if one.name == "Phone")
        listed = client.images(found.id).data[0].images
        stored = {image.filename.rpartition(".")[2]: client.download(image.url) for image in listed}
        assert sorted(stored) == ["avif", "heic", "jpg", "nef"]
        assert sorted(stored.values()) == sorted(PHONE.values())
        assert all(client.download(image.thumbnail_url).startswith(b"\xff\xd8\xff") for image in listed)
        assert {(image.width, image.height) for image in listed} == {(320, 240), (640, 480)}
    for words, formats in (((), {"avif", "heic", "jpg", "nef"}), (("--jpeg",), {"jpg"}), (("--format", "zip"), set())):
        out = tmp_path / f"out{len(formats)}"
        done = run("export", "Phone", out, *words, at=service)
        assert done.returncode == 0, done.stderr
        assert "4 photos of “Phone” exported" in done.stdout and "“字" in done.stdout
        assert {path.suffix[1:] for path in out.rglob("*.*") if path.suffix not in (".csv", ".zip")} == formats
        plan = scan([next(out.iterdir())])
        assert [(item.original_label, item.problem) for item in plan.items] == [("字" * 200, None)] * 4


# --- classify


def test_pictures_are_classified_as_soon_as_the_classifier_has_learned(run, service, folder, tmp_path):
    run("import", folder, "--name", "Colours", at=service)
    table = tmp_path / "answers.csv"
    (folder / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    done = run("classify", folder, "--classifier", "colours", "--csv", table, at=service)
    assert done.returncode == 1
    assert "10 photos classified" in done.stdout
    assert "1 photo not classified:" in done.stdout
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    right = [row for row in rows if row["label"] and row["label"] in row["image"].lower().replace(" ", "_")]
    assert len(right) >= 9
    assert all(0 <= float(row["confidence_value"]) <= 1 and row["confidence"] for row in rows if row["label"])
    (broken,) = [row for row in rows if row["error"]]
    assert broken["image"].endswith("broken.jpg")
    line = run("classify", folder / "blue" / "1.png", "--classifier", "colours", at=service)
    assert line.returncode == 0
    assert line.stdout.startswith(f"{folder / 'blue' / '1.png'}: blue (")


def test_paths_from_standard_input_and_objects_for_scripts(run, service, folder):
    """As `find … -print0` and `find …` hand them on: labeled by their folders, with whatever names they have."""
    shutil.copy(folder / "blue" / "1.png", odd := folder / "blue" / os.fsdecode(b"two\nlines \xff.png"))
    Image.new("RGB", (60, 60), "navy").save(odd)
    paths = sorted(folder.rglob("*.png"))
    some = [path for path in paths if path.name != "0.png"]
    gone = folder / "blue" / "gone.png"
    given = "\0".join(map(str, [*some, gone, ""]))
    done = run("import", "-0", "--name", "Piped", "--json", at=service, given=given)
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert (report["training_set"], report["imported"]) == ("Piped", 9)
    assert report["labels"] == {"blue": 5, "red_ones": 4}
    (missing,) = report["not_imported"]
    assert missing["image"] == str(gone) and missing["error"]
    lines = "\n".join(str(path) for path in paths if path != odd)
    done = run("import", "-", "--name", "Piped", "--json", at=service, given=lines + "\n\n")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["imported"], report["there_already"], report["left"]) == (2, 8, 0)

    asked = ["classify", "-", "--classifier", "piped", "--json"]
    done = run(*asked, at=service, given="\ufeff" + lines.replace("\n", "\r\n"))
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == lines.splitlines()
    right = [one for one in answers if one["label"] == Path(one["image"]).parent.name.lower().replace(" ", "_")]
    assert len(right) >= 9
    assert all(0 <= float(answer["confidence_value"]) <= 1 for answer in answers)
    utf_16 = lines.encode("utf-16").decode(errors="surrogateescape")  # as Windows PowerShell writes a list
    done = run(*asked, at=service, given=utf_16)
    assert (done.returncode, done.stdout.count("\n")) == (0, len(answers))
    (folder / "notes.npz").write_bytes(b"PK\3\4" + bytes(90))
    (folder / "film.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    for words in ([], ["--csv", "-"], ["--json"]):  # as an import does
        done = run("classify", folder, *asked[2:4], *words, at=service)
        written = done.stderr if words else done.stdout
        assert "1 film (MOV) is no photo" in written and "1 file passed over, no photos:\n    notes.npz\n" in written
    done = run(*asked, "-0", at=service, given=f"{odd}\0{gone}")
    assert (done.returncode, done.stderr) == (1, "")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["image"], second["image"], second["label"]) == (str(odd), str(gone), "")
    assert "error" not in first and second["error"]
    done = run(*asked, at=service, given="\0JFIF")
    assert done.returncode == 2
    assert "no paths in lines" in done.stderr


def test_a_plan_is_written_without_a_service_and_nothing_is_sent(run, home, folder, tmp_path):
    for number, label in enumerate(("Red Ones", "Red Ones", "blue", "")):
        place = tmp_path / "Summer" / ("train", "test", "train", "test")[number] / label
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "blue" / f"{number}.png", place)
    shutil.copy(folder / "blue" / "0.png", tmp_path / "Summer" / "train" / "Red Ones" / "again.png")
    (tmp_path / "Summer" / "notes.md").write_text("Nothing.")
    (tmp_path / "Summer" / "train" / "blue" / "letter.jpg").write_text("Dear zebra,")
    done = run("import", tmp_path / "Summer", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 photos would come into a new training set “Summer”, under 2 labels.\n" in done.stdout
    assert "    red_ones      2 (1 train, 1 test)\n" in done.stdout
    assert "    No label yet  1 (1 test)\n" in done.stdout
    assert "1 photo without a label waits under “No label yet”.\n" in done.stdout
    assert "letter.jpg: It is a text" in done.stdout and "notes.md" in done.stdout
    assert done.stdout.endswith("Nothing was sent.\n")
    report = json.loads(run("import", tmp_path / "Summer", "--dry-run", "--json").stdout)
    assert (report["training_set"], report["new"], report["to_import"], report["twice"]) == ("Summer", True, 4, 1)
    assert report["labels"] == {"blue": 1, "red_ones": 2, "unlabelled": 1}
    assert report["splits"]["red_ones"] == {"train": 1, "test": 1}
    assert [Path(one["image"]).name for one in report["not_imported"]] == ["letter.jpg"]
    assert report["passed_over"] == ["notes.md"]
    assert not home.exists()


def test_a_plan_compares_with_the_training_set_that_is_named(run, service, folder, tmp_path):
    run("import", folder / "blue", "--name", "Half", at=service)
    done = run("import", folder, "--name", "Half", "--dry-run", at=service)
    assert done.returncode == 0
    assert "5 photos would come into “Half”, under 1 label." in done.stdout
    assert "5 photos are there already." in done.stdout
    with client_of(service) as client:
        assert parts_of(client, "Half") == {"blue ": 5}
    run("import", folder, "--name", "Half", at=service)
    done = run("import", folder, "--name", "Half", "--dry-run", at=service)
    assert done.returncode == 0 and "Nothing new would come into “Half”." in done.stdout
    (folder / "letter.jpg").write_text("Dear zebra,")
    assert run("import", folder, "--name", "Half", "--dry-run", at=service).returncode == 1
    (tmp_path / "empty").mkdir()
    done = run("import", tmp_path / "empty", "--dry-run", "--json")
    assert (done.returncode, json.loads(done.stdout)["to_import"]) == (1, 0)
    assert "There is no photo in" in done.stderr
    (tmp_path / "empty/data_batch_1").write_bytes(b"\x80\2}q")
    done = run("import", tmp_path / "empty", "--dry-run")
    assert done.stdout.splitlines() == ["1 file passed over, no photos:", "    data_batch_1"]
    away = run("import", folder, "--name", "Half", "--dry-run", APITORCH_BASE_URL="http://127.0.0.1:9/api/")
    assert away.returncode == 0
    assert "It is not known what is there already" in away.stdout
    assert "10 photos would come into “Half”, under 2 labels." in away.stdout


def test_an_import_of_nothing_is_an_object_too_with_the_reason(run, service, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"broken")
    (tmp_path / "list.csv").write_text("file_name,label\n")
    for name, reason in (("a.zip", "damaged"), ("list.csv", "")):
        said = run("import", tmp_path / name, "--name", "Nothing", at=service)
        done = run("import", tmp_path / name, "--name", "Nothing", "--json", at=service)
        assert (done.returncode, done.stderr) == (said.returncode, said.stderr)
        assert done.returncode == 1 and "There is no photo in" in done.stderr
        report = json.loads(done.stdout)
        assert (report["training_set"], report["imported"], report["labels"]) == ("Nothing", 0, {})
        assert report["notes"] == said.stdout.splitlines() and reason in "".join(report["notes"])


def test_addresses_of_files_are_paths(run, service, folder, tmp_path):
    (folder / "blue").rename(folder / "hell blau")
    done = run("import", folder.as_uri(), "--name", "Addresses", at=service)
    assert "10 photos came into “Addresses”" in done.stdout
    done = run(
        "import",
        "-",
        "--name",
        "By address",
        at=service,
        given="\n".join(one.as_uri() for one in folder.rglob("*.png")),
    )
    assert "10 photos came into “By address”" in done.stdout
    photo = folder / "hell blau" / "1.png"
    table = tmp_path / "a.csv"
    done = run("classify", photo.as_uri(), "--classifier", "safe-for-work", "--csv", table.as_uri(), at=service)
    assert done.returncode == 0 and str(photo) in table.read_text()
    assert run("export", "Addresses", (tmp_path / "out").as_uri(), at=service).returncode == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 10


def test_no_name_leads_to_a_training_set_whose_name_has_no_letter(run, service, folder, tmp_path):
    assert run("import", folder, "--name", "/", at=service).returncode == 0
    done = run("export", " ", tmp_path / "out", at=service)
    assert done.returncode == 1 and "There is no training set “ ”" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_missing_does_not_stop_the_others(run, service, folder, tmp_path):
    run("import", folder, "--name", "Missing", at=service)
    done = run("classify", tmp_path / "gone.jpg", folder / "blue" / "1.png", "--classifier", "missing", at=service)
    assert done.returncode == 1
    assert "1.png: " in done.stdout
    assert "gone.jpg: not classified" in done.stdout


def test_a_table_that_cannot_be_written_is_said(run, service, folder):
    done = run("classify", folder, "--classifier", "safe-for-work", "--csv", folder / "no" / "x.csv", at=service)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    photo = folder / "blue" / "1.png"
    before = photo.read_bytes()
    done = run("classify", "--csv", photo, folder / "blue" / "2.png", "--classifier", "safe-for-work", at=service)
    assert done.returncode == 2
    assert "is a photo, which the answers would replace" in done.stderr
    assert photo.read_bytes() == before


def test_a_classifier_without_enough_images_says_what_it_needs(run, service, folder):
    shutil.rmtree(folder / "blue")
    run("import", folder, "--name", "One label", at=service)
    done = run("classify", folder, "--classifier", "one-label", at=service)
    assert done.returncode == 1
    assert "cannot answer yet" in done.stderr
