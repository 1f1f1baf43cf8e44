"""The service as the window's child: started, watched, found again, and never left behind."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from apitorch_desktop.service import launcher
from apitorch_desktop.service.launcher import ServiceFailed, ServiceProcess, attach, attach_or_start
from tests.helpers.service_process import serving
from tests.helpers.waiting import until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


def call(url: str, key: str, path: str = "ping", method: str = "GET", body: str | None = None) -> int:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    headers = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    if body:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, address.path + path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def service(tmp_path):
    states: list[str] = []
    started = ServiceProcess(tmp_path / "data", on_change=states.append)
    started.states = states
    yield started
    started.stop()


def test_a_port_and_a_key_are_kept_and_a_port_that_is_taken_is_replaced(tmp_path):
    key = launcher.random_key()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = ServiceProcess(tmp_path / "data", port=port, key=key, threads=1)
        service.start()
        try:
            assert urlsplit(service.url).port not in (0, port)
            assert call(service.url, key) == 200
        finally:
            service.stop()
    service = ServiceProcess(tmp_path / "data", port=port, key=key, threads=1)
    service.start()
    try:
        assert urlsplit(service.url).port == port
        assert (call(service.url, key), call(service.url, launcher.random_key())) == (200, 401)
    finally:
        service.stop()


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be looked at has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_starts_answers_and_ends(service, tmp_path):
    assert (service.url, service.key, service.alive) == ("", "", False)
    service.start()
    assert service.alive
    assert not service.attached
    assert len(service.key) == 42
    assert call(service.url, service.key) == 200
    pid = service.pid
    service.stop()
    assert not service.alive
    assert gone(pid)
    assert service.message == ""
    assert service.states == []
    assert not (tmp_path / "data" / "running.json").exists()


def test_the_key_is_never_on_a_command_line_nor_in_the_log(service, tmp_path):
    service.start()
    command = Path(f"/proc/{service.pid}/cmdline").read_bytes()
    assert b"serve" in command
    assert service.key.encode() not in command
    service.stop()
    for path in (tmp_path / "data").glob("service.log*"):
        assert service.key not in path.read_text()


def test_a_killed_service_is_back_with_its_key_its_address_and_its_data(service):
    service.start()
    url, key, pid = service.url, service.key, service.pid
    assert call(url, key, "training-sets", "POST", json.dumps({"name": "Clothes"})) == 200
    for _ in range(2):
        os.kill(pid, signal.SIGKILL)
        until(lambda before=pid: service.pid not in (0, before))
        until(lambda: service.states[-1] == "up")
        assert (service.url, service.key) == (url, key)
        assert call(url, key) == 200
        pid = service.pid
    assert service.states == ["down", "up", "down", "up"]
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    headers = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    connection.request("GET", "/api/training-sets", headers=headers)
    assert [row["name"] for row in json.loads(connection.getresponse().read())["data"]] == ["Clothes"]
    connection.close()


def test_what_it_died_of_is_said(service):
    service.start()
    seen: list[str] = []
    service._on_change = lambda _state: seen.append(service.message)
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: seen)
    assert "signal 9" in seen[0]
    assert "service.log" in seen[0]


def test_a_start_that_fails_gives_the_services_own_sentence(tmp_path):
    blocked = tmp_path / "data"
    blocked.write_text("")
    with pytest.raises(ServiceFailed) as failure:
        ServiceProcess(blocked).start()
    assert str(blocked) in str(failure.value)
    assert "Traceback" not in str(failure.value)


def test_a_taken_folder_fails_a_start_and_is_attached_to_otherwise(service, tmp_path):
    service.start()
    with pytest.raises(ServiceFailed) as failure:
        ServiceProcess(tmp_path / "data").start()
    assert failure.value.kind == "folder_in_use"
    other = attach_or_start(tmp_path / "data")
    assert other.attached
    assert other.alive
    assert (other.url, other.pid) == (service.url, service.pid)
    assert call(other.url, other.key) == 200
    other.stop()
    assert call(service.url, service.key) == 200


def test_a_service_in_a_terminal_is_attached_to_and_succeeded_when_it_ends(tmp_path):
    states: list[str] = []
    with serving(tmp_path) as served:
        window = attach_or_start(tmp_path, on_change=states.append)
        assert window.attached
        url, key = window.url, window.key
        served.end()
    try:
        until(lambda: states == ["down", "up"])
        assert not window.attached
        assert (window.url, window.key) == (url, key)  # whoever holds them notices nothing
        assert call(url, key) == 200
    finally:
        window.stop()


def test_many_at_once_on_one_folder_share_one_service(tmp_path):
    found: list[ServiceProcess] = []
    threads = [
        threading.Thread(target=lambda: found.append(attach_or_start(tmp_path)), name=f"start-{number}")
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({service.pid for service in found}) == 1
        assert [service.attached for service in found].count(False) == 1
        assert [call(service.url, service.key) for service in found] == [200] * 4
    finally:
        for service in sorted(found, key=lambda service: not service.attached):
            service.stop()


@pytest.mark.parametrize("said", ["", "{", "[]", '{"url": 1}', '{"url": "x", "key": "y", "pid": 1}'])
def test_nothing_is_attached_to_by_a_file_that_says_nonsense(tmp_path, said):
    (tmp_path / "running.json").write_text(said)
    assert attach(tmp_path) is None


def test_a_file_left_by_a_killed_service_is_not_believed(tmp_path):
    with serving(tmp_path) as served:
        assert attach(tmp_path) is not None
        served.end(signal.SIGKILL)
    assert (tmp_path / "running.json").exists()
    assert attach(tmp_path) is None
    fresh = attach_or_start(tmp_path)
    assert not fresh.attached
    fresh.stop()


_PARENT = """
import sys, time
from pathlib import Path
from apitorch_desktop.service.launcher import ServiceProcess
service = ServiceProcess(Path(sys.argv[1]))
service.start()
print(service.pid, flush=True)
time.sleep(60)
"""


def test_the_child_ends_when_its_parent_is_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.communicate()
    until(lambda: gone(pid))
    until(lambda: not (tmp_path / "running.json").exists())


def test_modules_in_the_folder_one_stands_in_are_not_taken_for_its_own(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "msgspec.py").write_text("raise SystemExit('taken in')")
    (folder / "apitorch_desktop.py").write_text("raise SystemExit('taken in')")
    monkeypatch.chdir(folder)
    service = ServiceProcess(tmp_path / "data")
    service.start()
    try:
        assert requests.get(f"{service.url}ping", auth=(service.key, ""), timeout=60).status_code == 200
    finally:
        service.stop()


def test_what_it_says_is_kept_within_bounds(tmp_path):
    log = launcher._ServiceLog(tmp_path / "service.log")
    reader, writer = os.pipe()
    pump = threading.Thread(target=log.pump, args=(os.fdopen(reader, "rb"),))
    pump.start()
    with os.fdopen(writer, "wb") as said:
        for number in range(40_000):
            said.write(b"%06d %s\n" % (number, b"x" * 93))
    pump.join()
    sizes = [path.stat().st_size for path in tmp_path.glob("service.log*")]
    assert len(sizes) == 2
    assert max(sizes) <= launcher._LOG_BYTES + 4096
    assert b"039999" in (tmp_path / "service.log").read_bytes()


def test_the_window_can_import_it_without_anything_heavy():
    code = "import sys, apitorch_desktop.service.launcher; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert not loaded & {"numpy", "sqlalchemy", "uvicorn", "starlette", "onnxruntime", "requests", "msgspec", "PIL"}


def test_it_can_be_started_again_after_it_was_stopped(service):
    service.start()
    url, key = service.url, service.key
    service.stop()
    service.start()
    assert (service.url, service.key) == (url, key)
    assert call(url, key) == 200
