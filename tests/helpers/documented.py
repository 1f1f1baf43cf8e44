"""An API Torch with the documented calls only, in this process, that misbehaves on purpose.

The same image sent twice becomes two images here: who sends twice is found out.
"""

import base64
import contextlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

SET = "42"


@dataclass
class Documented:
    """What it holds, and what it is told to do. `url` ends in `/api/`."""

    url: str = ""
    key: str = "k" * 42
    images: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    """40 hex digits → label, file name, bytes."""
    faults: list[str] = field(default_factory=list)
    """One for each upload to come: `500`, `502` (HTML), `429`, `503`, `drop` (stored, but never answered), `refuse`
    (connection cut before anything is stored), `half` (half an answer after storing); empty: all is well."""
    download_faults: list[str] = field(default_factory=list)
    """One for each download to come: `expired`, `short`, `flipped`, `500`."""
    latency: float = 0.0
    retry_after: str = "0.3"
    epoch: int = 0
    """Raise it, and the addresses given before have run out."""
    gone: bool = False
    uploads: int = 0
    downloads: int = 0
    listings: int = 0
    most_at_once: int = 0
    at_once: int = 0
    times: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def labels(self) -> dict[str, list[bytes]]:
        """The bytes under each label."""
        found: dict[str, list[bytes]] = {}
        with self.lock:
            for label, _, data in self.images.values():
                found.setdefault(label, []).append(data)
        return found


@contextlib.contextmanager
def documented():
    """A running one."""
    state = Documented()

    class Handler(_Handler):
        service = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/api/"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Documented

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self):
        path = urlsplit(self.path).path
        if path.startswith("/signed/"):
            self._image(path)
        elif not self._known():
            self._answer(401, {"object": "error", "message": "Unknown key.", "type": "unauthorized"})
        elif path == "/api/ping":
            self._answer(200, {"object": "ping", "message": "ok"})
        elif path == "/api/training-sets":
            self._answer(
                200, {"object": "list", "data": [{"object": "training_set", "id": SET, "name": "Set", "odd": 1}]}
            )
        elif path == f"/api/training-set/{SET}/images" and not self.service.gone:
            self._listing()
        else:
            self._answer(404, {"object": "error", "message": "Not found.", "type": "not_found"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length)
        if len(data) != length:  # cut off on the way: nobody stores half a body
            self.close_connection = True
            return
        found = re.fullmatch(rf"/api/training-set/{SET}/([^/]+)/image", urlsplit(self.path).path)
        if not self._known():
            self._answer(401, {"object": "error", "message": "Unknown key.", "type": "unauthorized"})
        elif not found or self.service.gone:
            self._answer(404, {"object": "error", "message": "Not found.", "type": "not_found"})
        else:
            self._upload(unquote(found[1]), data)

    def _known(self):
        sent = self.headers.get("Authorization", "")
        return sent == "Basic " + base64.b64encode(f"{self.service.key}:".encode()).decode()

    def _upload(self, label, data):
        service = self.service
        with service.lock:
            service.uploads += 1
            service.at_once += 1
            service.most_at_once = max(service.most_at_once, service.at_once)
            service.times.append(time.monotonic())
            fault = service.faults.pop(0) if service.faults else ""
            latency = service.latency * service.at_once
        time.sleep(latency)
        try:
            if fault == "429":
                headers = {"Retry-After": service.retry_after}
                self._answer(429, {"object": "error", "message": "Too fast.", "type": "rate"}, headers)
            elif fault == "502":
                self._answer(502, None)
            elif fault.isdigit():
                self._answer(int(fault), {"object": "error", "message": "Broken.", "type": "server"})
            elif fault == "refuse":
                self.close_connection = True
            else:
                self._store(label, data, fault)
        finally:
            with service.lock:
                service.at_once -= 1

    def _store(self, label, data, fault):
        if self.headers["Content-Type"].startswith("multipart"):
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            part = next(part for part in BytesParser().parsebytes(head + data).walk() if part.get_filename())
            name, content = part.get_filename(), part.get_payload(decode=True)
        else:
            name = "url"
            content = (
                json.loads(data)["image_url"] if data[:1] == b"{" else parse_qs(data.decode())["image_url"][0]
            ).encode()
        if content.startswith(b"bad"):
            self._answer(400, {"object": "error", "message": "This is no image.", "type": "bad_request"})
            return
        digits = secrets.token_hex(20)
        with self.service.lock:
            self.service.images[digits] = (label, name, content)
        body = {"object": "training_image", "id": f"ti_{digits}", "message": "Image added to training set.", "new": [1]}
        if fault == "drop":
            self.close_connection = True
        elif fault == "half":
            coded = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(coded)))
            self.end_headers()
            self.wfile.write(coded[:20])
            self.close_connection = True
        else:
            self._answer(200, body)

    def _listing(self):
        service = self.service
        with service.lock:
            service.listings += 1
            labels = {}
            for digits, (label, _, _) in reversed(service.images.items()):  # no order is promised
                url = f"{service.url.removesuffix('/api/')}/signed/{service.epoch}/{digits}"
                labels.setdefault(label, []).append({"filename": f"{digits}.jpg", "url": url, "extra": None})
        data = [{"object": "training_label", "label": label, "images": images} for label, images in labels.items()]
        self._answer(200, {"object": "list", "training_set_id": int(SET), "training_set_slug": "set", "data": data})

    def _image(self, path):
        service = self.service
        _, _, epoch, digits = path.split("/")
        with service.lock:
            service.downloads += 1
            fault = service.download_faults.pop(0) if service.download_faults else ""
            found = service.images.get(digits)
            if fault == "expired":
                service.epoch += 1
        if int(epoch) != service.epoch or found is None or fault == "expired":
            self._answer(403, None)
            return
        data = found[2]
        if fault == "500":
            self._answer(500, None)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "short":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            self.wfile.write(data)

    def _answer(self, status, body, headers=None):
        coded = json.dumps(body).encode() if body is not None else b"<html><body>Bad gateway</body></html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if body is not None else "text/html")
        self.send_header("Content-Length", str(len(coded)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(coded)
