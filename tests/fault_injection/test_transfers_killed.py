"""A transfer whose program and whose service are killed over and over: all there, once, byte for byte.

KILLS=20 PHOTOS=1000 in the environment makes it the long one.
"""

import hashlib
import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.sources.image_source import ImageFile, UploadItem
from apitorch_desktop.dataset.transfers.queue import TransferQueue, TransferState
from tests.helpers.service_process import free_port

KILLS = int(os.environ.get("KILLS", "5"))
PHOTOS = int(os.environ.get("PHOTOS", "300"))
KEY = "k" * 42

_PROGRAM = """
import sys, threading
from pathlib import Path
from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.transfers.queue import TransferQueue
client = ApiClient(sys.argv[2], sys.argv[3], attempts=1)
transfers = TransferQueue(Path(sys.argv[1]), lambda _: client)
workers = [
    threading.Thread(target=transfers.work, args=(lambda: False,), kwargs={"until_done": True}) for _ in range(4)
]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""


class Killed:
    """A process that is started, killed and started again."""

    def __init__(self, command, ready=False):
        self.command = command
        self.ready = ready
        self.kills = 0
        self.process = None

    def start(self):
        environment = os.environ | {"APITORCH_API_KEY": KEY}
        out = subprocess.PIPE if self.ready else None
        self.process = subprocess.Popen(self.command, env=environment, stdout=out, text=True)
        if self.ready:
            assert "service" in self.process.stdout.readline()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.ready:
            self.process.stdout.close()
        self.kills += 1

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            if self.ready:
                self.process.stdout.close()


def collect(folder: Path, photos: Path) -> list[UploadItem]:
    """So many different pictures: the photos at hand, then noise."""
    paths = sorted(photos.glob("*/*/*.jpg"))[:PHOTOS]
    for number in range(len(paths), PHOTOS):
        stream = io.BytesIO()
        Image.frombytes("RGB", (90, 90), random.Random(number).randbytes(3 * 90 * 90)).save(stream, "JPEG")
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(stream.getvalue())
    uploads = []
    for number, path in enumerate(paths):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        uploads.append(UploadItem(f"label_{number % 5}", ImageFile(path), path.name, len(data), digest))
    return uploads


def arrived(journal: Path) -> int:
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as reader:
        count = reader.execute("SELECT COUNT(*) FROM items WHERE state IN (2, 3)").fetchone()[0]
    reader.close()
    return count


@pytest.mark.timeout(600)
def test_program_and_service_are_killed_and_nothing_is_lost_or_twice(tmp_path, photos):
    url = f"http://127.0.0.1:{(port := free_port())}/api/"
    apitorch = [sys.executable, "-m", "apitorch_desktop"]
    service = Killed([*apitorch, "serve", "--port", str(port), "--data", str(tmp_path / "data")], ready=True)
    program = Killed([sys.executable, "-c", _PROGRAM, str(tmp_path / "transfers"), url, KEY])
    client = ApiClient(url, KEY)
    try:
        service.start()
        training_set = client.create_training_set("Killed")
        uploads = collect(tmp_path, photos)
        first = TransferQueue(tmp_path / "transfers", lambda _: client)
        transfer = first.add_upload("c", training_set.id, "Killed", uploads)
        first.close()
        program.start()
        draw = random.Random(os.environ.get("PYTEST_SEED", "1"))
        victims = [service, program] * KILLS
        draw.shuffle(victims)
        for number, victim in enumerate(victims):
            wait_for(tmp_path / "transfers" / "transfers.sqlite", PHOTOS * number // len(victims), program)
            time.sleep(draw.uniform(0, 0.05))
            victim.kill()
            victim.start()
        assert program.process.wait(120) == 0
        last = TransferQueue(tmp_path / "transfers", lambda _: client)
        status = last.status(transfer)
        assert (status.state, status.failed) == (TransferState.DONE, 0), last.failures(transfer)
        assert status.done + status.skipped == PHOTOS
        listing = client.images(training_set.id)
        found = {
            group.label: sorted(hashlib.sha256(client.download(image.url)).hexdigest() for image in group.images)
            for group in listing.data
        }
        expected = {}
        for upload in uploads:
            expected.setdefault(upload.label, []).append(upload.sha256)
        assert found == {label: sorted(digests) for label, digests in expected.items()}
        ids = {image.image_id for group in listing.data for image in group.images}
        assert {result.image_id for result in last.results(transfer) if result.created} == ids
        assert (service.kills, program.kills) == (KILLS, KILLS)
        last.close()
    finally:
        program.end()
        service.end()
        client.close()


def wait_for(journal, items, program, timeout=120):
    """Until more than so many items have arrived, or the program has ended."""
    end = time.monotonic() + timeout
    while arrived(journal) <= items:
        assert time.monotonic() < end, "the transfer does not get on"
        if program.process.poll() is not None:
            return
        time.sleep(0.005)


@pytest.mark.timeout(600)
def test_a_download_is_killed_and_goes_on(tmp_path, photos):
    url = f"http://127.0.0.1:{(port := free_port())}/api/"
    command = [sys.executable, "-m", "apitorch_desktop", "serve", "--port", str(port), "--data", str(tmp_path / "data")]
    service = Killed(command, ready=True)
    program = Killed([sys.executable, "-c", _PROGRAM, str(tmp_path / "transfers"), url, KEY])
    client = ApiClient(url, KEY)
    try:
        service.start()
        training_set = client.create_training_set("Down")
        uploads = collect(tmp_path, photos)[:150]
        transfers = TransferQueue(tmp_path / "transfers", lambda _: client)
        transfers.add_upload("c", training_set.id, "Up", uploads)
        transfers.work(lambda: False, until_done=True)
        for status in transfers.all():
            transfers.forget(status.id)
        transfer = transfers.add_download("c", training_set.id, "Down", tmp_path / "out")
        transfers.close()
        program.start()
        victims = [service, program] * 3
        for number, victim in enumerate(victims):
            wait_for(tmp_path / "transfers" / "transfers.sqlite", 150 * number // len(victims), program)
            victim.kill()
            victim.start()
        assert program.process.wait(120) == 0
        transfers = TransferQueue(tmp_path / "transfers", lambda _: client)
        assert transfers.status(transfer).state is TransferState.DONE, transfers.failures(transfer)
        transfers.close()
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
        assert digests == sorted(upload.sha256 for upload in uploads)
    finally:
        program.end()
        service.end()
        client.close()
