"""The commands where the service dies, is full or comes back, and where the user interrupts them."""

import csv
import json
import os
import pty
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ApiError
from tests.helpers.mounts import fill, tmpfs
from tests.helpers.service_process import KEY, free_port, serving
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def start(home, port):
    """Start a command for the service at `port`, as a class; its output goes into files, whose growth can be waited for."""
    started = []
    home.mkdir()

    class Command:
        def __init__(self, *words):
            self.out, self.err = (home / f"{len(started)}.{name}" for name in ("out", "err"))
            with self.out.open("wb") as out, self.err.open("wb") as err:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "apitorch_desktop", *map(str, words)],
                    stdout=out,
                    stderr=err,
                    env=os.environ
                    | {"APITORCH_BASE_URL": f"http://127.0.0.1:{port}/api/", "APITORCH_API_KEY": KEY}
                    | {"PYTHONIOENCODING": "utf-8"},
                )
            started.append(self)

        def said(self):
            return self.err.read_text()

        def end(self):
            """Wait for its end; return its exit status, its output and its errors."""
            self.process.wait(PATIENCE)
            return self.process.returncode, self.out.read_text(), self.said()

    yield Command
    for command in started:
        with suppress(ProcessLookupError):
            command.process.kill()
        command.process.wait()


@contextmanager
def service(folder, port, *options):
    with serving(folder, "--port", str(port), *options, key=KEY) as running, client_at(port) as running.client:
        yield running


@contextmanager
def client_at(port):
    client = ApiClient(f"http://127.0.0.1:{port}/api/", KEY, attempts=1)
    try:
        yield client
    finally:
        client.close()


def count(client, name="S"):
    """Number of photos in a training set, 0 while there is none."""
    with suppress(ApiError):
        return sum(sum(one.counts) for one in client.training_sets() if one.name == name)
    return 0


def labels(client, name="S"):
    found = next(one for one in client.training_sets() if one.name == name)
    return found.id, dict(zip(found.labels, found.counts, strict=True))


def kill(running):
    running.process.kill()
    running.process.wait()


# --- the service dies, or has no room


def test_an_import_says_why_it_waits_ends_and_the_same_command_goes_on(start, port, photos, tmp_path):
    total = len(list((photos / "train").glob("*/*.jpg")))
    words = ("import", photos / "train", "--name", "S", "--patience", "3")
    with service(tmp_path / "data", port) as running:
        begun = start(*words)
        until(lambda: count(running.client) > 30, progress=lambda: count(running.client))
        kill(running)
        status, out, err = begun.end()
    assert status == 1
    assert err.count("Nothing answers at 127.0.0.1") == err.count("Waiting, for 3 s at most.") == 1, err
    assert "Nothing moved for 3 s. The same command goes on where it was." in err
    assert "did not come in yet: Nothing answers at" in out and "Run the same command to go on." in out
    with service(tmp_path / "data", port) as running:
        status, out, err = start(*words).end()
        assert (status, err) == (0, "")
        assert count(running.client) == total


def test_a_service_that_comes_back_is_gone_on_with_and_that_is_said(start, port, photos, tmp_path):
    with service(tmp_path / "data", port) as running:
        begun = start("import", photos / "train", "--name", "S")
        until(lambda: count(running.client) > 30, progress=lambda: count(running.client))
        kill(running)
        until(lambda: "Waiting, for 5 min at most." in begun.said())
    with service(tmp_path / "data", port) as running:
        status, _out, err = begun.end()
        assert status == 0, err
        assert err.endswith("Going on.\n") and err.count("Going on.") == 1
        assert count(running.client) == len(list((photos / "train").glob("*/*.jpg")))


def test_an_import_names_the_full_disk_of_the_service(start, port, photos, tmp_path):
    words = ("import", photos / "train", "--name", "S", "--patience", "3", "--json")
    with tmpfs(tmp_path / "disk", "64m") as disk, service(disk / "data", port) as running:
        begun = start(*words)
        until(lambda: count(running.client) > 30, progress=lambda: count(running.client))
        filling = fill(disk)
        status, out, err = begun.end()
        assert status == 1
        assert err.count("There is no room left on the disk") == 1, err
        report = json.loads(out)
        assert report["left"] and "no room left" in report["notes"][-1]
        filling.unlink()
        status, out, err = start(*words).end()
        assert (status, err) == (0, "")


@pytest.mark.parametrize("export_format", ["imagefolder", "csv"])
def test_an_export_says_why_it_waits_and_ends(start, port, photos, tmp_path, export_format):
    with service(tmp_path / "data", port) as running:
        assert start("import", photos / "train", "--name", "S").end()[0] == 0
        words = ("export", "S", tmp_path / "out", "--format", export_format, "--patience", "3")
        begun = start(*words)
        until(lambda: len(list((tmp_path / "out").rglob("*[0-9a-z]"))) > 30)
        kill(running)
        status, out, err = begun.end()
        assert status == 1
        assert err.count("Waiting, for 3 s at most.") >= 1 and "Nothing answers at" in err, err
        if export_format == "imagefolder":
            assert "not exported yet: Nothing answers at" in out and "Run the same command to go on." in out
    with service(tmp_path / "data", port):
        status, out, err = start(*words).end()
        assert (status, err) == (0, "")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == len(list((photos / "train").glob("*/*.jpg")))


