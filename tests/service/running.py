"""A real service in a process of its own: as `serve` runs it, or with limits that a test need not wait for."""

import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from apitorch_desktop.service.keys import make_key

HERE = Path(__file__).parent


@dataclass
class Service:
    """A running service; `url` ends in `/api/`."""

    url: str
    key: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/api/")

    @property
    def port(self) -> int:
        return urlsplit(self.url).port

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()

    @property
    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def call(self, method: str, path: str, key: str | None = None, **more) -> requests.Response:
        """A call; `path` is below `/api/`, or a whole URL."""
        more.setdefault("timeout", 60)
        url = path if path.startswith("http") else self.url + path
        return requests.request(method, url, auth=(self.key if key is None else key, ""), **more)

    def new_set(self, name: str = "A set", key: str | None = None) -> int:
        answer = self.call("POST", "training-sets", key, json={"name": name})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def upload(self, set_id: int, label: str, data: bytes, name: str = "a.jpg", **more) -> requests.Response:
        return self.call("POST", f"training-set/{set_id}/{label}/image", files={"image": (name, data)}, **more)

    def memory(self) -> int:
        """Resident bytes of the process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


@contextmanager
def serving(folder: Path, *options: str, limits: dict | None = None, **environment: str):
    """`apitorch-desktop serve` on a free port; with `limits` the same parts with other `Limits`."""
    key = make_key()
    if limits is None:
        command = [sys.executable, "-m", "apitorch_desktop", "serve", "--port", "0", "--data", str(folder), *options]
    else:
        command = [sys.executable, str(HERE / "limited.py"), str(folder), json.dumps(limits), *options]
    environment = {**os.environ, "APITORCH_API_KEY": key, **environment}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        line = process.stdout.readline()
        assert line, (folder.parent / f"{folder.name}.log").read_text()
        yield Service(json.loads(line)["url"], key, folder, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
