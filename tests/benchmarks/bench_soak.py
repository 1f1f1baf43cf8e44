"""The service under mixed use: uploads, listings, classifications, moves and deletes, with what it takes before and after.

    python tests/benchmarks/bench_soak.py [MINUTES] [CLIENTS]

Prints resident memory, open descriptors and the median and worst latency of each call, for the second and the last tenth of
the time. Nothing may fail, and memory and descriptors of the end should be those of the beginning once it was warm.
"""

import random
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.service_process import Service, serving

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "clothing"
LABELS = ("dress", "hat", "shoes")
_KEPT = 300  # images of a client's set; beyond that some are deleted


class Client(threading.Thread):
    """One client on a training set of its own; `seen` has (when, what, seconds), `failed` what did not go well."""

    def __init__(self, service: Service, number: int, until: float) -> None:
        super().__init__(name=f"client {number}")
        self._service = service
        self._random = random.Random(number)
        self._until = until
        self._set = service.new_set(f"Soak {number}")
        self._slug = f"soak-{number}"
        self._photos = [
            path.read_bytes() for label in LABELS for path in sorted((PHOTOS / "train" / label).glob("*.jpg"))
        ]
        self._session = requests.Session()
        self._session.auth = (service.key, "")
        self._ids: list[str] = []
        self.seen: list[tuple[float, str, float]] = []
        self.failed: list[str] = []

    def run(self) -> None:
        acts = (
            [self.upload] * 8
            + [self.classify] * 3
            + [self.move] * 2
            + [self.listing, self.page, self.download, self.feedback]
        )
        while time.monotonic() < self._until:
            try:
                self._random.choice(acts)()
                if len(self._ids) > _KEPT:
                    self.delete()
            except requests.RequestException as error:
                self.failed.append(str(error))
        self._session.close()

    def upload(self) -> None:
        data = self._random.choice(self._photos) + self._random.randbytes(8)
        label = self._random.choice(LABELS)
        answer = self._call(
            "upload", "POST", f"training-set/{self._set}/{label}/image", files={"image": ("a.jpg", data)}
        )
        self._ids.append(answer["id"])

    def classify(self) -> None:
        data = self._random.choice(self._photos)
        body = {"classifiers[]": self._random.choice(["safe-for-work", "design-score", "extract-text"])}
        self._call("classify", "POST", "classify", data=body, files={"image": ("a.jpg", data)})

    def move(self) -> None:
        if self._ids:
            wire, label = self._random.choice(self._ids), self._random.choice(LABELS)
            self._call("move", "PATCH", f"training-image/{wire}", json={"label": label})

    def listing(self) -> None:
        self._call("listing", "GET", f"training-set/{self._set}/images")

    def page(self) -> None:
        self._call("page", "GET", f"training-set/{self._set}/images?limit=50")

    def download(self) -> None:
        listed = self._call("page", "GET", f"training-set/{self._set}/images?limit=5")
        for group in listed["data"]:
            for image in group["images"]:
                for url in (image["url"], image["thumbnail_url"]):
                    self._timed("download", lambda url=url: self._session.get(url, timeout=60))

    def feedback(self) -> None:
        self._call("message", "POST", "feedback/freeform", data={"message": "aGVsbG8="})

    def delete(self) -> None:
        some, self._ids = self._ids[:50], self._ids[50:]
        self._call("delete", "POST", f"training-set/{self._set}/images/delete", json={"image_ids": some})

    def _call(self, what: str, method: str, path: str, **body: object) -> dict:
        url = self._service.url + path
        return self._timed(what, lambda: self._session.request(method, url, timeout=60, **body)).json()

    def _timed(self, what: str, job) -> requests.Response:
        start = time.monotonic()
        answer = job()
        self.seen.append((start, what, time.monotonic() - start))
        if answer.status_code != 200:
            self.failed.append(f"{what}: {answer.status_code} {answer.text[:200]}")
        return answer


def taken(service: Service) -> str:
    """Memory and descriptors now."""
    descriptors = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
    threads = len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))
    return f"{service.memory() / 2**20:,.0f} MiB, {descriptors} descriptors, {threads} threads"


def main(minutes: float = 10, clients: int = 4) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as service:
        print(f"fresh: {taken(service)}", flush=True)
        start = time.monotonic()
        end = start + minutes * 60
        running = [Client(service, number, end) for number in range(clients)]
        for client in running:
            client.start()
        for tenth in range(1, 11):
            time.sleep(max(0, start + tenth * minutes * 6 - time.monotonic()))
            print(f"after {tenth * minutes / 10:g} min: {taken(service)}", flush=True)
        for client in running:
            client.join()
        times: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for at, what, took in (entry for client in running for entry in client.seen):
            for part, (since, until) in enumerate(
                [(0.1, 0.2), (0.9, 1.0)]
            ):  # the first tenth loads what is loaded once
                if since <= (at - start) / (end - start) < until:
                    times[what][part].append(took * 1000)
        for what, parts in sorted(times.items()):
            shown = [
                f"{statistics.median(part):.1f} ms (worst {max(part):.0f}, {len(part)} calls)" for part in parts if part
            ]
            print(f"{what}: second tenth {', last tenth '.join(shown)}")
        failed = [line for client in running for line in client.failed]
        print(f"{sum(len(client.seen) for client in running):,} calls, {len(failed)} failed", *failed[:20], sep="\n")
        if failed or "Traceback" in service.log:
            raise SystemExit(service.log[-5000:] or 1)


if __name__ == "__main__":
    main(*(float(text) if number == 0 else int(text) for number, text in enumerate(sys.argv[1:])))