def test_an_export_as_a_table_goes_on_when_the_service_comes_back(start, port, photos, tmp_path):
    with service(tmp_path / "data", port) as running:
        assert start("import", photos / "train", "--name", "S").end()[0] == 0
        begun = start("export", "S", tmp_path / "out", "--format", "csv")
        until(lambda: len(list((tmp_path / "out").rglob("*[0-9]"))) > 30)
        kill(running)
        until(lambda: "Waiting, for 5 min at most." in begun.said())
    with service(tmp_path / "data", port):
        status, out, err = begun.end()
    assert status == 0 and err.endswith("Going on.\n"), out + err
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == len(list((photos / "train").glob("*/*.jpg")))


def test_a_classification_waits_for_the_service_says_so_and_ends(start, port, photos, tmp_path):
    files = sorted((photos / "train").glob("*/*.jpg"))
    words = ("classify", *files, "--classifier", "safe-for-work", "--json")
    with service(tmp_path / "data", port) as running:
        begun = start(*words)
        until(lambda: begun.out.read_bytes().count(b"\n") > 5)
        kill(running)
        until(lambda: "Waiting, for 5 min at most." in begun.said())
    with service(tmp_path / "data", port) as running:
        until(lambda: "Going on." in begun.said())
        status, out, err = begun.end()
        assert status == 0, err
        assert [row["image"] for row in map(json.loads, out.splitlines())] == list(map(str, files))
        begun = start(*words, "--patience", "2")
        until(lambda: begun.out.read_bytes().count(b"\n") > 5)
        kill(running)
        status, out, err = begun.end()
    assert status == 1
    assert "Waiting, for 2 s at most." in err and "Nothing moved for 2 s" in err
    assert len(out.splitlines()) == len(files)
    assert any("error" in json.loads(line) for line in out.splitlines())


