"""The client and what stands on it, each against the least that does the same, on one real service, in turn.

    python tests/benchmarks/bench_client.py [IMAGES]

A call (processor time of our process) against http.client and requests; a listing of 100,000 images through Workspace,
catalog included, against json.loads of the bare answer; a move and a deletion of many images through Edits, journal
and trash included, against the bare calls.
"""

import contextlib
import http.client
import io
import json
import random
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.dataset.connections.store import Connection
from apitorch_desktop.dataset.edits.history import EditHistory
from apitorch_desktop.dataset.workspace.offline_cache import OfflineCache
from apitorch_desktop.dataset.workspace.scratch import ScratchUploads
from apitorch_desktop.dataset.workspace.workspace import Workspace
from tests.helpers.fake_api import KEY, FakeApi
from tests.helpers.fake_api import Image as Stored
from tests.helpers.service_process import serving

_ROUNDS = 5


def processor() -> float:
    """Seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(what: str, unit: float, clock: Callable[[], float], **ways: Callable[[], object]) -> None:
    """Run each way in turn; print medians and the ratio of the first to each of the others."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            begun = clock()
            way()
            found[name].append((clock() - begun) / unit)
    medians = {name: statistics.median(times) for name, times in found.items()}
    first = next(iter(medians))
    ratios = ", ".join(f"{medians[first] / medians[name]:.2f} × {name}" for name in list(medians)[1:])
    told = ", ".join(f"{name} {value * 1000:.2f} ms" for name, value in medians.items())
    print(f"{what}: {told}; {first} = {ratios}")


def picture(seed: int) -> bytes:
    """A small JPEG."""
    image = Image.frombytes("RGB", (32, 24), random.Random(seed).randbytes(3 * 32 * 24))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def workspace(folder: Path, url: str, key: str) -> tuple[Workspace, contextlib.ExitStack]:
    """An open connection."""
    stack = contextlib.ExitStack()
    parts = ApiClient(url, key), OfflineCache(folder), ScratchUploads(folder)
    for part in parts:
        stack.callback(part.close)
    made = Workspace(Connection("c1", "x", url), *parts)
    made.connect()
    return made, stack


def calls(folder: Path) -> None:
    """A call, and a listing of 100,000 images."""
    with FakeApi() as service:
        number = service.add_set("Big")
        for place in range(10):
            service.sets[number].labels[f"l{place}"] = {secrets.token_hex(20): Stored(b"") for _ in range(10_000)}
        listing = service._listing(service.sets[number])
        service._listing = lambda _: listing
        made, stack = workspace(folder / "calls", service.url, KEY)
        bare = http.client.HTTPConnection("127.0.0.1", service.port)
        session = requests.Session()
        session.auth = (KEY, "")
        headers = {"Authorization": session.get(service.url + "ping").request.headers["Authorization"]}

        def least(path: str) -> bytes:
            bare.request("GET", "/api/" + path, headers=headers)
            return bare.getresponse().read()

        compare(
            "a call",
            300,
            time.thread_time,
            ours=lambda: [made.client.ping() for _ in range(300)],
            http_client=lambda: [json.loads(least("ping")) for _ in range(300)],
            requests=lambda: [session.get(service.url + "ping").json() for _ in range(300)],
        )
        compare(
            "a listing of 100,000 images",
            1,
            time.perf_counter,
            ours=lambda: made.listing(number),
            bare=lambda: json.loads(least(f"training-set/{number}/images")),
            known=lambda: made.cached_listing(number),
        )
        bare.close()
        session.close()
        stack.close()


def edits(folder: Path, count: int) -> None:
    """Moves and deletions of many images."""
    with serving(folder / "service") as service:
        number = service.new_set("Clothes")
        made, stack = workspace(folder / "edits", service.url, service.key)
        client = made.client
        journal = EditHistory(folder / "edits")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda seed: client.upload_image(number, "a", data=picture(seed)), range(count)))
        images = made.listing(number).images
        ids = [image.image_id for image in images]
        compare(
            f"a move of {count} images and back",
            2,
            time.perf_counter,
            ours=lambda: (journal.move(made, number, images, "b"), journal.undo(made)),
            bare=lambda: (client.move_images(number, ids, "b"), client.move_images(number, ids, "a")),
        )
        begun = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda image: client.download(image.url), images))
        downloaded = time.perf_counter() - begun
        begun = time.perf_counter()
        journal.delete(made, number, images)
        deleted = time.perf_counter() - begun
        begun = time.perf_counter()
        journal.undo(made)
        back = time.perf_counter() - begun
        print(
            f"deleting {count} images, bytes kept: {deleted:.2f} s = {deleted / downloaded:.2f} × downloading them;"
            f" and back {back:.2f} s"
        )
        journal.close()
        stack.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        calls(Path(home))
        edits(Path(home), int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
