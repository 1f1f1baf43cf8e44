import errno
import hashlib
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import BadRequest, ConnectionFailed, NotFound, TimedOut
from apitorch_desktop.api.types import EXTENSIONS, INBOX
from apitorch_desktop.dataset.connections.local_client import LocalClient, LocalImages
from apitorch_desktop.dataset.importer.plan import scan
from apitorch_desktop.dataset.sources.image_source import ArchiveMember, ImageBytes, ImageFile, ImageUrl, UploadItem
from apitorch_desktop.dataset.transfers import downloads, rate_control
from apitorch_desktop.dataset.transfers.journal import ItemState, TransferJournal
from apitorch_desktop.dataset.transfers.queue import OriginIndex, TransferMissing, TransferQueue, TransferState
from apitorch_desktop.dataset.transfers.rate_control import RateController, Throughput
from apitorch_desktop.dataset.transfers.uploads import _SharedProgress
from apitorch_desktop.dataset.workspace.bundles import UPLOADED_IMAGES
from apitorch_desktop.vision import images
from tests.helpers.fake_api import FIRST_SET as SET
from tests.helpers.fake_api import FakeApi
from tests.helpers.image_samples import corners, raw_photo, saved, scene
from tests.helpers.service_process import serving
from tests.helpers.waiting import until

HEIC = Path(__file__).parents[2] / "data" / "heif" / "scene.heic"


def picture(seed, size=(20, 20)):
    stream = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1])).save(stream, "PNG")
    return stream.getvalue()


def pictures(folder: Path, count: int, labels=("cat", "dog", "emu"), first=0) -> list[UploadItem]:
    """That many pictures on disk, each another, as uploads."""
    found = []
    for number in range(first, first + count):
        path = folder / labels[number % len(labels)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = picture(number)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        found.append(UploadItem(path.parent.name, ImageFile(path), path.name, len(data), digest))
    return found


def run(transfers, *, threads=4, only=None, timeout=60, until_done=True):
    """Work on some threads until all is done."""
    stop = threading.Event()
    workers = [
        threading.Thread(target=transfers.work, args=(stop.is_set,), kwargs={"only": only, "until_done": until_done})
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    end = time.monotonic() + timeout
    for worker in workers:
        worker.join(max(0, end - time.monotonic()))
    late = any(worker.is_alive() for worker in workers)
    stop.set()
    for worker in workers:
        worker.join()
    assert not late, f"not done in time: {transfers.all()}"


@contextmanager
def working(transfers, threads=3):
    """Work in the background meanwhile."""
    stop = threading.Event()
    workers = [threading.Thread(target=transfers.work, args=(stop.is_set,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def client(service):
    client = ApiClient(service.url, service.key, attempts=1)
    yield client
    client.close()


@pytest.fixture
def make(tmp_path):
    """Open transfers: `make(client)`; the same folder each time."""
    with ExitStack() as stack:

        def opened(client, folder="transfers"):
            transfers = TransferQueue(tmp_path / folder, client if callable(client) else lambda _connection: client)
            stack.callback(transfers.close)
            return transfers

        yield opened


@pytest.fixture
def strange():
    """A service with the documented calls only, and a client of it."""
    with FakeApi() as fake:
        fake.add_set("Set")
        fake.merges_same, fake.reorder, fake.unknown_fields = False, True, True
        fake.client = ApiClient(fake.url, fake.key, attempts=1, timeout=(20, 20))
        yield fake
        fake.client.close()


UPLOAD = {"method": "POST", "path": "/image$"}
"""Requests that a fault is meant for."""


def stored(client, set_id):
    """label → sorted hashes of the bytes as they come back."""
    listing = client.images(set_id)
    return {
        group.label: sorted(hashlib.sha256(client.download(image.url)).hexdigest() for image in group.images)
        for group in listing.data
        if group.images
    }


def wanted(uploads):
    found = {}
    for upload in uploads:
        found.setdefault(upload.label, []).append(upload.sha256)
    return {label: sorted(digests) for label, digests in found.items()}


# --- against the real service


def test_photos_arrive_once_byte_for_byte_and_the_results_name_them(make, client, photos):
    training_set = client.create_training_set("Photos")
    plan = scan([photos / "test" / "hat", photos / "test" / "skirt"])
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Hats", plan.uploads())
    assert transfers.status(transfer).state is TransferState.WAITING
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.failed, status.fraction) == (TransferState.DONE, len(plan.items), 0, 1.0)
    assert status.bytes_done == status.bytes_total == plan.bytes_to_send()
    assert status.finished_at >= status.created_at
    assert stored(client, training_set.id) == wanted(plan.uploads())
    listed = {image.image_id for group in client.images(training_set.id).data for image in group.images}
    results = transfers.results(transfer)
    assert {result.image_id for result in results} == listed
    assert all(result.created for result in results)


def test_what_was_there_before_is_not_called_new(make, client, tmp_path):
    training_set = client.create_training_set("Twice")
    uploads = pictures(tmp_path, 6)
    client.upload_image(training_set.id, "cat", path=uploads[0].source.path)
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "All", [*uploads, uploads[1]])
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.skipped) == (TransferState.DONE, 5, 2)
    assert sum(result.created for result in transfers.results(transfer)) == 5
    assert stored(client, training_set.id) == wanted(uploads)


def test_bad_pictures_fail_with_their_reasons_and_the_rest_goes_on(make, client, tmp_path):
    training_set = client.create_training_set("Bad")
    uploads = pictures(tmp_path, 5)
    broken = tmp_path / "half.png"
    broken.write_bytes(picture(99)[:-200])
    gone = tmp_path / "gone.png"
    uploads += [
        UploadItem("cat", ImageFile(broken), "half.png", 1000),
        UploadItem("cat", ImageFile(gone), "gone.png", 1000),
    ]
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Some are bad", uploads)
    seen = []
    transfers.add_listener(seen.append)
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.failed) == (TransferState.FAILED, 5, 2)
    assert status.fraction < 1
    assert all(told.fraction < 1 for told in seen)
    failures = {failure.name: failure for failure in transfers.failures(transfer)}
    assert set(failures) == {"half.png", "gone.png"}
    assert "cut off" in failures["half.png"].reason
    assert "not there" in failures["gone.png"].reason
    summary = transfers.summary(transfer)
    assert "5 pictures uploaded" in summary
    assert "cat/half.png" in summary
    broken.write_bytes(picture(98))
    gone.write_bytes(picture(97))
    transfers.retry_failed(transfer)
    assert transfers.status(transfer).state is TransferState.WAITING
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.failed, status.fraction) == (TransferState.DONE, 7, 0, 1.0)