def rows_in_part(folder):
    """Number of answers in a table that is being written."""
    return sum(part.read_bytes().count(b"\n") - 1 for part in folder.glob(".*.part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_classification_keeps_its_answers_and_says_how_many(start, port, photos, tmp_path, number):
    files = sorted((photos / "train").glob("*/*.jpg"))
    table = tmp_path / "answers.csv"
    with service(tmp_path / "data", port):
        begun = start("classify", *files, "--classifier", "safe-for-work", "--csv", table)
        until(lambda: rows_in_part(tmp_path) > 0)
        begun.process.send_signal(number)
        if number != signal.SIGINT:  # as `timeout` sends it twice
            begun.process.send_signal(number)
        status, _, err = begun.end()
        assert status == 128 + number and not list(tmp_path.glob(".*.part"))
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert 0 < len(rows) < len(files) and all(row["label"] for row in rows)
        assert [row["image"] for row in rows] == [str(file) for file in files[: len(rows)]]
        assert err == f"Stopped: {len(rows)} of {len(files)} photos were classified; the answers are in {table}.\n"


def test_below_nohup_a_closed_terminal_ends_nothing(start, port, photos, tmp_path):
    files = sorted((photos / "train").glob("*/*.jpg"))[:20]
    table = tmp_path / "answers.csv"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with service(tmp_path / "data", port):
            begun = start("classify", *files, "--classifier", "safe-for-work", "--csv", table)
            until(lambda: rows_in_part(tmp_path) > 0)
            begun.process.send_signal(signal.SIGHUP)
            assert begun.end()[::2] == (0, "")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(list(csv.DictReader(table.read_text().splitlines()))) == len(files)


def test_a_closed_terminal_leaves_the_answers(port, home, photos, tmp_path):
    files = sorted((photos / "train").glob("*/*.jpg"))
    table = tmp_path / "answers.csv"
    with service(tmp_path / "data", port):
        child, terminal = pty.fork()
        if not child:
            words = ["classify", *files, "--classifier", "safe-for-work", "--csv", table]
            environment = {"APITORCH_BASE_URL": f"http://127.0.0.1:{port}/api/", "APITORCH_API_KEY": KEY}
            os.execve(
                sys.executable,
                [sys.executable, "-m", "apitorch_desktop", *map(str, words)],
                os.environ | environment,
            )
        until(lambda: rows_in_part(tmp_path) > 0)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    assert 0 < len(list(csv.DictReader(table.read_text().splitlines()))) < len(files)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("export_format", ["zip", "csv"])
def test_an_export_that_is_ended_leaves_nothing_beside(start, port, photos, tmp_path, number, export_format):
    with service(tmp_path / "data", port) as running:
        assert start("import", photos / "train", "--name", "S").end()[0] == 0
        assert count(running.client)
        begun = start("export", "S", tmp_path / "out", "--format", export_format)
        until(lambda: len(list((tmp_path / "out").rglob("*[0-9a-z]"))) > 30)
        begun.process.send_signal(number)
        assert begun.end()[0] == 128 + number
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_keeps_the_answers_that_fit_or_is_waited_for(start, port, photos, tmp_path):
    files = sorted((photos / "train").glob("*/*.jpg"))[:80]  # whose table has more than 8 and less than 56 KiB
    words = ("classify", *files, "--classifier", "safe-for-work")
    with tmpfs(tmp_path / "disk", "64k") as disk, service(tmp_path / "data", port):
        (disk / "other").write_bytes(bytes(56 * 1024))
        table = disk / "a.csv"
        status, _out, err = start(*words, "--csv", table, "--patience", "1").end()
        assert status == 1
        text = table.read_text()
        rows = list(csv.DictReader(text.splitlines()))
        assert 0 < len(rows) < len(files) and text.endswith("\n") and all(row["label"] for row in rows)
        assert [row["image"] for row in rows] == [str(file) for file in files[: len(rows)]]
        assert f"Stopped: {len(rows)} of {len(files)} photos were classified; the answers are in {table}.\n" in err
        assert "no space left on device. Make room there, then classify again." in err
        status, _out, err = start(*words, "--csv", table).end()
        assert status == 1 and "Make room there" in err and table.read_text() == text
        table.unlink()
        begun = start(*words, "--csv", table)
        until(lambda: f"There is no room left for “{table}”: make some. Waiting" in begun.said())
        (disk / "other").unlink()
        status, _out, err = begun.end()
        assert status == 0 and err.endswith("Going on.\n"), err
        assert len(list(csv.DictReader(table.read_text().splitlines()))) == len(files)


def test_a_limit_of_the_size_of_files_keeps_the_answers_that_fit(start, port, photos, tmp_path):
    files = sorted((photos / "train").glob("*/*.jpg"))
    table = tmp_path / "a.csv"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with service(tmp_path / "data", port):
        begun = start("classify", *files, "--classifier", "safe-for-work", "--csv", table)
        resource.prlimit(begun.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
        status, _out, err = begun.end()
    assert status == 1 and "Make room there" in err
    assert 0 < len(table.read_text().splitlines()) - 1 < len(files) and table.read_text().endswith("\n")


@pytest.mark.parametrize("loaded", ["apitorch_desktop.utils.errors", "apitorch_desktop.api.errors", "argparse"])
def test_interrupted_while_its_modules_are_loaded_it_ends_without_a_trace(home, photos, loaded):
    words = ["-X", "importtime", "-m", "apitorch_desktop", "import", str(photos / "train"), "--dry-run"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as starting:
        for line in starting.stderr:  # one a module
            if line.split()[-1].decode() == loaded:
                break
        starting.send_signal(signal.SIGINT)
        rest = starting.stderr.read()
    assert starting.returncode == 130
    assert b"Traceback" not in rest, rest[-2000:].decode()


# --- what an earlier run left


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_photos_that_an_earlier_run_left_are_counted_as_they_come(start, port, photos, tmp_path, form):
    words = ("import", photos / "train", "--name", "S", *form)
    with service(tmp_path / "data", port) as running:
        begun = start(*words)
        until(lambda: count(running.client) > 30, progress=lambda: count(running.client))
        begun.process.send_signal(signal.SIGINT)
        assert begun.end()[0] == 130
        before = count(running.client)
        status, out, err = start(*words).end()
        assert (status, err) == (0, "")
        total = count(running.client)
    assert total == len(list((photos / "train").glob("*/*.jpg")))
    if form:
        report = json.loads(out)
        assert (report["imported"], report["there_already"]) == (total - before, before)
        assert sum(report["labels"].values()) == total - before
    else:
        assert f"{total - before} photos came into “S”" in out
        assert f"{before} photos were there already." in out


def test_what_was_deleted_since_an_earlier_run_is_sent_again(start, port, photos, tmp_path):
    words = ("import", photos / "train", "--name", "S")
    total = len(list((photos / "train").glob("*/*.jpg")))
    with service(tmp_path / "data", port) as running:
        begun = start(*words)
        until(lambda: count(running.client) > 80, progress=lambda: count(running.client))
        begun.process.send_signal(signal.SIGINT)
        begun.end()
        number, counts = labels(running.client)
        label = max(counts, key=lambda one: counts[one])
        running.client.delete_label(number, label)
        before = count(running.client)
        status, out, err = start(*words).end()
        assert (status, err) == (0, "")
        assert count(running.client) == total
    assert f"{total - before} photos came into “S”" in out
    assert f"{before} photos were there already." in out
