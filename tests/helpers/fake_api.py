"""Fake API Torch service in this process: the documented calls only, correct by default, with faults on request.

    with FakeApi() as service:
        clothes = service.add_set("Clothes", {"dress": [jpeg, …]})
        service.wrong(500, times=2, path="/image$")        # the next two such requests
        service.wrong_in_turn("lost", "", 500, path="/image$")  # the next three, the second without a fault
        service.chaos(0.1, [429, 500, "drop", "lost"])     # any request, now and then

What can go wrong (`Wrong`): a status (401, 403, 404, 429, 500, 502 in HTML, 507 …), or
    late      the answer comes after `seconds`
    held      what is asked for is done, and the answer comes when the test calls `release()`, or `right()`
    half      half of the answer's body, then the connection is closed
    twice     the answer comes twice on the same connection
    drop      the connection is closed before the request is looked at
    lost      the request is done, and the connection closed without an answer
    longer    the body is longer than its Content-Length; `shorter` the other way round
    drip      a byte of the body at a time, `seconds` between two
    portal    200 with a log-in page; `page` 404 in HTML; `json` 200 of some other
              service; `garbage` 200 with broken JSON; `bomb` a gzip bomb
    redirect  to `to`
    expire    a new day begins before the answer, see `expire()`; "" is no fault
Its images are on another origin (localhost in place of 127.0.0.1), as API Torch's are. `expire()` lets all signed
addresses run out, `change_ids()` gives every image another id, `vanish()` closes the port, `come_back()` opens it again.
"""

import base64
import gzip
import hashlib
import json
import random
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from apitorch_desktop.api.types import Id
from tests.helpers.waiting import PATIENCE

KEY = "k3y-of-the-misbehaving-service-0123456789A"
assert len(KEY) == 42

_ALL = 1000
"""More answers than are ever held."""

FIRST_SET = Id(294)
"""Id of the first training set that is added."""


@dataclass
class Wrong:
    """One thing that goes wrong, for the next `times` requests that match."""

    what: int | str
    times: int = 1
    method: str = ""
    path: str = ""
    seconds: float = 0.3
    retry_after: str = ""
    to: str = ""
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """What a held answer waits for."""


@dataclass
class Image:
    """A stored image."""

    data: bytes
    extension: str = ".jpg"


@dataclass
class Set:
    """A training set: label → id → image."""

    id: Id
    name: str
    labels: dict[str, dict[str, Image]] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return self.name.lower().replace(" ", "-")


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    authorization: str
    host: str
    accept: str = ""
    status: int = 0
    at: float = field(default_factory=time.monotonic)