@pytest.fixture
def bundles(client, monkeypatch):
    """Sizes of the calls that took several images."""
    seen, upload = [], client.upload_images

    def counted(training_set, label, files, **more):
        seen.append(len(files))
        return upload(training_set, label, files, **more)

    monkeypatch.setattr(client, "upload_images", counted)
    return seen


def digest(data):
    return hashlib.sha256(data).hexdigest()


def by_label(uploads):
    return sorted(uploads, key=lambda upload: upload.label)


def test_small_photos_of_a_label_go_up_in_one_call_and_large_ones_alone(make, client, tmp_path, bundles):
    training_set = client.create_training_set("Bundled")
    uploads = pictures(tmp_path, 90)
    packed = tmp_path / "more.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(200, 210):
            data, name = picture(number), f"{number}.png"
            archive.writestr(name, data)
            uploads.append(UploadItem("dog", ArchiveMember(packed, name), name, len(data), digest(data)))
    for number in range(300, 305):
        data, name = picture(number), f"{number}.png"
        uploads.append(UploadItem("dog", ImageBytes(data, name), name, len(data), digest(data)))
    large = tmp_path / "cat" / "large.png"
    data = picture(1000, (400, 300))
    large.write_bytes(data)
    uploads.append(UploadItem("cat", ImageFile(large), "large.png", len(data), digest(data)))
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Many", by_label(uploads))
    seen = []
    transfers.add_listener(seen.append)
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.failed) == (TransferState.DONE, len(uploads), 0)
    assert status.bytes_done == status.bytes_total
    assert all(told.bytes_done <= told.bytes_total for told in seen)
    assert stored(client, training_set.id) == wanted(uploads)
    assert max(bundles) <= UPLOADED_IMAGES
    assert sum(bundles) >= 95  # one may be left over of those that were taken up together
    assert len(bundles) <= 10
    listed = {image.image_id for group in client.images(training_set.id).data for image in group.images}
    assert {result.image_id for result in transfers.results(transfer)} == listed


def test_of_photos_that_go_up_together_each_fails_for_itself_as_it_would_alone(make, client, tmp_path, bundles):
    uploads = pictures(tmp_path, 8, ["cat"])
    uploads[2].source.path.write_bytes(picture(2)[:-200])
    uploads[4].source.path.unlink()
    uploads[5].source.path.write_bytes(b"text")
    told, ping = [], client.ping
    for name in ("Together", "Alone"):
        training_set = client.create_training_set(name)
        if name == "Alone":
            client.ping = lambda: replace(ping(), extensions=[one for one in EXTENSIONS if one != "images.upload"])
        transfers = make(client, name)
        transfer = transfers.add_upload("c", training_set.id, name, uploads)
        run(transfers)
        assert transfers.status(transfer).done == 5
        told.append([(failure.name, failure.reason, failure.advice) for failure in transfers.failures(transfer)])
        assert len(told[-1]) == 3
    client.ping = ping
    assert bundles == [7]
    assert told[0] == told[1]


def test_the_bytes_that_are_sent_together_are_told_of_each():
    told = []
    progress = _SharedProgress([("a", 3), ("b", 0), ("c", 5)], lambda item, sent: told.append((item, sent)))
    for sent in (2, 4, 9):
        progress(sent)
    assert told == [("a", 2), ("a", 3), ("b", 0), ("c", 1), ("c", 5)]
    told.clear()
    for sent in (1, 20):  # from the start again
        progress(sent)
    assert told == [("a", 1), ("a", 3), ("b", 0), ("c", 5)]


@pytest.mark.parametrize("lacking", ["images.upload", "formats", "splits", "unlabelled"])
def test_to_a_service_that_needs_help_with_single_photos_they_go_one_by_one(
    make, client, tmp_path, bundles, monkeypatch, lacking
):
    pong = client.ping()
    monkeypatch.setattr(client, "ping", lambda: replace(pong, extensions=[one for one in EXTENSIONS if one != lacking]))
    training_set = client.create_training_set(f"Without {lacking}")
    uploads, transfers = pictures(tmp_path, 4, ["cat"]), make(client)
    transfer = transfers.add_upload("c", training_set.id, "One by one", uploads)
    run(transfers)
    assert transfers.status(transfer).done == 4
    assert bundles == []


