"""Transfers over connections that are cut, stall and crawl."""

import hashlib
import threading

import pytest

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem
from apitorch_desktop.dataset.transfers.queue import TransferQueue, TransferState
from tests.helpers.fake_api import FakeApi
from tests.helpers.flaky_proxy import Weather
from tests.helpers.service_process import serving


@pytest.fixture
def uploads(photos):
    found = []
    for number, path in enumerate(sorted(photos.glob("*/*/*.jpg"))[:120]):
        data = path.read_bytes()
        found.append(
            UploadItem(f"l{number % 3}", ImageFile(path), path.name, len(data), hashlib.sha256(data).hexdigest())
        )
    return found


def run(transfers):
    workers = [
        threading.Thread(target=transfers.work, args=(lambda: False,), kwargs={"until_done": True}) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def wanted(uploads):
    found = {}
    for upload in uploads:
        found.setdefault(upload.label, []).append(upload.sha256)
    return {label: sorted(digests) for label, digests in found.items()}


def digests(labels):
    return {label: sorted(hashlib.sha256(data).hexdigest() for data in datas) for label, datas in labels.items()}


def test_up_and_down_through_bad_weather(tmp_path, uploads):
    with serving(tmp_path / "data") as service:
        weather = Weather(service.port)
        client = ApiClient(f"http://127.0.0.1:{weather.port}/api/", service.key, attempts=1, timeout=(1, 1))
        try:
            training_set = service.new_set("Weather")
            transfers = TransferQueue(tmp_path / "transfers", lambda _: client)
            up = transfers.add_upload("c", training_set, "Up", uploads)
            run(transfers)
            assert transfers.status(up).state is TransferState.DONE, transfers.failures(up)
            assert transfers.status(up).done == len(uploads)
            down = transfers.add_download("c", training_set, "Down", tmp_path / "out")
            run(transfers)
            assert transfers.status(down).state is TransferState.DONE, transfers.failures(down)
            transfers.close()
            files = {}
            for path in (tmp_path / "out").rglob("*"):
                if path.is_file():
                    files.setdefault(path.parent.name, []).append(path.read_bytes())
            assert digests(files) == wanted(uploads)
            assert weather.counts["cut"]
        finally:
            client.close()
            weather.close()


def test_bad_weather_makes_no_second_image_where_only_the_documented_calls_are(tmp_path, uploads):
    with FakeApi() as service:
        training_set = service.add_set("Set")
        service.merges_same = False
        weather = Weather(service.port, seed=3)
        client = ApiClient(f"http://127.0.0.1:{weather.port}/api/", service.key, attempts=1, timeout=(1, 1))
        service.signed_origin = f"http://127.0.0.1:{weather.port}"  # what it signs leads through the weather too
        try:
            transfers = TransferQueue(tmp_path / "transfers", lambda _: client)
            up = transfers.add_upload("c", training_set, "Up", uploads[:60])
            run(transfers)
            assert transfers.status(up).state is TransferState.DONE, transfers.failures(up)
            transfers.close()
            assert service.content(training_set) == wanted(uploads[:60])
        finally:
            client.close()
            weather.close()
