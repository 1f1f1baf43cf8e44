"""Too much at once: a bounded queue, abandoned requests, slow look-ups of keys, silent TLS connections."""

import asyncio
import logging
import socket
import sqlite3
import ssl
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http import protocol, server
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import WorkerPools
from apitorch_desktop.service.storage.store import Store
from tests.helpers.certificates import make_certificate
from tests.helpers.service_process import serving
from tests.helpers.stress_clients import CONTENTS
from tests.helpers.waiting import until
from tests.service.http.test_hostile_clients import answer_to, head


def test_more_than_the_queue_holds_is_refused_with_the_time_to_wait(tmp_path):
    go_on = threading.Event()

    async def fill():
        pools = WorkerPools(Limits(workers=1, queue=3), tmp_path)
        jobs = [asyncio.ensure_future(pools.run_inference(go_on.wait)) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(HttpError) as caught:
            await pools.run_inference(go_on.wait)
        go_on.set()
        assert await asyncio.gather(*jobs) == [True] * 4
        assert await pools.run_inference(lambda: 7) == 7
        pools.close()
        return caught.value

    error = asyncio.run(fill())
    assert (error.status, error.headers) == (429, [("retry-after", "1")])


def test_those_refused_are_asked_to_come_one_after_another(tmp_path):
    go_on = threading.Event()

    async def refuse():
        pools = WorkerPools(Limits(workers=1, queue=0), tmp_path)
        await pools.run_inference(time.sleep, 2)  # jobs of late take a quarter of a second
        job = asyncio.ensure_future(pools.run_inference(go_on.wait))
        await asyncio.sleep(0)
        pauses = []
        for _ in range(200):
            with pytest.raises(HttpError) as caught:
                await pools.run_inference(go_on.wait)
            pauses.append(int(dict(caught.value.headers)["retry-after"]))
        go_on.set()
        await job
        pools.close()
        return pauses

    pauses = asyncio.run(refuse())
    assert pauses[0] == 1
    assert 4 <= pauses[20] <= 7
    assert max(pauses) == 21


def test_uploads_that_hang_leave_threads_for_everything_else(tmp_path):
    go_on = threading.Event()

    async def fill():
        pools = WorkerPools(Limits(), tmp_path)
        hanging = [asyncio.ensure_future(pools.run_images(go_on.wait)) for _ in range(200)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(pools.run_storage(lambda: 7), 20) == 7
            assert await asyncio.wait_for(pools.run_lookup(lambda: 8), 20) == 8
            hanging += [asyncio.ensure_future(pools.run_images(go_on.wait)) for _ in range(400)]
            done, _ = await asyncio.wait(hanging, return_when=asyncio.FIRST_EXCEPTION)
            assert {done.exception().status for done in done} == {429}
        finally:
            go_on.set()
            await asyncio.gather(*hanging, return_exceptions=True)
            pools.close()

    asyncio.run(fill())


def test_a_classification_too_many_is_refused_before_its_body_is_read(tmp_path):
    with serving(tmp_path / "data", limits={"workers": 1, "queue": 1}) as service:
        top = head(service, path="/api/classify", Content_Type="multipart/form-data; boundary=x", Content_Length="1000")
        address = ("127.0.0.1", service.port)
        with closing(socket.create_connection(address)) as one, closing(socket.create_connection(address)) as two:
            one.sendall(top)
            two.sendall(top)
            until(lambda: answer_to(service, top)[0] == 429)  # both are under way, and their bodies are awaited
            assert service.call("GET", "ping").status_code == 200
        until(lambda: answer_to(service, top, b"--x--\r\n" + b" " * 993)[0] == 400)


def test_an_abandoned_job_is_dropped_before_it_starts(tmp_path):
    go_on, started = threading.Event(), []

    async def abandon():
        pools = WorkerPools(Limits(workers=1), tmp_path)
        first = asyncio.ensure_future(pools.run_inference(go_on.wait))
        waiting = [asyncio.ensure_future(pools.run_inference(started.append, i)) for i in range(20)]
        await asyncio.sleep(0.01)
        for job in waiting:
            job.cancel()
        await asyncio.wait(waiting)
        go_on.set()
        await first
        pools.close()

    asyncio.run(abandon())
    assert started == []


def test_what_clients_abandon_is_not_classified(tmp_path):
    body = b"".join(
        [
            b'--x\r\nContent-Disposition: form-data; name="classifiers[]"\r\n\r\nsafe-for-work\r\n',
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n',
            next(iter(CONTENTS.values())),
            b"\r\n--x--\r\n",
        ]
    )
    with serving(tmp_path / "data", limits={"workers": 1, "queue": 200}) as service:
        files = {"image": ("a.jpg", next(iter(CONTENTS.values())))}
        sent = {"data": {"classifiers[]": "safe-for-work"}, "files": files}
        assert service.call("POST", "classify", **sent).status_code == 200
        top = head(
            service, path="/api/classify", Content_Type="multipart/form-data; boundary=x", Content_Length=str(len(body))
        )
        for _ in range(100):
            with closing(socket.create_connection(("127.0.0.1", service.port), timeout=60)) as connection:
                connection.sendall(top + body)
        assert service.call("POST", "classify", **sent).status_code == 200
        with closing(sqlite3.connect(tmp_path / "data" / "store.db")) as rows:
            assert rows.execute("SELECT count(*) FROM classifications").fetchone()[0] < 60
        assert "Traceback" not in service.log


def test_a_length_beside_a_transfer_encoding_is_refused(service):
    head_bytes = head(service, Content_Length="5", Transfer_Encoding="chunked", Content_Type="application/json")
    status, error = answer_to(service, head_bytes, b"0\r\n\r\n")
    assert status == 400
    assert "not both" in error["message"]


def test_keys_are_remembered_for_seconds_and_forgotten_when_revoked(tmp_path, monkeypatch):
    with Store.open(tmp_path / "data") as store:
        row, key = store.owners.create_key()
        assert store.owners.cached_owner(key) is None
        owner = store.owners.find_by_key(key)
        assert owner == store.owners.cached_owner(key) == row.owner_id
        store.owners.revoke_key(row.id)
        assert store.owners.cached_owner(key) is None
        assert store.owners.find_by_key(key) is None
        _, other = store.owners.create_key()
        store.owners.find_by_key(other)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 6)
        assert store.owners.cached_owner(other) is None


def test_a_database_that_does_not_answer_holds_up_no_other_request(tmp_path):
    from apitorch_desktop.service.app import build_app
    from apitorch_desktop.service.classifiers.classification import ClassificationService
    from apitorch_desktop.service.classifiers.trainer import Trainer
    from apitorch_desktop.service.config import Config

    silent = threading.Event()

    async def both(app):
        slow = asyncio.ensure_future(app._find_owner("unknown"))
        await asyncio.sleep(0.05)
        assert await app._find_owner("k" * 42) == 1
        assert not slow.done()
        silent.set()
        assert await slow is None

    with Store.open(tmp_path / "data") as store:
        store.owners.add_temporary_key("k" * 42)
        store.owners.find_by_key = lambda _key: silent.wait(60) and None
        trainer = Trainer(store, object)
        with (
            closing(ClassificationService(store, trainer, object)) as classification,
            closing(build_app(store, trainer, classification, Config())) as app,
        ):
            asyncio.run(both(app))


def test_silent_tls_connections_are_closed_within_seconds_and_leave_no_trace(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    with serving(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key)) as service:
        silent = [
            socket.create_connection(("127.0.0.1", service.port), timeout=protocol.HANDSHAKE_TIMEOUT + 60)
            for _ in range(100)
        ]
        assert service.call("GET", "ping", verify=str(cert)).status_code == 200
        for connection in silent:
            with closing(connection), suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert "Traceback" not in service.log


def test_a_request_without_tls_is_told_to_use_https(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    with serving(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key)) as service:
        for _ in range(20):
            answer = requests.get(f"http://127.0.0.1:{service.port}/api/ping", timeout=60)
            assert (answer.status_code, answer.json()["type"]) == (400, "bad_request")
            assert "begin its address with https://" in answer.json()["message"]
        assert service.call("GET", "ping", verify=str(cert)).status_code == 200
        assert "Traceback" not in service.log


def test_silent_tls_connections_are_counted_from_their_accept(tmp_path, monkeypatch):
    """A silent one gives way to the next as soon as there are too many, not after its time is over."""
    monkeypatch.setattr(protocol, "HANDSHAKE_TIMEOUT", 100)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    limits = Limits(connections=10)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run():
        config = protocol.server_config(app, limits, tls_cert=cert, tls_key=key)
        running = server.Server(config)
        with closing(server.bind("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
            serving_task = asyncio.ensure_future(running.serve([bound]))
            await running.ready.wait()
            limiter = config.http.keywords["limiter"]
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
            while limiter._count < 10:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            first = [asyncio.ensure_future(reader.read()) for reader, _ in silent[:40]]
            with suppress(ConnectionResetError):
                await asyncio.wait_for(asyncio.gather(*first, return_exceptions=True), protocol.HANDSHAKE_TIMEOUT * 0.8)
            assert limiter._count <= 10
            known = ssl.create_default_context(cafile=cert)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=known, server_hostname="localhost")
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"ok")
            for _, other in [*silent, (reader, writer)]:
                other.close()
            while limiter._count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            running.stop_serving()
            await serving_task

    asyncio.run(run())


def test_connections_that_cannot_be_accepted_are_one_line_a_minute(caplog):
    async def fail():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(server.AcceptErrorFilter())
        for _ in range(1000):
            loop.call_exception_handler({"message": "accept", "exception": OSError(24, "Too many open files")})
        loop.call_exception_handler({"message": "another", "exception": ValueError("x")})

    with caplog.at_level(logging.ERROR):
        asyncio.run(fail())
    assert [record.name for record in caplog.records] == ["apitorch_desktop.service.http.server", "asyncio"]


def test_the_limit_of_descriptors_is_raised(tmp_path):
    with serving(tmp_path / "data") as service:
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
        assert int(soft) == min(int(hard), 2**16)