@pytest.mark.parametrize("answered", [True, False])
def test_photos_that_went_together_and_got_no_answer_go_again_alone(make, client, tmp_path, monkeypatch, answered):
    training_set = client.create_training_set(f"Lost {answered}")
    uploads, upload, calls = pictures(tmp_path, 10, ["cat"]), client.upload_images, []

    def lost(*given, **more):
        calls.append(None)
        if answered:
            upload(*given, **more)
        raise TimedOut("No answer.")

    monkeypatch.setattr(client, "upload_images", lost)
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Lost", uploads)
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.skipped) == (TransferState.DONE, 10, 0)
    assert len(calls) == 1
    assert stored(client, training_set.id) == wanted(uploads)


def test_where_another_version_of_the_service_answers_photos_go_one_by_one(make, client, tmp_path, monkeypatch):
    training_set = client.create_training_set("Another version")
    calls = []

    def unknown(*_given, **_more):
        calls.append(None)
        raise NotFound("There is no such call.", status=404)

    monkeypatch.setattr(client, "upload_images", unknown)
    uploads = pictures(tmp_path, 40, ["cat"])
    uploads[2].source.path.write_bytes(b"text")
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Another version", uploads)
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.failed) == (TransferState.FAILED, 39, 1)
    assert len(calls) <= rate_control.MAX_PARALLEL


def test_a_service_that_answers_for_another_number_of_photos_is_not_believed(make, client, tmp_path, monkeypatch):
    training_set = client.create_training_set("Miscounted")
    call = client._transport.call

    def fewer(method, route, kind, **more):
        answer = call(method, route, kind, **more)
        if route.endswith("/images") and method == "POST":
            answer.data.pop()
        return answer

    monkeypatch.setattr(client._transport, "call", fewer)
    uploads, transfers = pictures(tmp_path, 6, ["cat"]), make(client)
    transfer = transfers.add_upload("c", training_set.id, "Miscounted", uploads)
    run(transfers)
    assert transfers.status(transfer).done + transfers.status(transfer).failed == 6
    assert stored(client, training_set.id) == wanted(uploads)


def test_names_of_any_bytes_travel(make, client, tmp_path):
    training_set = client.create_training_set("Names")
    uploads = []
    for number, name in enumerate(
        [b"a b.png", b"new\nline.png", b"\xff\xfe.png", '🦓".png'.encode(), b"n" * 251 + b".png"]
    ):
        path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
        path.write_bytes(picture(number))
        uploads.append(UploadItem("cat", ImageFile(path), path.name, None, None))
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Names", uploads)
    run(transfers)
    assert transfers.status(transfer).done == 5
    assert all(result.name.isprintable() for result in transfers.results(transfer))


def test_pictures_from_memory_and_archives_are_kept_until_they_are_there(make, client, tmp_path):
    import zipfile

    training_set = client.create_training_set("Memory")
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("cat/1.png", picture(1))
        file.writestr("cat/2.png", picture(2))
    uploads = [UploadItem("cat", ImageBytes(picture(3), "clip.png"), "clip.png"), *scan([archive]).uploads()]
    assert isinstance(uploads[1].source, ArchiveMember)
    first = make(client)
    first.add_upload("c", training_set.id, "Memory", uploads)
    first.close()  # all of it has to come from the disk now
    kept = list((tmp_path / "transfers" / "pictures").iterdir())
    assert [path.read_bytes() for path in kept] == [picture(3)]
    os.utime(kept[0], (1, 1))
    second = make(client)
    run(second)
    assert second.all()[0].state is TransferState.DONE
    assert stored(client, training_set.id)["cat"] == sorted(hashlib.sha256(picture(n)).hexdigest() for n in (1, 2, 3))
    assert not list((tmp_path / "transfers" / "pictures").iterdir())


def test_an_archive_that_changed_is_not_taken_for_what_was_looked_at(make, client, tmp_path):
    import zipfile

    training_set = client.create_training_set("Changed")
    archive = tmp_path / "a.zip"
    for seed in (1, 2):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("cat/1.png", picture(seed))
        if seed == 1:
            uploads = scan([archive]).uploads()
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Changed", uploads)
    run(transfers)
    assert "has changed" in transfers.failures(transfer)[0].reason


def test_a_web_address_is_fetched_by_the_service(make, client, strange):
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Web", [UploadItem("cat", ImageUrl("https://e.org/a.jpg"), "a.jpg")])
    run(transfers)
    assert transfers.status(transfer).state is TransferState.DONE
    assert strange.stored(SET) == {"cat": [b"https://e.org/a.jpg"]}


def test_a_training_set_that_is_gone_stops_the_transfer_with_a_sentence(make, client, tmp_path):
    training_set = client.create_training_set("Gone")
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Gone", pictures(tmp_path, 3))
    client.delete_training_set(training_set.id)
    run(transfers)
    status = transfers.status(transfer)
    assert status.state is TransferState.STOPPED
    assert "not there any more" in status.note


def test_a_wrong_key_stops_it_and_resume_goes_on_with_the_right_one(make, service, client, tmp_path):
    training_set = client.create_training_set("Key")
    now = [ApiClient(service.url, "x" * 42, attempts=1)]
    transfers = make(lambda _connection: now[0])
    uploads = pictures(tmp_path, 3)
    transfer = transfers.add_upload("c", training_set.id, "Key", uploads)
    run(transfers)
    assert transfers.status(transfer).state is TransferState.STOPPED
    assert "key" in transfers.status(transfer).note.lower()
    now[0].close()
    now[0] = client
    transfers.resume(transfer)
    run(transfers)
    assert transfers.status(transfer).state is TransferState.DONE
    assert stored(client, training_set.id) == wanted(uploads)


