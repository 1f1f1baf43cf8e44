"""Load on a team's service: clients that change through any of its services, and know what has to be there afterwards.

Every change may be sent again without another effect. A client repeats one until it is acknowledged, so that it knows the
state of its training set exactly; a listing by any service, right after an acknowledgement by another, has to show it.
"""

import hashlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests

from tests.helpers.service_process import KEY
from tests.helpers.stress_clients import _picture
from tests.helpers.waiting import PATIENCE, until

LABELS = ("a", "b", "c")
CORRECTED = "Safe for Work"


class TeamClient:
    """One client of many, with a training set of its own. `wrong` are answers that may not be, `statuses` all of them."""

    def __init__(self, number: int, urls: list[str]) -> None:
        self.number = number
        self.urls = urls
        self.random = random.Random(number)
        self.name = f"Of client {number}"
        self.set_id = 0
        self.ids: dict[int, str] = {}  # image id of each content
        self.expected: dict[int, str] = {}  # label of each content
        self.corrected: dict[str, str] = {}  # label by sha256
        self.statuses: Counter[str] = Counter()
        self.acknowledged = 0
        self.slowest = 0.0
        self.wrong: list[str] = []
        self._next = 0
        self._session = requests.Session()

    def run(self, steps: int | None, stopping: threading.Event) -> None:
        """Make so many changes, or change until `stopping`."""
        try:
            self._create()
            while not stopping.is_set() and (steps is None or steps > 0):
                self._step()
                steps = None if steps is None else steps - 1
        except BaseException as error:  # noqa: BLE001 - the test shows it
            self.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            self._session.close()

    def call(self, method: str, path: str, **more):
        """Return the JSON of a call that is acknowledged at last, by any service; None where there is no such thing."""
        began, again = time.monotonic(), False
        while time.monotonic() < began + 2 * PATIENCE:
            url = self.random.choice(self.urls)
            try:
                answer = self._session.request(method, url + path, auth=(KEY, ""), timeout=60, **more)
            except requests.RequestException:
                self.statuses["no connection"] += 1
                time.sleep(0.1)
                again = True
                continue
            self.statuses[str(answer.status_code)] += 1
            if answer.status_code == 200:
                self.slowest = max(self.slowest, time.monotonic() - began)
                return answer.json()
            if answer.status_code in (429, 503) and answer.headers.get("retry-after"):
                time.sleep(0.2 + self.random.random())
                again = True
                continue
            if answer.status_code == 404 and again and method == "DELETE":  # it had been done
                return None
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            return None
        self.wrong.append(f"{method} {path}: never acknowledged")
        return None

    def listed(self) -> dict[str, str]:
        """Return the labels of its images by id, as any service lists them."""
        answer = self.call("GET", f"training-set/{self.set_id}/images")
        return {image["id"]: group["label"] for group in answer["data"] for image in group["images"]} if answer else {}

    def check(self) -> None:
        """Register what a service lists otherwise than it was acknowledged."""
        found, expected = self.listed(), {self.ids[at]: label for at, label in self.expected.items()}
        if found != expected:
            self.wrong.append(
                f"listed {len(found)}, acknowledged {len(expected)}: {set(found.items()) ^ set(expected.items())}"
            )

    def _create(self) -> None:
        while not self.set_id:
            there = self.call("GET", "training-sets") or {"data": []}
            mine = [row["id"] for row in there["data"] if row["name"] == self.name]
            if mine:
                self.set_id = mine[0]
            else:
                self.call("POST", "training-sets", json={"name": self.name})

    def _step(self) -> None:
        kind = self.random.choices(["upload", "move", "delete", "correct", "classify", "check"], [40, 20, 8, 8, 8, 16])[
            0
        ]
        label = self.random.choice(LABELS)
        if kind == "check":
            self.check()
        elif kind in {"correct", "classify"}:
            self._classify(label if kind == "correct" else None)
        elif kind == "upload" or not self.expected:
            at, self._next = self._next, self._next + 1
            path = f"training-set/{self.set_id}/{label}/image"
            answer = self.call("POST", path, files={"image": ("a.jpg", self._content(at))})
            if answer:
                self.ids[at], self.expected[at] = answer["id"], label
                self.acknowledged += 1
        else:
            at = self.random.choice(list(self.expected))
            if kind == "move":
                done = self.call("PATCH", f"training-image/{self.ids[at]}", json={"label": label})
                if done:
                    self.expected[at] = label
            else:
                self.call("DELETE", f"training-image/{self.ids[at]}")
                del self.expected[at]
            self.acknowledged += 1

    def _classify(self, correct: str | None) -> None:
        content = self._content(self.random.randrange(1000, 1100))
        answer = self.call(
            "POST", "classify", data={"classifiers[]": "safe-for-work"}, files={"image": ("a.jpg", content)}
        )
        if answer and correct:
            body = {"classification_id": answer["data"][0]["id"], "correct_label_id": correct}
            if self.call("POST", "feedback/classification", json=body):
                self.corrected[hashlib.sha256(content).hexdigest()] = correct
                self.acknowledged += 1

    def _content(self, at: int) -> bytes:
        return _picture(10_000 * (self.number + 1) + at)


