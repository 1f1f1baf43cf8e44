"""Files that a kill left in the folder or bucket are in quarantine after the next start of `serve`; acknowledged ones stay."""

import hashlib
import signal
from pathlib import Path

import pytest

from tests.helpers.on_disk import on_disk, quarantined
from tests.helpers.service_process import KEY, Service, serving
from tests.helpers.stress_clients import CONTENTS
from tests.helpers.waiting import until


def _changed(service: Service, contents: list[bytes]) -> tuple[int, dict[str, tuple[str, bytes]]]:
    """A training set after uploads, a move and a delete: what must be there, by id, is label and content."""
    number = service.new_set()
    images = {service.upload(number, "a", data).json()["id"]: ("a", data) for data in contents}
    moved, deleted, *_ = images
    assert service.call("PATCH", f"training-image/{moved}", json={"label": "b"}).status_code == 200
    images[moved] = ("b", images[moved][1])
    assert service.call("DELETE", f"training-image/{deleted}").status_code == 200
    assert service.call("DELETE", "deleted-images").status_code == 200  # else its bytes are kept for a day
    del images[deleted]
    return number, images


def _held(service: Service, number: int) -> dict[str, tuple[str, bytes]]:
    listed = service.call("GET", f"training-set/{number}/images").json()["data"]
    return {
        image["id"]: (group["label"], service.call("GET", image["url"]).content)
        for group in listed
        for image in group["images"]
    }


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_what_a_kill_left_is_in_quarantine_after_the_start(tmp_path: Path, place: str):
    *contents, lost = list(CONTENTS.values())[:5]
    images, environment = tmp_path / "data" / "images", {}
    if place == "bucket":
        images = tmp_path / "bucket"
        images.mkdir()
        environment = {"APITORCH_BLOB_URL": images.as_uri()}
    with serving(tmp_path / "data", key=KEY, **environment) as service:
        number, held = _changed(service, contents)
        service.end(signal.SIGKILL)
    orphan = images / _sha(lost)[0] / _sha(lost)  # named and synced, and its row was not committed
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(lost)
    if place == "folder":
        (images / "incoming" / "tmp1a2b3c").write_bytes(lost[:100])
    with serving(tmp_path / "data", key=KEY, **environment) as service:
        until(
            lambda: quarantined(tmp_path / "data") == {_sha(lost)}
        )  # listing a bucket takes longer than a start should
        assert {path.name for path in images.rglob("*") if path.is_file()} == {
            "database",
            _sha(lost),
            *(_sha(data) for _, data in held.values()),
        }
        assert _held(service, number) == held
        again = service.upload(number, "a", lost).json()["id"]
        assert _held(service, number) == {**held, again: ("a", lost)}
    if place == "folder":
        on_disk(tmp_path / "data")


def test_a_row_whose_file_is_gone_is_kept_said_and_healed_by_the_same_upload(tmp_path: Path):
    data = next(iter(CONTENTS.values()))
    with serving(tmp_path / "data", key=KEY) as service:
        number = service.new_set()
        image = service.upload(number, "a", data).json()["id"]
        service.end(signal.SIGKILL)
    (tmp_path / "data" / "images" / _sha(data)[0] / _sha(data)).unlink()
    with serving(tmp_path / "data", key=KEY) as service:
        until(lambda: _sha(data) in service.log)  # said once the service listens
        (group,) = service.call("GET", f"training-set/{number}/images").json()["data"]
        assert [row["id"] for row in group["images"]] == [image]
        answer = service.call("GET", group["images"][0]["url"])
        assert answer.status_code == 500
        assert "Upload it again" in answer.json()["message"]
        assert service.upload(number, "a", data).json()["id"] == image
        assert _held(service, number) == {image: ("a", data)}