def test_while_nobody_answers_it_waits_says_so_and_goes_on_by_itself(make, client, tmp_path):
    training_set = client.create_training_set("Away")
    away = threading.Event()

    def client_for(_connection):
        if away.is_set():
            raise ConnectionFailed("Nothing answers.")
        return client

    away.set()
    transfers = make(client_for)
    uploads = pictures(tmp_path, 8)
    transfer = transfers.add_upload("c", training_set.id, "Away", uploads)
    with working(transfers):
        until(lambda: "Nothing answers." in transfers.status(transfer).note)
        assert transfers.status(transfer).state is TransferState.WAITING
        away.clear()
        until(lambda: transfers.status(transfer).state is TransferState.DONE)
    assert transfers.status(transfer).note == ""
    assert stored(client, training_set.id) == wanted(uploads)


def test_pause_resume_and_cancel(make, strange, tmp_path):
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Some", pictures(tmp_path, 60))

    def begin():
        """A few answers come, and no more."""
        done = transfers.status(transfer).done
        strange.wrong("held", times=60, **UPLOAD)
        strange.release(5)
        until(lambda: transfers.status(transfer).done >= done + 5)

    def settled():
        """The last answers are in."""
        strange.right()
        transfers.wait_until_idle(transfer)
        assert transfers.status(transfer).done == len(strange.image_ids(SET))
        return transfers.status(transfer).done

    with working(transfers):
        begin()
        transfers.pause(transfer)
        done = settled()
        assert transfers.status(transfer).state is TransferState.PAUSED
        time.sleep(0.15)
        assert transfers.status(transfer).done == done < 60
        strange.wrong("held", times=60, **UPLOAD)
        transfers.resume(transfer)
        begin()
        transfers.cancel(transfer)
        settled()
    status = transfers.status(transfer)
    assert status.state is TransferState.CANCELLED
    assert status.finished_at
    assert len(strange.image_ids(SET)) < 60
    transfers.resume(transfer)  # a change of mind
    run(transfers)
    assert transfers.status(transfer).state is TransferState.DONE
    assert len(strange.image_ids(SET)) == 60


def test_the_order_can_be_changed(make, strange, tmp_path):
    transfers = make(strange.client)
    ids = [transfers.add_upload("c", SET, name, pictures(tmp_path, 3, first=9 * n)) for n, name in enumerate("abc")]
    transfers.reorder([ids[2], ids[1]])
    assert [status.title for status in transfers.all()] == ["c", "b", "a"]
    run(transfers, threads=1)
    ended = sorted(transfers.all(), key=lambda status: status.finished_at)
    assert [status.title for status in ended] == ["c", "b", "a"]


def test_an_ended_transfer_can_be_forgotten_a_live_one_not(make, strange, tmp_path):
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Some", pictures(tmp_path, 2))
    with pytest.raises(ValueError, match="cancel it first"):
        transfers.forget(transfer)
    run(transfers)
    transfers.forget(transfer)
    assert transfers.all() == []
    with pytest.raises(TransferMissing):
        transfers.status(transfer)


def test_a_transfer_that_another_process_ended_and_forgot_leaves_the_list(make, strange, tmp_path):
    command, window = make(strange.client), make(strange.client)
    removals = []
    window.add_listener(lambda _status: None, lambda: removals.append(window.all()))
    transfer = command.add_upload("c", SET, "Some", pictures(tmp_path, 2))
    with working(window):
        until(lambda: window.all() and "works on it" in window.status(transfer).note)
        run(command)
        command.forget(transfer)
        until(lambda: removals)
        assert removals == [[]]
        for act in (window.cancel, window.pause, window.resume, window.retry_failed, window.forget, window.failures):
            with pytest.raises(TransferMissing, match="another window or command has finished it"):
                act(transfer)


def test_listeners_hear_often_enough_never_too_often_and_always_the_end(make, strange, tmp_path):
    strange.latency = 0.005
    transfers = make(strange.client)
    transfers.add_upload("c", SET, "Some", pictures(tmp_path, 80))
    seen = []
    end = transfers.add_listener(lambda status: seen.append((time.monotonic(), status)))
    began = time.monotonic()
    run(transfers)
    took = time.monotonic() - began
    assert seen[-1][1].state is TransferState.DONE
    assert 3 <= len(seen) <= 20 * took + 20
    counts = [status.done for _, status in seen]
    assert counts == sorted(counts)
    end()
    seen.clear()
    transfers.add_upload("c", SET, "More", pictures(tmp_path, 1, first=500))
    run(transfers)
    assert not seen


def test_what_was_accepted_is_on_disk_at_once(make, strange, tmp_path):
    transfers = make(strange.client)
    began = time.thread_time()
    uploads = [
        UploadItem("cat", ImageFile(tmp_path / f"{n}.jpg"), f"{n}.jpg", 100_000, f"{n:064}") for n in range(10_000)
    ]
    transfers.add_upload("c", SET, "Many", uploads)
    took = time.thread_time() - began
    with sqlite3.connect(tmp_path / "transfers" / "transfers.sqlite") as other:
        assert other.execute("SELECT COUNT(*) FROM items").fetchone() == (10_000,)
    other.close()
    assert took < 3
    status = transfers.all()[0]
    assert (status.total, status.bytes_total) == (10_000, 10**9)


