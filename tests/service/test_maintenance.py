"""`service check`, `backup`, `restore` and `adopt`: on a folder at rest, and beside a service that runs."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from apitorch_desktop.service import maintenance
from apitorch_desktop.service.maintenance import MaintenanceError
from apitorch_desktop.service.storage.errors import InUse
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.utils.files import try_lock
from tests.helpers.mounts import fill, tmpfs
from tests.helpers.on_disk import on_disk
from tests.helpers.service_process import COMMAND, KEY, run, serving
from tests.helpers.stores import ME, add, add_many, files, sweep_released
from tests.helpers.stress_clients import CONTENTS
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "data") as store:
        number = store.training_sets.create(ME, "Zebras").id
        add_many(store, number, "a", [f"image {i}".encode() for i in range(20)])
    return tmp_path / "data"


def image_path(folder: Path) -> Path:
    return min((folder / "images").glob("?/*"))


def contents(backup: Path) -> dict[str, bytes]:
    return {str(path.relative_to(backup)): path.read_bytes() for path in backup.rglob("*") if path.is_file()}


def test_a_folder_in_order_is_reported_so(folder):
    for hashes in (True, False):
        (finding,) = maintenance.check(folder, hashes=hashes)
        assert "20 images" in finding.sentence
        assert not finding.advice


def test_check_names_what_is_missing_damaged_or_unknown_and_what_to_do(folder):
    missing, damaged = sorted((folder / "images").glob("?/*"))[:2]
    missing.unlink()
    damaged.write_bytes(b"rotten")
    (folder / "images" / "f" / ("f" * 64)).write_bytes(b"stray")
    findings = maintenance.check(folder)
    assert all(finding.advice for finding in findings)
    text = " ".join(finding.sentence for finding in findings)
    assert f"the file is gone: {missing.name}" in text
    assert f"not in the database: {'f' * 64}" in text
    assert damaged.name in text
    assert damaged.name not in " ".join(finding.sentence for finding in maintenance.check(folder, hashes=False))


def test_what_a_check_finds_an_import_sends_again(tmp_path, picture):
    photos = tmp_path / "photos" / "dress"
    photos.mkdir(parents=True)
    for number in range(4):
        (photos / f"{number}.jpg").write_bytes(picture(number))
    with serving(tmp_path / "data", key=KEY) as service:

        def command(*words: str) -> str:
            at = {"APITORCH_BASE_URL": service.url, "APITORCH_DESKTOP_HOME": str(tmp_path / "home")}
            return run(*words, key=KEY, **at).stdout

        add_photos = ("import", str(photos.parent), "--name", "Clothes")
        check_data = ("service", "--data", str(tmp_path / "data"), "check")
        assert "4 photos came" in command(*add_photos)
        missing, empty, rotten, _ = sorted((tmp_path / "data" / "images").glob("?/*"))
        missing.unlink()
        empty.write_bytes(b"")
        rotten.write_bytes(rotten.read_bytes()[:-1] + b"?")
        assert "2 images are damaged" in command(*check_data)
        assert "4 photos were there already" in command(*add_photos)
        assert "All is well: 4 images" in command(*check_data)


def test_check_finds_a_damaged_page_and_advises_a_restore(folder):
    with (folder / "store.db").open("r+b") as file:
        for page in range(2, 12):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    findings = maintenance.check(folder)
    assert "damaged" in findings[0].sentence
    assert "service restore" in findings[0].advice


@pytest.mark.parametrize("action", ["check", "backup", "adopt"])
def test_there_has_to_be_a_service_to_maintain(tmp_path, action):
    target = [str(tmp_path / "target")] * (action == "backup")
    refused = run("service", "--data", str(tmp_path / "typo"), action, *target)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no data of a service" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_backup_is_restored_with_every_image_and_the_next_start_keeps_newer_ones(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    with Store.open(folder) as store:
        number = store.training_sets.all(ME)[0].id
        newer = add(store, number, "b", b"newer")
    image_path(folder).unlink()
    sentence = maintenance.restore(tmp_path / "backup", folder)
    assert "20 images" in sentence
    assert "replaced-" in sentence
    with Store.open(folder) as store:
        assert sum(store.training_sets.all(ME)[0].counts) == 20
        assert all(store.read(row.sha256) for row in store.images.page(ME, number).images)
        assert set(store.sweeper.quarantined()) == {newer.sha256}


def test_a_backup_is_restored_into_a_new_folder(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    shutil.rmtree(folder)
    maintenance.restore(tmp_path / "backup", folder)
    assert maintenance.check(folder)[0].sentence.startswith("All is well: 20 images")


def test_a_backup_is_brought_up_to_date(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    with Store.open(folder) as store:
        row = store.training_sets.all(ME)[0]
        store.images.delete(ME, store.images.page(ME, row.id).images[0].id)
        add(store, row.id, "b", b"newer")
    maintenance.backup(folder, tmp_path / "backup")
    assert files(tmp_path / "backup") == files(folder)
    assert not list((tmp_path / "backup").glob("store.db-*"))


def test_a_backup_of_another_database_is_left_as_it_is(folder, tmp_path):
    backup = tmp_path / "backup"
    maintenance.backup(folder, backup)
    before = contents(backup)
    Store.open(tmp_path / "new").close()
    for hidden in ((), ("backup.json",), ("store.db",)):  # either of the two shows whose it is
        for name in hidden:
            (backup / name).write_bytes(b"nonsense")
        refused = run("service", "--data", str(tmp_path / "new"), "backup", str(backup))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "another database" in refused.stderr
        assert "service restore" in refused.stderr
        assert {**contents(backup), **{name: before[name] for name in hidden}} == before
        for name in hidden:
            (backup / name).write_bytes(before[name])


def test_a_backup_loses_most_of_its_images_only_when_told_so(folder, tmp_path):
    backup = tmp_path / "backup"
    maintenance.backup(folder, backup)
    before = contents(backup)
    with Store.open(folder) as store:
        row = store.training_sets.all(ME)[0]
        images = store.images.page(ME, row.id).images
        store.images.delete_many(ME, row.id, [image.id for image in images[:11]])
        sweep_released(store)
    refused = run("service", "--data", str(folder), "backup", str(backup))
    assert refused.returncode == 1
    assert "11 of the 20 images" in refused.stderr
    assert "--remove-images" in refused.stderr
    assert contents(backup) == before
    done = run("service", "--data", str(folder), "backup", str(backup), "--remove-images")
    assert (done.returncode, done.stderr) == (0, "")
    assert files(backup) == {image.sha256 for image in images[11:]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a file that is never read to its end keeps a backup waiting")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_backup_that_was_interrupted_goes_on(folder, tmp_path, number):
    backup, command = tmp_path / "backup", ("service", "--data", str(folder), "backup", str(tmp_path / "backup"))
    last = max((folder / "images").glob("?/*"))
    data = last.read_bytes()
    last.unlink()
    os.mkfifo(last)
    with subprocess.Popen(
        [*COMMAND, *command], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: backup.is_dir() and len(files(backup)) >= 19)
            process.send_signal(number)
            assert process.wait(PATIENCE) != 0
        finally:
            process.kill()
    last.unlink()
    last.write_bytes(data)
    unfinished = run("service", "--data", str(tmp_path / "new"), "restore", str(backup))
    assert unfinished.returncode == 1
    assert "interrupted" in unfinished.stderr
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert files(backup) == files(folder)
    assert {path.name for path in backup.iterdir()} == {"backup.json", "images", "lock", "store.db"}
    run("service", "--data", str(tmp_path / "new"), "restore", str(backup)).check_returncode()


def test_one_backup_is_made_in_a_folder_at_a_time(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    lock = try_lock(tmp_path / "backup" / "lock")
    with pytest.raises(MaintenanceError, match="Another backup"):
        maintenance.backup(folder, tmp_path / "backup")
    lock.release()
    maintenance.backup(folder, tmp_path / "backup")


@pytest.mark.parametrize("database", [True, False])
def test_a_backup_onto_a_full_disk_names_it_and_goes_on_when_there_is_room(folder, tmp_path, database):
    with tmpfs(tmp_path / "disk", "1m") as disk:
        command = ("service", "--data", str(folder), "backup", str(disk / "backup"))
        if not database:
            with Store.open(folder) as store:
                add(store, store.training_sets.all(ME)[0].id, "a", bytes(600_000))
        filling = fill(disk)
        os.truncate(filling, filling.stat().st_size - (100_000 if database else 500_000))
        full = run(*command)
        assert full.returncode == 1
        assert f"There is no room left on the disk of “{disk / 'backup'}”" in full.stderr
        assert "check" not in full.stderr
        filling.unlink()
        done = run(*command)
        assert (done.returncode, done.stderr) == (0, "")
        assert files(disk / "backup") == files(folder)


def test_a_backup_says_which_images_it_could_not_copy(folder, tmp_path):
    lost = image_path(folder)
    lost.write_bytes(b"rotten")
    with pytest.raises(MaintenanceError, match=lost.name):
        maintenance.backup(folder, tmp_path / "backup")
    assert len(files(tmp_path / "backup")) == 19


@pytest.mark.parametrize("target", ["inside", "full"])
def test_a_backup_overwrites_nothing(folder, tmp_path, target):
    place = {"inside": folder / "backup", "full": tmp_path / "full"}[target]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(MaintenanceError):
        maintenance.backup(folder, place)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["diary.txt"]


def test_a_restore_needs_a_backup_of_the_same_database_and_no_service(folder, tmp_path):
    with pytest.raises(MaintenanceError, match="no backup"):
        maintenance.restore(tmp_path, folder)
    maintenance.backup(folder, tmp_path / "backup")
    with Store.open(folder), pytest.raises(InUse):
        maintenance.restore(tmp_path / "backup", folder)
    with Store.open(tmp_path / "other") as store:
        add(store, store.training_sets.create(ME, "Other").id, "a", b"other")
    with pytest.raises(MaintenanceError, match="another database"):
        maintenance.restore(tmp_path / "backup", tmp_path / "other")
    with Store.open(tmp_path / "other") as store:
        assert store.training_sets.all(ME)[0].name == "Other"


@pytest.mark.parametrize(("newer", "sentence"), [(100, "older than 100 images"), (2, "2 images in “{}” are not in")])
def test_after_an_older_database_was_put_back_restore_and_start_say_what_to_do(folder, tmp_path, newer, sentence):
    maintenance.backup(folder, tmp_path / "backup")
    with Store.open(folder) as store:
        add_many(store, store.training_sets.all(ME)[0].id, "b", [f"newer {i}".encode() for i in range(newer)])
    restored = run("service", "--data", str(folder), "restore", str(tmp_path / "backup"))
    assert restored.returncode == 0
    assert f"{newer} images beside it are not in this backup" in restored.stdout
    assert "service adopt" in restored.stdout
    with serving(folder, key=KEY) as service:
        until(lambda: "service adopt" in service.log)
        assert sentence.format(folder) in service.log
        assert re.search(r"Nothing is removed before \d{4}-\d\d-\d\d\.", service.log)
        assert "stop the service" in service.log


def test_a_restore_onto_a_full_disk_leaves_the_database_that_is_there(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    with tmpfs(tmp_path / "disk", "1m") as disk:
        data = disk / "data"
        run("service", "--data", str(data), "restore", str(tmp_path / "backup")).check_returncode()
        (data / ".1-0123456789ab.part").write_bytes(b"of a restore that was killed")
        filling = fill(disk)
        full = run("service", "--data", str(data), "restore", str(tmp_path / "backup"))
        assert full.returncode == 1
        assert "no room left" in full.stderr
        assert run("service", "--data", str(data), "check").returncode == 0
        filling.unlink()
        run("service", "--data", str(data), "restore", str(tmp_path / "backup")).check_returncode()
        assert not list(data.glob(".*"))


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_what_maintenance_makes_is_private(folder, tmp_path):
    umask = os.umask(0o022)
    try:
        backup, restored, earlier = tmp_path / "backup", tmp_path / "restored", tmp_path / "earlier"
        backup.mkdir(mode=0o755)
        run("service", "--data", str(folder), "backup", str(backup)).check_returncode()
        shutil.copytree(backup, earlier)
        for path in (earlier, *earlier.rglob("*")):  # as made by an earlier version
            path.chmod(0o755 if path.is_dir() else 0o644)
        run("service", "--data", str(folder), "backup", str(earlier)).check_returncode()
        run("service", "--data", str(restored), "restore", str(backup)).check_returncode()
        (restored / "images" / "f" / ("f" * 64)).write_bytes(b"no image")
        (restored / "images" / "f" / ("f" * 64)).chmod(0o600)
        run("service", "--data", str(restored), "adopt").check_returncode()
        run("keys", "--data", str(tmp_path / "keys"), "make", "Ann").check_returncode()
    finally:
        os.umask(umask)
    for place in (backup, earlier, restored, tmp_path / "keys"):
        for path in (place, *place.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_restore_counts_what_came_back_and_fails_where_images_did_not(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    gone, rotten = sorted((tmp_path / "backup" / "images").glob("?/*"))[:2]
    gone.unlink()
    rotten.write_bytes(b"rotten")
    done = run("service", "--data", str(tmp_path / "new"), "restore", str(tmp_path / "backup"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "18 images and the database are back" in done.stderr
    assert f"2 images are missing or damaged in the backup: {gone.name}, {rotten.name}" in done.stderr
    with Store.open(tmp_path / "new") as store:
        assert sum(store.training_sets.all(ME)[0].counts) == 20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("PRAGMA user_version = 99999", "newer version"),
        ("DROP TABLE versions", "none of this service"),
        ("ALTER TABLE training_sets DROP COLUMN encoder", "none of this service"),
        ("DELETE FROM meta", "none of this service"),
        ("UPDATE blobs SET sha256 = '../../etc/passwd' WHERE sha256 = (SELECT min(sha256) FROM blobs)", "none of this"),
        ("", "none of this service"),
    ],
)
def test_a_restore_takes_only_a_database_that_the_service_opens(folder, tmp_path, change, sentence):
    maintenance.backup(folder, tmp_path / "backup")
    if not change:
        (tmp_path / "backup" / "store.db").unlink()
        change = "CREATE TABLE blobs (sha256); CREATE TABLE meta (name, value); INSERT INTO meta VALUES ('id', x'00')"
    with closing(sqlite3.connect(tmp_path / "backup" / "store.db")) as database:
        database.executescript(change)
    before = contents(folder)
    for data in (folder, tmp_path / "new"):
        refused = run("service", "--data", str(data), "restore", str(tmp_path / "backup"))
        assert refused.returncode == 1
        assert sentence in refused.stderr
    assert contents(folder) == before
    assert not (tmp_path / "new").exists()


def test_a_database_of_an_earlier_version_is_restored(folder, tmp_path):
    maintenance.backup(folder, tmp_path / "backup")
    with closing(sqlite3.connect(tmp_path / "backup" / "store.db")) as database:
        database.executescript("DROP TABLE deleted_images; PRAGMA user_version = 8")
    maintenance.restore(tmp_path / "backup", tmp_path / "new")
    with Store.open(tmp_path / "new") as store:
        assert sum(store.training_sets.all(ME)[0].counts) == 20


def test_check_names_a_database_of_a_newer_version(folder):
    with closing(sqlite3.connect(folder / "store.db")) as database:
        database.execute("PRAGMA user_version = 99999")
    checked = run("service", "--data", str(folder), "check")
    assert checked.returncode == 1
    assert "made by a newer version" in checked.stdout


def test_an_upload_that_goes_on_is_no_finding(tmp_path):
    data, stop = tmp_path / "data", threading.Event()
    with serving(data, key=KEY) as service:
        number = service.new_set()

        def change(label: str, names: list[str]) -> None:
            while not stop.is_set():
                for name in names:
                    image = service.upload(number, label, CONTENTS[name]).json()["id"]
                    service.call("DELETE", f"training-image/{image}")

        names = list(CONTENTS)
        threads = [threading.Thread(target=change, args=(f"{i}", names[i::3])) for i in range(3)]
        for thread in threads:
            thread.start()
        stray = data / "images" / "f" / ("f" * 64)
        stray.write_bytes(b"its row is on its way")
        try:
            for _ in range(2):
                (finding,) = maintenance.check(data)
                assert finding.sentence.startswith("All is well")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        os.utime(stray, (time.time() - 120, time.time() - 120))
        (finding,) = maintenance.check(data)
        assert "1 image is stored, but not in the database: ffff" in finding.sentence


def test_beside_a_running_service_backup_check_and_adoption(tmp_path):
    data = tmp_path / "data"
    names = list(CONTENTS)
    with serving(data, key=KEY) as service:
        number = service.new_set()
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                image = service.upload(number, "a", CONTENTS[names[0]]).json()["id"]
                service.upload(number, "b", CONTENTS[names[1]])
                service.call("DELETE", f"training-image/{image}")

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(3):
                assert run("service", "--data", str(data), "backup", str(tmp_path / "backup")).returncode == 0
                on_disk(tmp_path / "backup")
        finally:
            stop.set()
            thread.join()
        checked = run("service", "--data", str(data), "check")
        assert (checked.returncode, checked.stderr) == (0, "")
        assert checked.stdout.startswith("All is well")
        for name in names[2:6]:
            service.upload(number, "c", CONTENTS[name])
        refused = run("service", "--data", str(data), "restore", str(tmp_path / "backup"))
        assert refused.returncode == 1
        assert "Stop it first" in refused.stderr
        assert service.end()[0] == 0
    assert run("service", "--data", str(data), "restore", str(tmp_path / "backup")).returncode == 0
    checked = run("service", "--data", str(data), "check", "--fast")
    assert checked.returncode == 1
    assert "service adopt" in checked.stdout
    adopted = run("service", "--data", str(data), "adopt")
    assert "4 images are in the training set “Recovered images” now." in adopted.stdout
    assert run("service", "--data", str(data), "check").returncode == 0