@dataclass
class _Answer:
    status: int
    body: bytes
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class FakeApi:
    """The service; a context manager. Attributes may be changed at any time."""

    def __init__(self, key: str = KEY, port: int = 0) -> None:
        self.key = key
        self.sets: dict[Id, Set] = {}
        self.seen: list[Seen] = []
        self.sent: list[tuple[str, str]] = []
        """Feedback that came: (classification id, label), or ("", message)."""
        self.unknown_fields = False
        self.numbers_as_strings = False
        self.reorder = False
        self.slowly = 0.0
        """Seconds between two pieces of 8 kB of an image."""
        self.ids = "random"
        """"random", or "content": the id comes from label and bytes, so it is the same again."""
        self.feedback_set: int | None = None
        self.merges_same = True
        """The same image sent again to a label is one image; else it becomes a second one."""
        self.signed_origin = ""
        """Origin of the signed addresses, in place of localhost."""
        self.latency = 0.0
        """Seconds that an upload takes, times the uploads at a time."""
        self.uploading = 0
        self.most_uploading = 0
        self._wrongs: list[Wrong] = []
        self._chaos: tuple[float, Sequence[int | str], random.Random] | None = None
        self._countdown: tuple[int, int | str] | None = None
        self._day = 0
        self._secret = secrets.token_hex(8)
        self._classified: dict[str, str] = {}
        self._held = threading.Semaphore(0)
        self._lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = port
        self.come_back()

    def __enter__(self) -> "FakeApi":
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/"

    # --- what tests ask of it

    def add_set(self, name: str, labels: Mapping[str, Iterable[bytes]] | None = None) -> Id:
        """A training set with images; its id."""
        with self._lock:
            number = Id(len(self.sets) + int(FIRST_SET))
            self.sets[number] = Set(number, name)
            for label, images in (labels or {}).items():
                self.sets[number].labels[label] = {}
                for data in images:
                    self._put(self.sets[number], label, data)
            return number

    def put(self, number: Id, label: str, data: bytes, image_id: str = "") -> str:
        """Store an image, under an id of choice; its id."""
        with self._lock:
            return self._put(self.sets[number], label, data, image_id)

    def stored(self, number: Id) -> dict[str, list[bytes]]:
        """Label → bytes of what is under it."""
        with self._lock:
            return {
                label: [image.data for image in images.values()] for label, images in self.sets[number].labels.items()
            }

    def image_ids(self, number: Id) -> set[str]:
        """Ids of all images of a training set, without `ti_`."""
        with self._lock:
            return {image_id for images in self.sets[number].labels.values() for image_id in images}

    def requests(self, method: str, path: str) -> list[Seen]:
        """Requests that came, by method and a regular expression for the path without its query."""
        return [one for one in self.seen if one.method == method and re.search(path, one.path.partition("?")[0])]

    def content(self, number: Id) -> dict[str, list[str]]:
        """Label → sorted sha256 of what is under it."""
        with self._lock:
            return {
                label: sorted(hashlib.sha256(image.data).hexdigest() for image in images.values())
                for label, images in self.sets[number].labels.items()
            }

    def wrong(self, what: int | str, **given: Any) -> None:
        """The next request, or the next that match, goes wrong."""
        with self._lock:
            self._wrongs.append(Wrong(what, **given))

    def wrong_in_turn(self, *whats: int | str, **given: Any) -> None:
        """The next requests that match go wrong one after the other; "" leaves one as it is."""
        for what in whats:
            self.wrong(what, **given)

    def release(self, answers: int = 1) -> None:
        """Let so many of the answers go that are held, or come to be."""
        self._held.release(answers)

    def fail_at(self, number: int, what: int | str) -> None:
        """The request after `number` more goes wrong."""
        with self._lock:
            self._countdown = (number, what)

    def right(self) -> None:
        """From now on all is well."""
        with self._lock:
            self._wrongs.clear()
            self._chaos = self._countdown = None
            held, self._held = self._held, threading.Semaphore(0)
        held.release(_ALL)

    def chaos(self, probability: float, whats: Sequence[int | str], seed: int = 0) -> None:
        """Each request goes wrong with this probability, in one of these ways."""
        self._chaos = (probability, list(whats), random.Random(seed))

    def expire(self) -> None:
        """A new day: the signed addresses that were given out hold no longer."""
        self._day += 1

    def change_ids(self) -> None:
        """Every image has another id."""
        with self._lock:
            for one in self.sets.values():
                for label, images in one.labels.items():
                    one.labels[label] = {secrets.token_hex(20): image for image in images.values()}

    def vanish(self) -> None:
        """Close the port and all connections."""
        server, self._server = self._server, None
        if server is None:
            return
        held, self._held = self._held, threading.Semaphore(0)
        held.release(_ALL)
        server.shutdown()
        server.server_close()
        with self._lock:
            for connection in list(self._connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 5
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.005)

    def come_back(self) -> None:
        """Open the port again."""
        service = self

        class Handler(_Handler):
            api = service

        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-api", daemon=True).start()

    # --- the documented calls

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> _Answer:
        """The right answer."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match method, parts:
            case "GET", ["api", "ping"]:
                return self._json({"object": "ping", "message": "ok"})
            case "GET", ["api", "training-sets"]:
                return self._json({"object": "list", "data": [self._described(one) for one in self.sets.values()]})
            case "POST", ["api", "training-set", number, label, "image"]:
                return self._upload(self._set(number), _snake(label), body)
            case "GET", ["api", "training-set", number, "images"]:
                return self._listing(self._set(number))
            case "DELETE", ["api", "training-image", wanted]:
                return self._delete(wanted.removeprefix("ti_"))
            case "GET", ["api", "classifiers"]:
                data = [{"object": "classifier", "id": 70, "name": "Work Safe", "description": ""}]
                return self._json({"object": "list", "data": data})
            case "POST", ["api", "classify"]:
                return self._classify(body)
            case "POST", ["api", "feedback", "classification"]:
                return self._correct({**{key: values[0] for key, values in query.items()}, **body})
            case "POST", ["api", "feedback", "freeform"]:
                given = query["message"][0] if "message" in query else body["message"]
                self.sent.append(("", base64.b64decode(given).decode()))
                return self._json({"object": "feedback", "message": "Thank you."})
            case "GET", ["files", _, _]:
                return self._file(path, query)
        return _error(404, f"There is no {path}.")

    def _set(self, number: str) -> Set:
        if number not in self.sets:
            raise _Refusal(404, f"There is no training set {number}.")
        return self.sets[Id(number)]

    def _described(self, one: Set) -> dict[str, Any]:
        url = f"https://www.apitorch.com/training-sets/{one.id}/{one.slug}"
        return {"object": "training_set", "id": one.id.wire, "name": one.name, "description": "", "url": url}

    def _upload(self, one: Set, label: str, body: dict[str, Any]) -> _Answer:
        data = body.get("image")
        if "image_url" in body:
            data = str(body["image_url"]).encode()  # nothing is fetched: the address stands for the image
        elif not isinstance(data, bytes):
            raise _Refusal(400, "One of image_url or image must be specified.")
        elif len(data) < 20:
            raise _Refusal(400, "This is no image.")
        number = self._put(one, label, data)
        return self._json({"object": "training_image", "id": f"ti_{number}", "message": "Image added to training set."})

    def _put(self, one: Set, label: str, data: bytes, image_id: str = "") -> str:
        images = one.labels.setdefault(label, {})
        for number, image in images.items():
            if self.merges_same and image.data == data:
                return number
        seed = f"{one.id}/{label}/".encode() + data
        number = image_id or (hashlib.sha1(seed).hexdigest() if self.ids == "content" else secrets.token_hex(20))
        images[number] = Image(data)
        return number

    def _listing(self, one: Set) -> _Answer:
        labels = list(one.labels.items())
        if self.reorder:
            random.shuffle(labels)
        data = []
        for label, images in labels:
            records = [
                {"filename": number + image.extension, "url": self._sign(one, number)}
                for number, image in images.items()
            ]
            if self.reorder:
                random.shuffle(records)
            data.append({"object": "training_label", "label": label, "images": records})
        return self._json(
            {"object": "list", "training_set_id": one.id.wire, "training_set_slug": one.slug, "data": data}
        )

    def _sign(self, one: Set, number: str) -> str:
        path = f"/files/{one.id}/{number}"
        origin = self.signed_origin or f"http://localhost:{self._port}"
        return f"{origin}{path}?X-Amz-Signature={self._signature(path)}"

    def _signature(self, path: str) -> str:
        return hashlib.sha256(f"{self._secret}{self._day}{path}".encode()).hexdigest()[:20]

    def _file(self, path: str, query: dict[str, list[str]]) -> _Answer:
        if query.get("X-Amz-Signature") != [self._signature(path)]:
            return _Answer(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        _, number, wanted = path.strip("/").split("/")
        for images in self.sets[Id(number)].labels.values():
            if wanted in images:
                return _Answer(200, images[wanted].data, "image/jpeg")
        return _Answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")

    def _delete(self, wanted: str) -> _Answer:
        for one in self.sets.values():
            for images in one.labels.values():
                if images.pop(wanted, None) is not None:
                    return self._json({"object": "training_image", "id": f"ti_{wanted}", "message": "Image deleted."})
        raise _Refusal(404, "There is no such image.")

    def _classify(self, body: dict[str, Any]) -> _Answer:
        url = str(body.get("image_url", ""))
        slugs = body.get("classifiers") or body.get("classifiers[]") or []
        slugs = [slugs] if isinstance(slugs, str) else slugs
        if not url or not 1 <= len(slugs) <= 10:
            raise _Refusal(400, "image_url and one to ten classifiers are required.")
        parts = urlsplit(url)
        if parts.port == self._port and self._file(parts.path, parse_qs(parts.query)).status != 200:
            raise _Refusal(400, "The image at image_url cannot be fetched.")
        data = []
        for slug in slugs:
            number = f"cls_{secrets.token_hex(20)}"
            self._classified[number] = parts.path.rpartition("/")[2]
            data.append(
                {
                    "object": "classification",
                    "id": number,
                    "classifier": slug,
                    "label": "safe for work",
                    "sentence": "Image is safe for work.",
                    "confidence": "high",
                }
            )
        return self._json({"object": "list", "id": f"api_{secrets.token_hex(20)}", "data": data})

    def _correct(self, body: dict[str, Any]) -> _Answer:
        number, label = str(body.get("classification_id", "")), str(body.get("correct_label_id", ""))
        if number not in self._classified:
            raise _Refusal(404, "There is no such classification.")
        self.sent.append((number, label))
        if self.feedback_set is not None:
            data = hashlib.sha256(number.encode()).digest() * 4
            self._put(self.sets[self.feedback_set], _snake(label), data)
        return self._json({"object": "feedback", "message": "Thank you."})

    def _json(self, body: dict[str, Any]) -> _Answer:
        if self.unknown_fields:
            body = {"flux": {"capacity": [1.21]}, **body, "object2": None}
        if self.numbers_as_strings:
            body = _stringed(body)
        return _Answer(200, json.dumps(body).encode())

    @contextmanager
    def upload_watched(self, is_upload: bool) -> Iterator[None]:
        """Count an upload, and let it take its time."""
        if not is_upload:
            yield
            return
        with self._lock:
            self.uploading += 1
            self.most_uploading = max(self.most_uploading, self.uploading)
            seconds = self.latency * self.uploading
        try:
            time.sleep(seconds)
            yield
        finally:
            with self._lock:
                self.uploading -= 1

    # --- what goes wrong

    def next_wrong(self, method: str, path: str) -> Wrong | None:
        """What is to go wrong with a request."""
        with self._lock:
            for wrong in self._wrongs:
                if wrong.method in ("", method) and re.search(wrong.path, path):
                    wrong.times -= 1
                    if wrong.times <= 0:
                        self._wrongs.remove(wrong)
                    return replace(wrong, gate=self._held)  # of now: `right()` may come before the answer
            if self._countdown is not None:
                number, what = self._countdown
                self._countdown = (number - 1, what) if number else None
                return None if number else Wrong(what)
            if self._chaos is not None:
                probability, whats, dice = self._chaos
                if dice.random() < probability:
                    return Wrong(dice.choice(whats), seconds=0.01, retry_after="0")
        return None


class _Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.api._lock:
            self.api._connections.add(self.connection)

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        with self.api._lock:
            self.api._connections.discard(self.connection)

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def _serve(self, method: str) -> None:
        service = self.api
        url = urlsplit(self.path)
        seen = Seen(
            method,
            self.path,
            self.headers.get("Authorization", ""),
            self.headers.get("Host", ""),
            self.headers.get("Accept", ""),
        )
        service.seen.append(seen)
        wrong = service.next_wrong(method, url.path)
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length or (wrong and wrong.what == "drop"):  # nobody stores half a body
            self._hang_up()
            return
        if wrong and wrong.what == "expire":
            service.expire()
        with service.upload_watched(method == "POST" and url.path.endswith("/image")):
            answer = self._wrong_answer(wrong) if wrong else None
            if answer is None:
                answer = self._right_answer(method, url.path, url.query, body)
        seen.status = answer.status
        self._send(answer, wrong)

    def _right_answer(self, method: str, path: str, query: str, body: bytes) -> _Answer:
        service = self.api
        if path.startswith("/api/") and not self._knows_key():
            return _error(401, "This API key is not valid.")
        try:
            with service._lock:
                return service.answer(method, path, parse_qs(query), _parsed(self.headers, body))
        except _Refusal as refusal:
            return _error(refusal.status, str(refusal))

    def _knows_key(self) -> bool:
        coded = base64.b64encode(f"{self.api.key}:".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {coded}"

    def _wrong_answer(self, wrong: Wrong) -> _Answer | None:
        headers = {"Retry-After": wrong.retry_after} if wrong.retry_after else {}
        match wrong.what:
            case 502:
                page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
                return _Answer(502, page, "text/html", headers)
            case int(status):
                answer = _error(status, f"The service says {status}.")
                answer.headers = headers
                return answer
            case "portal":
                return _Answer(200, b"<!DOCTYPE html><title>Log in to Airport Wi-Fi</title>", "text/html")
            case "page":
                return _Answer(404, b"<html><h1>Not Found</h1></html>", "text/html")
            case "json":
                return _Answer(200, b'{"status": "up"}')
            case "garbage":
                return _Answer(200, b'{"object": "ping", "mess')
            case "bomb":
                bomb = gzip.compress(b"[" + b" " * 2**20 * 64, 9)
                return _Answer(200, bomb, headers={"Content-Encoding": "gzip"})
            case "redirect":
                return _Answer(302, b"", headers={"Location": wrong.to})
        return None

    def _send(self, answer: _Answer, wrong: Wrong | None) -> None:
        what = wrong.what if wrong else ""
        length = len(answer.body)
        lines = [f"HTTP/1.1 {answer.status} Word", f"Content-Type: {answer.kind}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        stated = {"longer": max(0, length - 7), "shorter": length + 7}.get(str(what), length)
        head = "\r\n".join([*lines, f"Content-Length: {stated}", "", ""]).encode()
        if what == "lost":
            self._hang_up()
        elif what == "half":
            self.wfile.write(head + answer.body[: length // 2])
            self._hang_up()
        elif what == "twice":
            self.wfile.write((head + answer.body) * 2)
        elif what == "drip":
            self.wfile.write(head)
            for place in range(length):
                self.wfile.write(answer.body[place : place + 1])
                time.sleep(wrong.seconds if wrong else 0)
        else:
            if what == "late":
                time.sleep(wrong.seconds if wrong else 0)
            elif wrong and what == "held":
                wrong.gate.acquire(timeout=PATIENCE)
            self._write(head, answer)
            if what == "shorter":
                self._hang_up()

    def _write(self, head: bytes, answer: _Answer) -> None:
        pause = self.api.slowly if answer.kind == "image/jpeg" else 0
        if not pause:
            self.wfile.write(head + answer.body)
            return
        self.wfile.write(head)
        for start in range(0, len(answer.body), 8000):
            self.wfile.write(answer.body[start : start + 8000])
            time.sleep(pause)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _error(status: int, message: str) -> _Answer:
    return _Answer(status, json.dumps({"object": "error", "message": message, "type": "error"}).encode())


def _parsed(headers: Any, body: bytes) -> dict[str, Any]:
    kind = headers.get("Content-Type", "")
    if kind.startswith("application/json"):
        return dict(json.loads(body))
    if kind.startswith("application/x-www-form-urlencoded"):
        found = parse_qs(body.decode())
        return {name: values if name.endswith("[]") else values[0] for name, values in found.items()}
    if kind.startswith("multipart/form-data"):
        return _multipart(kind.partition("boundary=")[2].encode(), body)
    return {}


def _multipart(boundary: bytes, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb' name="([^"]*)"', head)
        if name:
            data = content.removesuffix(b"\r\n")
            found[name[1].decode()] = data if b"filename=" in head else data.decode()
    return found


def _snake(label: str) -> str:
    return re.sub(r"[^\w]+", "_", label.lower()).strip("_")


def _stringed(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return {name: _stringed(one) for name, one in value.items()}
    return [_stringed(one) for one in value] if isinstance(value, list) else value


def quoted(text: str) -> str:
    """A path segment."""
    return quote(text, safe="")