def test_a_fault_of_ours_is_told_as_a_failure_and_ends_no_thread(make, strange, tmp_path, monkeypatch):
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Some", pictures(tmp_path, 4))
    upload = ApiClient.upload_image

    def sometimes(self, training_set_id, label, **more):
        if label == "dog":
            raise ZeroDivisionError("oh")
        return upload(self, training_set_id, label, **more)

    monkeypatch.setattr(ApiClient, "upload_image", sometimes)
    run(transfers)
    assert [failure.label for failure in transfers.failures(transfer)] == ["dog"]
    assert "ZeroDivisionError" in transfers.failures(transfer)[0].reason
    assert transfers.status(transfer).done == 3


# --- services with the documented calls only


def test_a_lost_answer_never_makes_a_second_image(make, strange, tmp_path):
    strange.put(SET, "cat", b"was there before", "0" * 40)
    strange.wrong_in_turn("lost", "", "half", "lost", "", "", "lost", **UPLOAD)
    transfers = make(strange.client)
    uploads = pictures(tmp_path, 20)
    transfer = transfers.add_upload("c", SET, "Lost", uploads)
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.skipped) == (TransferState.DONE, 20, 0)
    found = strange.stored(SET)
    assert found["cat"].count(b"was there before") == 1
    found["cat"].remove(b"was there before")
    digests = {label: sorted(hashlib.sha256(data).hexdigest() for data in datas) for label, datas in found.items()}
    assert digests == wanted(uploads)
    made = {result.image_id.removeprefix("ti_") for result in transfers.results(transfer)}
    assert made == strange.image_ids(SET) - {"0" * 40}


def test_a_raw_photo_larger_than_a_service_takes_goes_up_as_its_preview(make, client, tmp_path):
    (tmp_path / "a.nef").write_bytes(raw_photo() + bytes(images.MAX_BYTES))
    (tmp_path / "b.jpg").write_bytes(picture(1) + bytes(images.MAX_BYTES))
    plan = scan([tmp_path / "a.nef", tmp_path / "b.jpg"], default_label="cat")
    assert "1 photo (NEF) is sent as JPEG: 32 MiB is the most." in plan.notes
    assert ["32 MiB is the most" in (item.problem or "") for item in plan.items] == [False, True]
    transfers = make(client)
    training_set = client.create_training_set("Large").id
    for created in (True, False):  # the same bytes again are the same image
        transfer = transfers.add_upload("c", training_set, "Large", plan.uploads())
        run(transfers)
        assert [result.created for result in transfers.results(transfer)] == [created]
    (image,) = client.images(training_set).data[0].images
    assert corners(images.open_upright(client.download(image.url))) == ["r", "g", "b", "w"]


def test_a_service_that_may_not_read_heic_gets_jpegs_once(make, strange, tmp_path):
    strange.wrong_in_turn("lost", "", "half", "lost", **UPLOAD)
    given = {"a.heic": HEIC.read_bytes(), "b.avif": saved(scene(), "AVIF"), "c.jpg": picture(1), "d.nef": raw_photo()}
    for name, data in given.items():
        (tmp_path / name).write_bytes(data)
    plan = scan([tmp_path / name for name in given], default_label="cat", as_jpeg=True)
    assert [note for note in plan.notes if "sent as JPEG" in note] == [
        "3 photos (AVIF, HEIC, NEF) are sent as JPEG: this service may not read them as they are."
    ]
    local = LocalImages(tmp_path / "local")
    client = LocalClient(local, "c", strange.url, strange.key, attempts=1, timeout=(20, 20))
    transfers = make(client)
    transfer = transfers.add_upload("c", SET, "Phone", plan.uploads())
    run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.skipped) == (TransferState.DONE, 4, 0)
    stored = strange.stored(SET)["cat"]
    assert picture(1) in stored and len(stored) == 4
    assert {images.verify(data).format for data in stored if data != picture(1)} == {"JPEG"}
    assert sum(corners(images.open_upright(data)) == ["r", "g", "b", "w"] for data in stored if data != picture(1)) == 3
    client.close()
    local.close()


def test_faults_of_the_service_pass_and_are_waited_out(make, strange, tmp_path):
    strange.wrong_in_turn(500, 502, "drop", 503, 429, "", 500, **UPLOAD, retry_after="0.3")
    transfers = make(strange.client)
    uploads = pictures(tmp_path, 15)
    transfer = transfers.add_upload("c", SET, "Faults", uploads)
    run(transfers)
    assert transfers.status(transfer).state is TransferState.DONE
    assert {label: len(datas) for label, datas in strange.stored(SET).items()} == {"cat": 5, "dog": 5, "emu": 5}


def test_retry_after_is_obeyed_and_the_pace_is_told(make, strange, tmp_path, monkeypatch):
    told = []
    limited = RateController.limited
    monkeypatch.setattr(RateController, "limited", lambda pace, seconds: told.append(seconds) or limited(pace, seconds))
    strange.wrong(429, **UPLOAD, retry_after="1")
    transfers = make(strange.client)
    transfers.add_upload("c", SET, "Slow", pictures(tmp_path, 6))
    run(transfers, threads=1)
    first, second, *_ = strange.requests(**UPLOAD)
    assert second.at - first.at >= 0.95
    assert told == [1.0]
    assert len(strange.image_ids(SET)) == 6


