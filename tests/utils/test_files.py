import ctypes
import errno
import os
import sys
from pathlib import Path

import pytest

from apitorch_desktop.utils import files as syncing
from apitorch_desktop.utils.files import sync


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
