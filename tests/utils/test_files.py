import ctypes
import errno
import os
import sys
from pathlib import Path

import pytest

from apitorch_desktop.utils import files as syncing
from apitorch_desktop.utils.files import atomic_write, fsync_folder, private_folder, sync, try_lock


@pytest.fixture
def files(tmp_path):
    made = [tmp_path / label / f"{number}.jpg" for label in ("dress", "hat") for number in range(4)]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return made


@pytest.fixture
def synced(monkeypatch):
    """The paths that are synced one by one."""
    found, fsync = [], os.fsync

    def traced(handle):
        found.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", traced)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is Linux’s")
def test_many_files_take_one_call_a_file_system(files, synced, monkeypatch):
    real, calls = syncing._syncfs(), []
    monkeypatch.setattr(syncing, "_syncfs", lambda: lambda handle: (calls.append(handle), real(handle)))
    sync(files)
    assert len(calls) == 1
    assert synced == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("why", ["few", "no syncfs"])
def test_else_every_file_and_folder_is_synced(files, synced, monkeypatch, why):
    if why == "few":
        files = files[2:6]
    else:
        monkeypatch.setattr(syncing, "_syncfs", lambda: None)
    sync(files)
    assert sorted(synced) == sorted(map(str, {*files, *(path.parent for path in files)}))


def test_a_missing_file_is_an_error_or_passed_over(files):
    files[3].unlink()
    with pytest.raises(FileNotFoundError, match=r"3\.jpg"):
        sync(files)
    sync(files, missing_ok=True)
    sync([], missing_ok=True)


@pytest.mark.skipif(syncing._syncfs() is None, reason="there is no syncfs here")
def test_a_failure_of_the_disk_is_an_error(files, monkeypatch):
    syncfs = syncing._syncfs()
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        syncfs(-1)
    monkeypatch.setattr(syncing, "_syncfs", lambda: lambda _handle: syncfs(-1))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync(files)


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / ("n" * 251 + ".csv")
    path.write_text("old")
    with atomic_write(path) as part, part.open("x", encoding="utf-8") as file:
        file.write("new")
        assert part.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_exception_the_old_file_stays_and_no_part_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")

    def broken():
        with atomic_write(path) as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "nothing"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX’s")
def test_permissions_hold_from_the_first_byte(tmp_path):
    path = tmp_path / "key"
    with atomic_write(path, mode=0o600) as part:
        assert part.stat().st_mode & 0o777 == 0o600
        part.write_text("secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "secret"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_is_synced_before_its_folder_or_not_at_all(tmp_path, synced):
    with atomic_write(tmp_path / "fast", durable=False) as part:
        part.write_bytes(b"x")
    assert synced == []
    with atomic_write(tmp_path / "safe") as part:
        part.write_bytes(b"x")
    assert synced == [str(part), str(tmp_path)]
    fsync_folder(tmp_path)
    assert synced[2:] == [str(tmp_path)]


def test_a_lock_has_one_owner(tmp_path):
    path = tmp_path / "locks" / "7.lock"
    lock = try_lock(path)
    assert lock is not None
    assert try_lock(path) is None
    lock.release()
    again = try_lock(path)
    assert again is not None
    again.release()


def test_a_private_folder_is_its_owners_alone_with_all_that_was_in_it(tmp_path):
    folder = tmp_path / "desktop"
    (folder / "trash").mkdir(parents=True)
    (folder / "trash" / "photo").write_bytes(b"")
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    (folder / "link").symlink_to(outside)
    for path in (folder, folder / "trash"):
        path.chmod(0o755)
    (folder / "trash" / "photo").chmod(0o644)
    outside.chmod(0o644)
    private_folder(folder)
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (folder, folder / "trash", folder / "trash" / "photo", outside)
    }
    assert modes == {"desktop": 0o700, "trash": 0o700, "photo": 0o600, "outside": 0o644}


def test_a_file_that_is_open_for_a_moment_is_renamed_all_the_same_on_windows(tmp_path, monkeypatch):
    part, target, refused = tmp_path / "part", tmp_path / "target", []
    part.write_text("new")
    target.write_text("old")
    replace = Path.replace

    def busy(path, to):
        if len(refused) < 3:
            refused.append(path)
            raise PermissionError(13, "Access is denied", str(path))
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr(syncing.sys, "platform", "win32")
    monkeypatch.setattr(syncing, "sleep", lambda _seconds: None)
    syncing.move_into_place(part, target)
    assert target.read_text() == "new" and not part.exists() and len(refused) == 3

    part.write_text("newer")
    refused.clear()
    monkeypatch.setattr(syncing.sys, "platform", "linux")
    with pytest.raises(PermissionError):
        syncing.move_into_place(part, target)
    assert target.read_text() == "new" and len(refused) == 1