def test_a_picture_that_breaks_the_service_every_time_fails_alone(make, strange, tmp_path, monkeypatch):
    monkeypatch.setattr(rate_control, "_LONGEST_PAUSE", 0.1)
    uploads = pictures(tmp_path, 4)
    transfers = make(strange.client)
    upload = ApiClient.upload_image

    def poisoned(self, training_set_id, label, **more):
        if label == "dog":
            strange.wrong(500, **UPLOAD)
        return upload(self, training_set_id, label, **more)

    monkeypatch.setattr(ApiClient, "upload_image", poisoned)
    transfer = transfers.add_upload("c", SET, "Poison", uploads)
    run(transfers, threads=1)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.failed) == (TransferState.FAILED, 3, 1)
    assert transfers.failures(transfer)[0].label == "dog"


def test_a_page_in_place_of_an_answer_is_waited_out(make, strange, tmp_path):
    strange.wrong(502, **UPLOAD, times=3)
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Portal", pictures(tmp_path, 3))
    run(transfers)
    assert transfers.status(transfer).state is TransferState.DONE


def test_bad_pictures_are_refused_once(make, strange, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"bad picture")
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Bad", [UploadItem("cat", ImageFile(bad), "bad.jpg", 11)])
    run(transfers)
    assert transfers.status(transfer).state is TransferState.FAILED
    assert len(strange.requests(**UPLOAD)) == 1


# --- two programs, one journal

_PROGRAM = """
import sys, threading, time
from pathlib import Path
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.transfers.queue import TransferQueue
folder, url, key = sys.argv[1:4]
client = ApiClient(url, key, attempts=1)
transfers = TransferQueue(Path(folder), lambda _: client)
worker = threading.Thread(target=transfers.work, args=(lambda: False,), daemon=True)
worker.start()
while "Another" not in (note := transfers.status(1).note):
    time.sleep(0.01)
print(note, flush=True)
worker.join()
"""


def test_a_second_program_leaves_a_transfer_alone_until_the_first_has_ended(make, strange, tmp_path):
    first = make(strange.client)
    transfer = first.add_upload("c", SET, "Shared", pictures(tmp_path, 40))
    other = [sys.executable, "-c", _PROGRAM, str(tmp_path / "transfers"), strange.url, strange.key]
    with subprocess.Popen(other, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline() == "Another window or command works on it.\n"
            assert not strange.image_ids(SET)
            strange.wrong("held", times=40, **UPLOAD)
            strange.release(5)
            stop = threading.Event()
            worker = threading.Thread(target=first.work, args=(stop.is_set,))
            worker.start()
            until(lambda: len(strange.image_ids(SET)) > 5)
            stop.set()
            strange.right()
            worker.join()
            assert len(strange.image_ids(SET)) < 40
            first.close()  # as if the window was closed
            until(lambda: len(strange.image_ids(SET)) == 40)
        finally:
            program.kill()
    again = make(strange.client)
    run(again)
    assert again.status(transfer).state is TransferState.DONE
    arrived = [data for datas in strange.stored(SET).values() for data in datas]
    assert sorted(arrived) == sorted(picture(number) for number in range(40))


# --- downloads


def test_a_training_set_comes_down_whole_and_again_only_what_is_missing(make, client, tmp_path):
    training_set = client.create_training_set("Down Load")
    uploads = pictures(tmp_path / "in", 12)
    transfers = make(client)
    transfers.add_upload("c", training_set.id, "Up", uploads)
    run(transfers)
    first = transfers.add_download("c", training_set.id, "Down", tmp_path / "out")
    run(transfers)
    status = transfers.status(first)
    assert (status.state, status.done, status.bytes_done) == (TransferState.DONE, 12, status.bytes_total)
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {path.parent.parent for path in files} == {tmp_path / "out" / "down-load"}
    assert sorted(files.values()) == sorted(picture(number) for number in range(12))
    removed, cut = list(files)[:2]
    removed.unlink()
    cut.write_bytes(files[cut][:50])
    second = transfers.add_download("c", training_set.id, "Down", tmp_path / "out")
    run(transfers)
    assert (transfers.status(second).done, transfers.status(second).skipped) == (2, 10)
    assert all(path.read_bytes() == data for path, data in files.items())


def test_another_picture_in_the_way_stays_and_is_reported(make, client, tmp_path):
    training_set = client.create_training_set("In the way")
    answer = client.upload_image(training_set.id, "cat", data=picture(1))
    name = client.images(training_set.id).data[0].images[0].filename
    there = tmp_path / "out" / "in-the-way" / "cat" / name
    there.parent.mkdir(parents=True)
    there.write_bytes(picture(2))
    transfers = make(client)
    transfer = transfers.add_download("c", training_set.id, "Down", tmp_path / "out")
    run(transfers)
    assert answer.id
    assert transfers.status(transfer).state is TransferState.FAILED
    assert "another photo" in transfers.failures(transfer)[0].reason
    assert there.read_bytes() == picture(2)


def test_small_images_come_in_bundles_and_what_a_bundle_lacks_alone(make, client, tmp_path):
    training_set = client.create_training_set("Bundles")
    uploads = pictures(tmp_path / "in", 150)
    transfers = make(client)
    transfers.add_upload("c", training_set.id, "Up", uploads)
    run(transfers)
    wanted, alone = [], []
    archive, fetch = ApiClient.archive, ApiClient.download

    def some(self, set_id, image_ids, **more):
        wanted.append(list(image_ids))
        if len(wanted) == 2:
            raise TimedOut("Too late.")
        found = archive(self, set_id, image_ids, **more)
        name = min(found)
        found[name] = found[name][:-1] if len(wanted) % 2 else b""
        if len(wanted) == 3:
            del found[name]
        return found

    def download(self, url, **more):
        alone.append(url)
        return fetch(self, url, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ApiClient, "archive", some)
        patch.setattr(ApiClient, "download", download)
        transfer = transfers.add_download("c", training_set.id, "Down", tmp_path / "out")
        run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done) == (TransferState.DONE, 150), transfers.failures(transfer)
    files = sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.png"))
    assert files == sorted(picture(number) for number in range(150))
    assert len(wanted) < 12
    assert 1 <= len(alone) <= len(wanted), "only what arrived damaged or not at all"


def test_bundles_that_a_service_refuses_are_fetched_one_by_one(make, client, tmp_path):
    training_set = client.create_training_set("No bundles")
    transfers = make(client)
    transfers.add_upload("c", training_set.id, "Up", pictures(tmp_path / "in", 20))
    run(transfers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ApiClient, "archive", lambda *_, **__: (_ for _ in ()).throw(BadRequest("Not today.")))
        transfer = transfers.add_download("c", training_set.id, "Down", tmp_path / "out")
        run(transfers)
    assert (transfers.status(transfer).state, transfers.status(transfer).done) == (TransferState.DONE, 20)


def fill(strange, count):
    for number in range(count):
        strange.put(SET, ("cat", "dog")[number % 2], picture(number), f"{number:040x}")


def test_addresses_that_run_out_in_the_middle_are_fetched_anew(make, strange, tmp_path):
    fill(strange, 30)
    strange.wrong_in_turn("", "", "", "expire", "", "", "expire", "", 500, "half", path="^/files")
    transfers = make(strange.client)
    transfer = transfers.add_download("c", SET, "Down", tmp_path / "out")
    run(transfers)
    assert transfers.status(transfer).state is TransferState.DONE, transfers.failures(transfer)
    assert sorted(p.read_bytes() for p in (tmp_path / "out").rglob("*.jpg")) == sorted(picture(n) for n in range(30))
    assert not list((tmp_path / "out").rglob("*.part"))
    assert 3 <= len(strange.requests("GET", "/images$")) < 12


def test_an_image_that_was_deleted_meanwhile_is_no_failure(make, strange, tmp_path):
    fill(strange, 10)
    transfers = make(strange.client)
    transfer = transfers.add_download("c", SET, "Down", tmp_path / "out")
    transfers.pause(transfer)
    run(transfers)
    transfers.resume(transfer)
    fetch = ApiClient.download

    def download(self, url, **more):
        if any(images.pop(f"{3:040x}", None) for images in strange.sets[SET].labels.values()):
            strange.expire()
        return fetch(self, url, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ApiClient, "download", download)
        run(transfers)
    status = transfers.status(transfer)
    assert (status.state, status.done, status.skipped) == (TransferState.DONE, 9, 1)


def test_names_from_a_service_never_lead_out_of_the_folder(make, strange, tmp_path):
    fill(strange, 2)
    strange.put(SET, "../../evil", picture(3), "3" * 40)
    strange.put(SET, "..", picture(4), "4" * 40)
    transfers = make(strange.client)
    transfers.add_download("c", SET, "Down", tmp_path / "deep" / "out")
    run(transfers)
    outside = [path for path in tmp_path.rglob("*.jpg") if not path.is_relative_to(tmp_path / "deep" / "out" / "set")]
    assert not outside
    assert len(list(tmp_path.rglob("*.jpg"))) == 4
    assert [downloads.safe_filename(name) for name in ("..", "", "a/b", "c\\d")] == ["_..", "_", "a_b", "c_d"]


@pytest.mark.parametrize(
    "labels",
    [["字" * 200, "字" * 199 + "林", "cat"], ["train", "test", "images", INBOX], [INBOX]],
    ids=["long", "parts", "none"],
)
def test_labels_that_folders_do_not_say_come_down_and_back(make, strange, tmp_path, labels):
    for number, label in enumerate(labels):
        strange.put(SET, label, picture(number), f"{number}" * 40)
    transfers = make(strange.client)
    transfer = transfers.add_download("c", SET, "Down", tmp_path / "out")
    run(transfers)
    assert transfers.status(transfer).done == len(labels)
    for dropped in (tmp_path / "out", tmp_path / "out" / "set"):
        plan = scan([dropped])
        assert sorted(item.original_label for item in plan.items) == sorted(
            label.replace(INBOX, "") for label in labels
        )


