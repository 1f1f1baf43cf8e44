"""Clients that change a service over HTTP as fast as possible, and record the acknowledged changes.

Each has a training set of its own and one request open at a time, so that the expected state is known:
`StressClient.state` after the acknowledged changes, or the same with `StressClient.open`, the change that was running
when the service died.
"""

import base64
import io
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import requests
from PIL import Image

from tests.helpers.stress_store import NEW, State, after

LABELS = ("a", "b", "c")


def _picture(seed: int) -> bytes:
    image = Image.frombytes("RGB", (32, 24), random.Random(seed).randbytes(3 * 32 * 24))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


CONTENTS = {f"image {number}": _picture(number) for number in range(10)}
"""The same for all clients, which therefore share files."""


class ServiceGone(Exception):  # noqa: N818 - named for what happened
    """The service no longer responds."""


class StressClient:
    """One client; it changes its set until the service is gone, and can be started again with the next service."""

    name = ""
    """The name of its training set."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.state: State | None = None
        self.open: list[Any] | None = None
        self.acknowledged: Counter[str] = Counter()
        """How many changes of each kind."""
        self.error: BaseException | None = None
        self._url = self._key = ""
        self._session = requests.Session()

    def start(self, url: str, key: str) -> threading.Thread:
        """Continue with a service that has just been started and was found in `state`."""
        self._url, self._key, self.open = url, key, None
        thread = threading.Thread(target=self._run, name=self.name)
        thread.start()
        return thread

    def change(self) -> Iterator[list[Any]]:
        """Yield changes; each is made before the next is requested."""
        raise NotImplementedError

    def do(self, change: list[Any]) -> None:
        """Make one change. Raises ServiceGone."""
        raise NotImplementedError

    def acknowledge(self, change: list[Any]) -> None:
        """Record a change that was answered with 200."""
        self.state = after(self.state, change)
        self.acknowledged[change[0]] += 1

    def _run(self) -> None:
        self._session = requests.Session()
        try:
            for change in self.change():
                self.open = change
                self.do(change)
                self.acknowledge(change)
                self.open = None
        except ServiceGone:
            pass
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error
        finally:
            self._session.close()

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Return the JSON of a response. Raises ServiceGone; AssertionError for a status other than 200."""
        try:
            answer = self._session.request(method, self._url + path, auth=(self._key, ""), timeout=60, **more)
        except requests.RequestException as error:
            raise ServiceGone from error
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def number(self) -> int:
        """Return the id of its training set."""
        sets = self.call("GET", "training-sets")["data"]
        return int(next(row["id"] for row in sets if row["name"] == self.name))


