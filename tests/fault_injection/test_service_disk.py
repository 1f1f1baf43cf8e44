"""`serve` on a full disk and on a read-only one: 507 or a sentence at the start, nothing lost, service again with room."""

import io
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.mounts import fill, read_only, tmpfs
from tests.helpers.on_disk import on_disk, orphans
from tests.helpers.service_process import KEY, Service, run, serving
from tests.helpers.waiting import until


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", "64m") as folder:
        yield folder


def _picture(seed: int, side: int) -> bytes:
    """Some 3 × side² bytes."""
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(3 * side * side)).save(file, "BMP")
    return file.getvalue()


def _upload(served: Service, number: int, seed: int, side: int = 16):
    files = {"image": ("a.bmp", _picture(seed, side))}
    return served.call("POST", f"training-set/{number}/a/image", files=files)


def _ids(served: Service, number: int) -> set[str]:
    listed = served.call("GET", f"training-set/{number}/images").json()["data"]
    return {image["id"] for group in listed for image in group["images"]}


def _is_full(answer) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.json()["object"] == "error"
    assert answer.json()["type"] == "storage_full"
    assert "no room left" in answer.json()["message"]


def test_a_full_disk_is_507_and_there_is_service_again_when_there_is_room(disk: Path):
    kept: list[str] = []
    with serving(disk / "data", key=KEY) as served:
        number = served.call("POST", "training-sets", json={"name": "Full"}).json()["id"]
        for seed in range(100):
            answer = _upload(served, number, seed, 700)
            if answer.status_code != 200:
                break
            kept.append(answer.json()["id"])
        _is_full(answer)
        filling = fill(disk)
        _is_full(_upload(served, number, 1000))
        _is_full(
            served.call("POST", "classify", data={"classifiers[]": "design-score"}, files={"image": _picture(1, 16)})
        )
        assert served.call("GET", "ping").status_code == 200
        assert _ids(served, number) == set(kept)
        gone, kept = kept[:5], kept[5:]
        answer = served.call("POST", f"training-set/{number}/images/delete", json={"image_ids": gone})
        assert answer.status_code == 200, answer.text
        assert _ids(served, number) == set(kept)
        filling.unlink()
        answer = _upload(served, number, 1001)
        assert answer.status_code == 200, answer.text
        kept.append(answer.json()["id"])
        served.end(signal.SIGKILL)
    with serving(disk / "data", key=KEY) as served:
        until(lambda: not orphans(disk / "data"), "the quarantine")
        assert set(on_disk(disk / "data")) == _ids(served, number) == set(kept)
        assert served.end()[0] == 0


def test_a_service_starts_on_a_full_disk_so_that_one_can_delete(disk: Path):
    with serving(disk / "data", key=KEY) as served:
        number = served.call("POST", "training-sets", json={"name": "Full"}).json()["id"]
        ids = [_upload(served, number, seed, 700).json()["id"] for seed in range(10)]
        served.end(signal.SIGKILL)
    filling = fill(disk)
    with serving(disk / "data", key=KEY) as served:
        assert _ids(served, number) == set(ids)
        for image in ids[:5]:
            answer = served.call("DELETE", f"training-image/{image}")
            assert answer.status_code == 200, answer.text
        filling.unlink()
        assert _upload(served, number, 1000).status_code == 200
        assert len(on_disk(disk / "data")) == 6
        status, _, err = served.end()
    assert status == 0
    assert "Traceback" not in err


def test_no_room_for_a_new_folder_is_one_sentence(disk: Path):
    fill(disk)
    _refused(disk / "data", "no room left")


def test_a_read_only_folder_is_one_sentence_and_nothing_is_lost(disk: Path):
    with serving(disk / "data", key=KEY) as served:
        number = served.call("POST", "training-sets", json={"name": "Kept"}).json()["id"]
        image = _upload(served, number, 1).json()["id"]
        served.end()
    read_only(disk, True)
    try:
        _refused(disk / "data", "read-only")
        _refused(disk / "new", "read-only")
    finally:
        read_only(disk, False)
    with serving(disk / "data", key=KEY) as served:
        assert _ids(served, number) == {image}
        assert _upload(served, number, 2).status_code == 200


def _refused(folder: Path, words: str) -> None:
    done = run("serve", "--port", "0", "--data", str(folder), key=KEY)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert words in line
    assert str(folder.parent) in line