def test_a_full_disk_stops_the_download_and_room_lets_it_go_on(make, strange, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be made here")
    try:
        for number in range(30):
            strange.put(SET, "cat", picture(number, (60, 60)))
        transfers = make(strange.client)
        transfer = transfers.add_download("c", SET, "Down", small)
        run(transfers)
        status = transfers.status(transfer)
        assert status.state is TransferState.STOPPED
        assert os.strerror(errno.ENOSPC) in status.note
        assert 0 < status.done < 30
        subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
        transfers.resume(transfer)
        run(transfers)
        assert transfers.status(transfer).state is TransferState.DONE
        assert sorted(p.read_bytes() for p in small.rglob("*.jpg")) == sorted(picture(n, (60, 60)) for n in range(30))
        assert not list(small.rglob("*.part"))
    finally:
        subprocess.run(["umount", small], check=True)


# --- pace


def test_the_pace_rises_while_all_is_well_and_falls_when_latency_rises():
    pace = RateController()
    for _ in range(100):
        pace.succeeded(0.05)
    assert pace.allowed == 8
    for _ in range(100):
        pace.succeeded(2.0)
    assert pace.allowed == 1


@pytest.fixture
def clock(monkeypatch):
    """The time of the pace, in seconds: a list of one."""
    now = [100.0]
    monkeypatch.setattr(rate_control, "monotonic", lambda: now[0])
    return now


def test_calls_that_were_refused_together_halve_the_pace_once(clock):
    pace = RateController()
    for _ in range(100):
        pace.succeeded(0.05)
    pace.limited(2.0)
    pace.limited(2.0)
    assert pace.allowed == 4
    assert pace.delay() == 2.0
    clock[0] += 3
    assert pace.delay() == 0


def test_after_a_failure_one_call_at_a_time_tries(clock):
    pace = RateController()
    pace.failed()
    assert 0 < pace.delay() < 0.5
    pace.retry_now()
    assert pace.delay() == 0
    pace.in_flight = 1
    assert pace.delay() == float("inf")
    pace.succeeded(0.1)
    assert pace.delay() == 0
    pace.in_flight = 0
    for _ in range(20):
        clock[0] += pace.delay()
        pace.failed()
    assert 5 < pace.delay() <= 15


def test_calls_that_broke_off_together_are_one_failure(clock):
    pace = RateController()
    for _ in range(8):
        pace.failed()
    assert 0 < pace.delay() <= 0.25


def test_the_meter_tells_bytes_a_second(clock):
    meter = Throughput()
    assert meter.rates() == (0, 0)
    for _ in range(10):
        meter.add(1000, 1)
        clock[0] += 0.25
    assert meter.rates() == (4000, 4)
    clock[0] += 60
    assert meter.rates() == (0, 0)


def test_a_service_that_slows_down_under_load_gets_fewer_calls(make, strange, tmp_path):
    strange.latency = 0.2  # times the calls at once
    transfers = make(strange.client)
    transfers.add_upload("c", SET, "Load", pictures(tmp_path, 24))
    run(transfers, threads=8)
    assert strange.most_uploading <= 6


def test_a_summary_can_be_kept(make, strange, tmp_path):
    transfers = make(strange.client)
    transfer = transfers.add_upload("c", SET, "Summer", pictures(tmp_path, 3))
    assert "3 pictures not uploaded yet" in transfers.summary(transfer)
    run(transfers)
    assert "3 pictures uploaded\n    cat: 1" in transfers.summary(transfer)
    json.dumps(transfers.summary(transfer))


def test_where_images_came_from_is_known_after_the_transfer_is_forgotten_and_under_other_ids(make, client, photos):
    training_set = client.create_training_set("Photos")
    plan = scan([photos / "test" / "hat"])
    transfers = make(client)
    transfer = transfers.add_upload("c", training_set.id, "Hats", plan.uploads())
    run(transfers)
    first, second, third = transfers.results(transfer)[:3]
    places = {one.name: str(photos / "test" / "hat" / one.name) for one in (first, second, third)}
    assert transfers.origin("c", first.image_id) == places[first.name]
    transfers.update_ids("c", {second.image_id: "ti_" + "a" * 40})
    transfers.forget(transfer)
    assert transfers.origin("c", first.image_id) == places[first.name]
    assert transfers.origin("c", "ti_" + "a" * 40) == places[second.name]
    transfers.update_ids("c", {"ti_" + "a" * 40: "b" * 40})
    assert transfers.origin("c", "b" * 40) == places[second.name]
    assert transfers.origin("c", "c" * 40, third.sha256) == places[third.name]  # came back under another id
    assert transfers.origin("c", "c" * 40) == ""
    assert transfers.origin("elsewhere", first.image_id, first.sha256) == ""
    transfers.close()
    again = make(client)
    assert again.origin("c", first.image_id) == places[first.name]


def test_origins_are_bounded_and_the_oldest_go_first(tmp_path):
    origins = OriginIndex(tmp_path, most=3)
    origins.keep("c", [(f"ti_{n}", "", f"/photos/{n}.jpg") for n in range(5)])
    assert [origins.find("c", str(n)) for n in range(5)] == ["", "", *(f"/photos/{n}.jpg" for n in (2, 3, 4))]
    origins.close()


def test_a_journal_of_version_0_1_0_is_opened_with_what_was_waiting(tmp_path):
    """Its items have no split."""
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(1))
    old = TransferQueue(tmp_path / "transfers", lambda _connection: None)
    transfer = old.add_upload("c", SET, "Old", [UploadItem("cat", ImageFile(path), "a.jpg")])
    old.close()
    with closing(sqlite3.connect(tmp_path / "transfers" / "transfers.sqlite")) as rows:
        rows.executescript("ALTER TABLE items DROP COLUMN split; PRAGMA user_version = 1;")
    journal = TransferJournal(tmp_path / "transfers")
    (item,) = journal.items(transfer, ItemState.WAITING)
    assert (item.label, item.name, item.split) == ("cat", "a.jpg", "")
    journal.add(
        "upload", "c", SET, "New", None, [UploadItem("cat", ImageFile(path), "a.jpg", split="test")], lambda _id: None
    )
    assert [one.split for entry in journal.entries() for one in journal.items(entry.id, ItemState.WAITING)] == [
        "",
        "test",
    ]
    journal.close()


def test_a_damaged_journal_is_moved_aside_and_keeps_nothing_from_opening(make, strange, tmp_path):
    folder = tmp_path / "transfers"
    folder.mkdir()
    (folder / "transfers.sqlite").write_bytes(b"no database " * 1000)
    transfers = make(strange.client)
    assert transfers.all() == []
    assert (folder / "transfers.sqlite.damaged").read_bytes().startswith(b"no database")
    transfer = transfers.add_upload("c", SET, "Some", pictures(tmp_path, 1))
    assert transfers.status(transfer).total == 1