class Editor(StressClient):
    """A client that uploads, moves, deletes, renames and sends messages."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = f"Edited {number}"

    def change(self) -> Iterator[list[Any]]:
        """Yield random possible changes."""
        while True:
            yield self._choose() if self.state is not None else ["create"]

    def _choose(self) -> list[Any]:
        pick, labels = self.random, self.state["labels"] if self.state else {}
        full = [label for label, held in labels.items() if held]
        kind = pick.choices(
            ["add", "move", "delete", "rename", "delete label", "delete set", "message"], [30, 10, 8, 3, 2, 1, 3]
        )[0]
        label, other = pick.choice(LABELS), pick.choice(LABELS)
        if kind in {"move", "delete"} and full:
            label = pick.choice(full)
            names = pick.sample(labels[label], pick.randint(1, len(labels[label])))
            return [kind, label, names, other] if kind == "move" else [kind, label, names]
        if kind in {"rename", "delete label"} and labels:
            label = pick.choice(list(labels))
            return [kind, label, other] if kind == "rename" else [kind, label]
        if kind in {"delete set", "message"}:
            return [kind]
        return ["add", label, pick.choice(list(CONTENTS))]

    def do(self, change: list[Any]) -> None:
        """Use the call for a single image where there is one image, else the call for many."""
        kind, *values = change
        if kind == "create":
            self.call("POST", "training-sets", json={"name": self.name})
        elif kind == "message":
            self.call("POST", "feedback/freeform", json={"message": base64.b64encode(b"hello").decode()})
        else:
            self._do_in(self.number(), kind, values)

    def _do_in(self, number: int, kind: str, values: list[Any]) -> None:
        one = f"training-set/{number}"
        if kind == "add":
            self.call("POST", f"{one}/{values[0]}/image", files={"image": ("a.jpg", CONTENTS[values[1]])})
        elif kind == "rename":
            self.call("PATCH", f"{one}/labels/{values[0]}", json={"label": values[1], "merge": True})
        elif kind == "delete label":
            self.call("DELETE", f"{one}/labels/{values[0]}")
        elif kind == "delete set":
            self.call("DELETE", one)
        else:
            ids = self._ids(number, values[0], values[1])
            path, body = (f"{one}/images/{kind}", {"image_ids": ids})
            if kind == "move":
                body["label"] = values[2]
            if len(ids) > 1:
                self.call("POST", path, json=body)
            elif kind == "move":
                self.call("PATCH", f"training-image/{ids[0]}", json={"label": values[2]})
            else:
                self.call("DELETE", f"training-image/{ids[0]}")

    def _ids(self, number: int, label: str, names: list[str]) -> list[str]:
        """Return ids by uploading again: the response has the id of the first upload."""
        files = [{"image": ("a.jpg", CONTENTS[name])} for name in names]
        path = f"training-set/{number}/{label}/image"
        return [self.call("POST", path, files=each)["id"] for each in files]


class Corrector(StressClient):
    """A client that classifies with a standard classifier and corrects it; the corrections go to a training set of its
    name.
    """

    name = "Safe for Work"

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.state = NEW
        self._answered: tuple[str, str] | None = None

    def change(self) -> Iterator[list[Any]]:
        """Yield corrections; the first one is of the answer given before the service died, if any."""
        while True:
            if self._answered is None:
                name = self.random.choice(list(CONTENTS))
                files = {"image": ("a.jpg", CONTENTS[name])}
                answer = self.call("POST", "classify", data={"classifiers[]": "safe-for-work"}, files=files)
                self._answered = answer["data"][0]["id"], name
            yield ["correct", self.random.choice(LABELS), self._answered[1]]

    def do(self, change: list[Any]) -> None:
        """Correct the last answer."""
        assert self._answered
        body = {"classification_id": self._answered[0], "correct_label_id": change[1]}
        self.call("POST", "feedback/classification", json=body)

    def acknowledge(self, change: list[Any]) -> None:
        """Record the change and go on to the next answer."""
        super().acknowledge(change)
        self._answered = None


class Learner(Editor):
    """A client that makes a change, waits for training, restores an older version, and classifies with it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = "Learned"
        self.versions = 0
        """The newest that was seen."""
        self.chosen: int | None = None
        """The one made current, where none was trained since."""

    def change(self) -> Iterator[list[Any]]:
        """Move one photo back and forth."""
        if self.state is None:
            yield ["create"]
        while True:
            held = self.state["labels"] if self.state else {}
            there = sum(len(names) for names in held.values())
            if there < len(CONTENTS):
                yield ["add", LABELS[there % 2], f"image {there}"]
                continue
            source = "a" if "image 0" in held["a"] else "b"
            yield ["move", source, ["image 0"], "b" if source == "a" else "a"]
            self._wait()
            if self.random.random() < 0.5:
                oldest = self.call("GET", "classifier/learned/versions")["data"][-1]["version"]
                self.chosen = None  # until it is acknowledged either may be
                self.call("POST", "classifier/learned/current", json={"version": oldest})
                self.chosen = oldest
            files = {"image": ("a.jpg", CONTENTS["image 5"])}
            self.call("POST", "classify", data={"classifiers[]": "learned"}, files=files)

    def _wait(self) -> None:
        while True:
            state = self.call("GET", "classifier/learned")
            if state["status"] == "ready" and state["version"] > self.versions:
                self.versions, self.chosen = state["version"], None
                return
            assert state["status"] != "failed", state
            time.sleep(0.05)