class TeamLearner:
    """A client that moves one image back and forth, and waits each time until that is learned; `waits` are in seconds."""

    def __init__(self, urls: list[str]) -> None:
        self.client = TeamClient(999, urls)
        self.waits: list[float] = []

    def run(self, rounds: int | None, stopping: threading.Event) -> None:
        """Learn so many times, or until `stopping`."""
        client = self.client
        try:
            client._create()
            for at in range(8):
                path = f"training-set/{client.set_id}/{LABELS[at % 2]}/image"
                client.ids[at] = client.call("POST", path, files={"image": ("a.jpg", client._content(at))})["id"]
            label = 1
            while not stopping.is_set() and (rounds is None or len(self.waits) < rounds):
                changed = time.monotonic()
                client.call("PATCH", f"training-image/{client.ids[0]}", json={"label": LABELS[label]})
                while not stopping.is_set():
                    state = client.call("GET", "classifier/of-client-999")
                    if state and state["status"] == "ready":
                        self.waits.append(time.monotonic() - changed)
                        break
                    time.sleep(0.1)
                label = 1 - label
        except BaseException as error:  # noqa: BLE001
            client.wrong.append(f"{type(error).__name__}: {error}")


def check_all(clients: list[TeamClient]) -> list[str]:
    """Compare what each service has with what was acknowledged, and return all that was wrong."""
    corrected: dict[str, str] = {}
    for client in clients:
        if client.set_id:
            for url in client.urls:
                client.urls = [url]
                client.check()
        corrected |= client.corrected
    if corrected:
        asking = clients[0]
        rows = asking.call("GET", "training-sets")["data"]
        number = next(row["id"] for row in rows if row["name"] == CORRECTED)
        groups = asking.call("GET", f"training-set/{number}/images")["data"]
        found = {image["sha256"]: group["label"] for group in groups for image in group["images"]}
        lost = {sha256 for sha256, label in corrected.items() if found.get(sha256) != label}
        if lost:
            asking.wrong.append(f"{len(lost)} corrections are lost")
    return [each for client in clients for each in client.wrong]


class PostgresPart:
    """The PostgreSQL server of `stores.postgres`, which can be killed with all its processes and started again."""

    name = "postgres"

    def __init__(self, url: str) -> None:
        self._folder = Path(parse_qs(urlsplit(url).query)["host"][0])

    def kill(self) -> None:
        first = (self._folder / "data" / "postmaster.pid").read_text().split()[0]
        children = subprocess.run(["pgrep", "-P", first], capture_output=True, text=True).stdout.split()
        for number in (first, *children):
            try:
                os.kill(int(number), signal.SIGKILL)
            except ProcessLookupError:
                continue

    def start(self) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._folder}' -c fsync=off"
        command = [*as_user, "pg_ctl", "-D", str(self._folder / "data"), "-l", str(self._folder / "log"), "-o", options]

        def started() -> bool:
            with Path(os.devnull).open("wb") as nowhere:
                done = subprocess.run([*command, "-w", "start"], stdout=nowhere, stderr=nowhere, cwd=self._folder)
            return done.returncode == 0

        until(started, "PostgreSQL", between=lambda: time.sleep(0.5))


def in_threads(jobs: list[Callable[[], None]]) -> list[threading.Thread]:
    """Start a thread for each job."""
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads
