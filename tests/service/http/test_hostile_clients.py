"""Clients that mean harm or are broken: slow, endless, lying, many. The service answers others, within its memory."""

import base64
import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from apitorch_desktop.service.config import Limits
from tests.helpers.service_process import serving
from tests.service.http.test_url_fetcher import answering

QUICK = {"silence": 0.6, "head_time": 0.6, "grace": 0.6}
MIB = 2**20


def connect(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def head(service, method="POST", path="/api/training-sets", **headers):
    fields = {"Host": f"127.0.0.1:{service.port}", "Authorization": service.basic, **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def read_all(connection):
    """All bytes until the other side ends it."""
    chunks = []
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)


def answer_to(service, *pieces):
    """Status and JSON of the first answer to bytes sent as they are; None where the connection just ends."""
    with connect(service) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
        return first_answer(connection)


def first_answer(connection):
    raw = b""
    with contextlib.suppress(ConnectionResetError):
        while (found := parsed(raw)) is None and (chunk := connection.recv(65536)):
            raw += chunk
        return found
    return None


def parsed(raw):
    """Status and JSON of an answer that is there whole, else None."""
    top, _, body = raw.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in top.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if not lengths or len(body) < int(lengths[0]):
        return None
    return int(top.split()[1]), json.loads(body[: int(lengths[0])])


def assert_alive(service):
    assert service.call("GET", "ping").status_code == 200


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A service that loses patience within a second."""
    with serving(tmp_path_factory.mktemp("quick") / "data", limits=QUICK) as running:
        yield running


# --- slow


@pytest.mark.parametrize("sent", [b"", b"GET /api/ping HTT", b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_head_that_does_not_come_ends_the_connection(quick, sent):
    with connect(quick) as connection:
        connection.sendall(sent)
        got = read_all(connection)
    if sent:
        assert parsed(got)[0] == 408
    else:
        assert got == b""


def test_a_head_that_trickles_has_no_more_time_than_any_other(quick):
    began = time.monotonic()
    with connect(quick) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in head(quick, "GET", "/api/ping"):
                connection.sendall(bytes([byte]))
                time.sleep(0.03)
        assert time.monotonic() - began > 0.6
        assert parsed(read_all(connection))[0] == 408


def test_a_second_head_on_the_same_connection_has_a_limit_too(quick):
    with connect(quick) as connection:
        connection.sendall(head(quick, "GET", "/api/ping"))
        assert first_answer(connection)[0] == 200
        connection.sendall(b"GET /api/ping HTTP/1.1\r\nHost: ")
        assert parsed(read_all(connection))[0] == 408


def test_a_body_that_stops_coming_is_408(quick):
    with connect(quick) as connection:
        connection.sendall(head(quick, Content_Type="application/json", Content_Length="100") + b'{"name": "half')
        assert parsed(read_all(connection)) == (
            408,
            {
                "object": "error",
                "type": "timed_out",
                "message": "The body came too slowly and was given up. Send it again.",
            },
        )


def test_a_body_that_trickles_is_408_while_it_still_does(quick):
    with connect(quick) as connection:
        connection.sendall(head(quick, Content_Type="application/json", Content_Length="1000"))
        answered = threading.Thread(target=lambda: answers.append(first_answer(connection)))
        answers = []
        answered.start()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while answered.is_alive():
                connection.sendall(b" ")
                time.sleep(0.05)
        answered.join()
        assert answers[0][0] == 408


def test_slow_bodies_hold_up_nobody(quick, picture):
    """More of them than there are threads and slots of any kind."""
    connections = [connect(quick) for _ in range(200)]
    try:
        for connection in connections:
            connection.sendall(head(quick, Content_Type="application/json", Content_Length="9000") + b"{")
        set_id = quick.new_set("While others dawdle")
        assert quick.upload(set_id, "a", picture()).status_code == 200
    finally:
        for connection in connections:
            connection.close()


def test_a_client_that_does_not_read_is_let_go(quick, picture):
    set_id = quick.new_set("Unread")
    data = picture(size=(1600, 1600), format="BMP")
    url = quick.upload(set_id, "a", data).json()["url"]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", quick.port))
        connection.sendall(head(quick, "GET", url.removeprefix(quick.origin)))
        time.sleep(2)
        assert len(read_all(connection)) < len(data)
    assert_alive(quick)


# --- endless and lying


def test_endless_headers_are_refused_and_not_kept(service, picture):
    sent = {"data": {"classifiers[]": "safe-for-work"}, "files": {"image": picture(size=(64, 64))}}
    assert service.call("POST", "classify", **sent).status_code == 200  # the networks are loaded by now
    before = service.memory()
    with connect(service) as connection:
        connection.sendall(b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 64 * MIB:
                sent += connection.send(b"X-Filler: " + b"x" * 65000 + b"\r\n")
        assert sent < 16 * MIB
        got = read_all(connection)
    assert not got or parsed(got)[0] == 400
    assert service.memory() - before < 8 * MIB


def test_a_head_that_is_too_long_is_400_in_json(service):
    status, body = answer_to(service, head(service, "GET", "/api/ping", X_A="x" * 40_000))
    assert status == 400
    assert "32 KiB" in body["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60,
        b"GET /api/ping\r\n\r\n",
        b"GET /api/ping HTTP/1.1\r\n\r\n",
        b"GET /api/ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
        b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\nX-A: a\0b\r\n\r\n",
        b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_an_error_in_json_or_nothing(service, raw):
    found = answer_to(service, raw)
    if found is not None:
        assert found[0] in {400, 401, 403, 413, 501, 505}
        assert found[1]["object"] == "error"
    assert_alive(service)


def test_a_broken_chunk_in_the_middle_of_a_body_is_400(service):
    start = head(service, Content_Type="application/json", Transfer_Encoding="chunked")
    found = answer_to(service, start, b'5\r\n{"nam\r\n', b"zz\r\nnonsense")
    assert found[0] == 400
    assert_alive(service)


def test_a_content_length_beyond_the_limit_is_413_before_any_of_it_comes(service):
    path = f"/api/training-set/{service.new_set('Claims')}/a/image"
    kind = "multipart/form-data; boundary=x"
    with connect(service) as connection:
        top = head(service, path=path, Content_Type=kind, Content_Length=str(10**12), Expect="100-continue")
        connection.sendall(top)
        status, body = first_answer(connection)
    assert status == 413
    assert "32 MiB" in body["message"]


def test_an_endless_body_is_cut_off(service):
    path = f"/api/training-set/{service.new_set('Endless')}/a/image"
    before = service.memory()
    start = head(service, path=path, Content_Type="multipart/form-data; boundary=x", Transfer_Encoding="chunked")
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    with connect(service) as connection:
        connection.sendall(start + b"%x\r\n%b\r\n" % (len(part), part))
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1024 * MIB:
                connection.sendall(b"100000\r\n" + b"\0" * MIB + b"\r\n")
                sent += MIB
        assert sent < 512 * MIB
        got = read_all(connection)
        assert not got or parsed(got)[0] == 413
    assert service.memory() - before < 100 * MIB


@pytest.mark.parametrize(("key", "size", "status"), [(None, 40 * MIB, 413), ("x" * 42, 30 * MIB, 401)])
def test_a_client_that_sends_everything_first_still_gets_its_answer(service, key, size, status):
    """As `requests` does: the refusal must not be lost in a reset."""
    path = f"training-set/{service.new_set('All sent')}/a/image"
    assert service.call("POST", path, key, files={"image": ("a.jpg", b"\0" * size)}).status_code == status
    basic = {} if key is None else {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    kind = "multipart/form-data; boundary=x"
    with connect(service) as connection:
        connection.sendall(head(service, path=f"/api/{path}", Content_Type=kind, Content_Length=str(size), **basic))
        for _ in range(size // MIB):
            connection.sendall(b"\0" * MIB)
            time.sleep(0.005)
        assert first_answer(connection)[0] in {status, 400}


@pytest.mark.parametrize("claimed", ["1000000", "150"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(service, picture, claimed):
    set_id = service.new_set("Leaver")
    kind = "multipart/form-data; boundary=x"
    with connect(service) as connection:
        top = head(service, path=f"/api/training-set/{set_id}/a/image", Content_Type=kind, Content_Length=claimed)
        connection.sendall(top + b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n')
        connection.sendall(picture()[: 900 if claimed == "1000000" else 10])
    assert_alive(service)
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"] == []
    assert "Traceback" not in service.log


def test_more_bytes_than_were_claimed_are_no_second_request_of_a_stranger(service):
    """What follows a body is a request of its own: here without a key, so 401, and the first answer stands."""
    body = b'{"name": "Short"}'
    start = head(service, Content_Type="application/json", Content_Length=str(len(body)))
    with connect(service) as connection:
        connection.sendall(start + body + b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = read_all(connection)
    assert got.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 401" in got


# --- multipart and text


def multipart(service, body, path="/api/training-sets"):
    kind = "multipart/form-data; boundary=x"
    return answer_to(service, head(service, path=path, Content_Type=kind, Content_Length=str(len(body))), body)


def test_multipart_with_a_thousand_parts_is_refused(service):
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n'
    status, body = multipart(service, part * 1000 + b"--x--\r\n")
    assert (status, "parts" in body["message"]) == (400, True)


@pytest.mark.parametrize(
    "headers", [b"X-A: " + b"x" * 10_000, b"".join(b"X-%d: a\r\n" % n for n in range(50)), b"X-A" * 10_000]
)
def test_multipart_with_endless_headers_is_refused(service, headers):
    part = b'--x\r\nContent-Disposition: form-data; name="name"\r\n' + headers + b"\r\n\r\nv\r\n--x--\r\n"
    assert multipart(service, part)[0] == 400


def test_multipart_with_a_huge_field_is_refused(service):
    part = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + b"v" * (2 * MIB) + b"\r\n--x--\r\n"
    status, body = multipart(service, part)
    assert (status, "“name”" in body["message"]) == (413, True)


def test_a_boundary_of_a_kilobyte_is_refused(service):
    kind = "multipart/form-data; boundary=" + "x" * 1000
    status, _ = answer_to(service, head(service, Content_Type=kind, Content_Length="4"), b"abcd")
    assert status == 400


def test_bytes_that_look_like_boundaries_take_no_time_to_speak_of(service):
    path = f"/api/training-set/{service.new_set('Boundaries')}/a/image"
    filler = (b"\r\n--" + b"x" * 59 + b"y") * (4 * MIB // 64)
    kind = "multipart/form-data; boundary=" + "x" * 60
    start = b"--" + b"x" * 60 + b'\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = start + filler + b"\r\n--" + b"x" * 60 + b"--\r\n"
    before = service.cpu_seconds()
    status, _ = answer_to(service, head(service, path=path, Content_Type=kind, Content_Length=str(len(body))), body)
    assert status == 400
    assert service.cpu_seconds() - before < 10


def test_a_gzip_bomb_is_refused_unread(service):
    import gzip

    bomb = gzip.compress(b'{"name": "' + b"a" * (200 * MIB), 1)
    before = service.memory()
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, identity"):
        answer = service.call(
            "POST",
            "training-sets",
            data=bomb,
            headers={"Content-Type": "application/json", "Content-Encoding": coding},
        )
        assert answer.status_code == 400
        assert "Content-Encoding" in answer.json()["message"]
    assert service.memory() - before < 32 * MIB


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 8_000_000,
        b'{"name": ' + b'{"a":' * 1_000_000,
        b'{"image_ids": [' + b'"",' * 5_000_000 + b'""], "label": "a"}',
        b'{"x": [' + b"[]," * 5_000_000 + b"[]]}",
        b'{"name": ' + b"9" * 10_000_000 + b"}",
    ],
)
def test_json_made_to_fill_memory_does_not(service, body):
    set_id = service.new_set("JSON")
    before = service.memory()
    kind = {"Content-Type": "application/json"}
    assert service.call("POST", f"training-set/{set_id}/images/delete", data=body, headers=kind).status_code in {
        400,
        404,
    }
    assert service.call("POST", "training-sets", data=body, headers=kind).status_code == 400
    assert service.memory() - before < 150 * MIB


def test_a_text_body_over_its_limit_is_413(service):
    for more in ({"json": {"name": "a" * (17 * MIB)}}, {"data": {"name": "a" * (17 * MIB)}}):
        answer = service.call("POST", "training-sets", **more)
        assert answer.status_code == 413
        assert "16 MiB" in answer.json()["message"]


# --- paths


@pytest.mark.parametrize(
    "path",
    [
        "/api/../../../../etc/passwd",
        "/images/1/../../../store.db",
        "/images/1/..%2f..%2fstore.db?day=1&signature=1",
        "/images/..%2f/%2e%2e",
        "/images/1/%00.jpg",
        "/training-sets/1/../../etc",
        "//etc/passwd",
        "/api/training-set/..;/images",
        "/api\\training-sets",
        "/api/training-set/%2e%2e/labels",
        "*",
        "http://127.0.0.1/api/nothing",
        "/" + "a/" * 5000,
        "/api/training-set/1/%c0%ae%c0%ae/image",
        "/%",
        "/api/classifier/%2e%2e%2f%2e%2e",
    ],
)
def test_tricks_with_paths_lead_nowhere(service, path):
    status, body = answer_to(service, head(service, "GET", path))
    assert status in {403, 404, 405}
    assert body["object"] == "error"


# --- web pages


HOSTS = ["evil.example", "evil.example:80", "", "localhost.evil.example", "127.0.0.1.evil.example", "8.8.8.8", "[::2]",
         "localhost:80:80", "localhost@evil.example", "127.0.0.1 evil", "[::1]evil", "2130706433"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_another_host_is_refused_whatever_the_key(service, host):
    for path, named in (("/api/ping", host), (f"http://{host}/api/ping", "localhost")):
        status, body = answer_to(service, head(service, "GET", path, Host=named))
        assert (status, body["type"]) in {(403, "forbidden"), (400, "bad_request")}


def test_a_probe_in_http_1_0_need_not_name_the_host(service):
    raw = b"GET /api/health HTTP/1.0\r\n\r\n"
    assert answer_to(service, raw)[0] == 200
    assert answer_to(service, raw.replace(b"health", b"training-sets"))[0] == 401
    listed = head(service, "GET", "/api/training-sets", Host=None).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert answer_to(service, listed)[0] == 200
    assert answer_to(service, listed.replace(b"HTTP/1.0", b"HTTP/1.1"))[0] == 400


def test_a_target_in_absolute_form_is_answered(service):
    for path in (f"http://127.0.0.1:{service.port}/api/ping", "HTTP://localhost/api/ping?a=b"):
        assert answer_to(service, head(service, "GET", path, Host="evil.example"))[0] == 200
    for path in ("http:///api/ping", "file:///api/ping", "http://[/api/ping", "//localhost/api/ping", "x"):
        assert answer_to(service, head(service, "GET", path))[0] in {400, 403, 404}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"GET /api/ping HTTP/1.1\r\n\r\n", "Host"),
        (b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length"),
        (b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 2**16, "32 KiB"),
        (b"nonsense\r\n\r\n", "request line"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_head_is_said(service, raw, said):
    assert said in answer_to(service, raw)[1]["message"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1234",
        "127.0.0.1",
        "[::1]:80",
        "localhost.",
        "127.0.0.2",
        "127.1:80",
        "0.0.0.0",
        "ip6-localhost:1",
        "[::]",
    ],
)
def test_its_own_names_are_answered(service, host):
    assert answer_to(service, head(service, "GET", "/api/ping", Host=host))[0] == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://localhost:1",
        "file://",
        "https://localhost",
        "",
        "http://[::1",
        "http://[x]:1",
    ],
)
def test_pages_of_other_sites_are_refused_whatever_the_key(service, origin):
    for method, path in [
        ("GET", "ping"),
        ("POST", "training-sets"),
        ("OPTIONS", "training-sets"),
        ("DELETE", "training-set/1"),
    ]:
        answer = service.call(method, path, headers={"Origin": origin}, json={"name": "x"})
        assert answer.status_code == 403
        assert answer.json()["type"] == "forbidden"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_page_of_its_own_may_call(service):
    assert service.call("GET", "ping", headers={"Origin": service.origin}).status_code == 200
    same = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert service.call("GET", "ping", headers=same).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_fetches_for_another_site_is_refused(service, site):
    fetched = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert service.call("GET", "ping", headers=fetched).status_code == 403


# --- image_url


TRICKS = ["http://127.0.0.1:{port}/a.jpg", "http://localhost:{port}/", "http://0x7f.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
          "http://2130706433:{port}/", "HTTP://127.1:{port}/", "http://0:{port}/", "{origin}/api/ping", "{origin}/api/docs",
          "{origin}/images/1/../../api/ping", "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/"]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_an_image_url_never_reaches_this_machine_or_its_network(service, trick):
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as (port, heads):
        url = trick.format(port=port, origin=service.origin)
        for path, body in [
            (f"training-set/{service.new_set('URL')}/a/image", {}),
            ("classify", {"classifiers": "safe-for-work"}),
        ]:
            for sent in ({"json": {**body, "image_url": url}}, {"data": {**body, "image_url": url}}):
                answer = service.call("POST", path, **sent)
                assert answer.status_code == 400, answer.text
                assert "private network" in answer.json()["message"]
        assert heads == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "file://localhost/etc/passwd", "ftp://127.0.0.1/", "data:image/gif;base64,AA", "/etc/passwd",
        "http:/etc", "\\\\server\\share", "http://exa\r\nHost: x/",
    ],
)  # fmt: skip
def test_an_image_url_is_http_or_nothing(service, url):
    answer = service.call("POST", f"training-set/{service.new_set('URL')}/a/image", json={"image_url": url})
    assert answer.status_code == 400
    assert answer.json()["type"] == "bad_request"


# --- many


def test_thousands_of_idle_connections_leave_room_for_others(start):
    service = start(limits={"connections": 300})
    before, connections = service.memory(), []
    try:
        connections += (connect(service) for _ in range(3000))
        assert_alive(service)
        assert len(list(Path(f"/proc/{service.process.pid}/fd").iterdir())) < 400
        assert service.memory() - before < 30 * MIB
    finally:
        for connection in connections:
            connection.close()


def test_parallel_uploads_of_the_same_and_of_different_images_make_one_row_each(service, picture):
    set_id = service.new_set("Parallel")
    images = [picture(seed) for seed in range(20)]

    def send(number):
        return service.upload(set_id, "a", images[number % 20]).json()["id"]

    with ThreadPoolExecutor(32) as pool:
        ids = list(pool.map(send, range(300)))
    assert len(set(ids)) == 20
    assert service.call("GET", f"training-set/{set_id}/labels").json()["data"][0]["count"] == 20


def test_another_key_sees_and_touches_nothing(start, picture):
    from apitorch_desktop.service.storage.owners import make_key

    other = make_key()
    service = start(limits={}, OTHER_KEY=other)
    set_id = service.new_set("Mine")
    image = service.upload(set_id, "a", picture()).json()
    for seed in range(1, 4):
        service.upload(set_id, "ab"[seed % 2], picture(seed))
    assert "mine" in [row["slug"] for row in service.call("GET", "classifiers").json()["data"]]
    label = service.call("GET", f"training-set/{set_id}/labels").json()["data"][0]["id"]
    assert service.call("POST", "feedback/freeform", data={"message": "aGVsbG8="}).status_code == 200
    mine = {"data": {"classifiers[]": "design-score"}, "files": {"image": ("a.jpg", picture())}}
    classified = service.call("POST", "classify", **mine).json()["data"][0]["id"]

    assert service.call("GET", "training-sets", other).json()["data"] == []
    assert service.call("GET", "feedback", other).json()["data"] == []
    assert all(row["slug"] != "mine" for row in service.call("GET", "classifiers", other).json()["data"])
    page = next(row["url"] for row in service.call("GET", "training-sets").json()["data"]).partition("?")[0]
    assert requests.get(page, auth=(other, ""), timeout=60).status_code == 404
    tries = [
        ("GET", f"training-set/{set_id}/images", {}),
        ("GET", f"training-set/{set_id}/labels", {}),
        ("POST", f"training-set/{set_id}/labels", {"json": {"label": "b"}}),
        ("PATCH", f"training-set/{set_id}/labels/a", {"json": {"label": "b"}}),
        ("DELETE", f"training-set/{set_id}/labels/{label}", {}),
        ("PATCH", f"training-set/{set_id}", {"json": {"name": "Yours"}}),
        ("DELETE", f"training-set/{set_id}", {}),
        ("POST", f"training-set/{set_id}/a/image", {"files": {"image": ("a.jpg", picture(2))}}),
        ("DELETE", f"training-image/{image['id']}", {}),
        ("PATCH", f"training-image/{image['id']}", {"json": {"label": "b"}}),
        ("POST", f"training-set/{set_id}/images/move", {"json": {"image_ids": [image["id"]], "label": "b"}}),
        ("POST", f"training-set/{set_id}/images/delete", {"json": {"image_ids": [image["id"]]}}),
        ("GET", "classifier/mine", {}),
        ("GET", "classifier/mine/versions", {}),
        ("GET", "classifier/mine/onnx", {}),
        ("POST", "classifier/mine/current", {"json": {"version": 1}}),
        ("POST", "classify", {"data": {"classifiers[]": "mine"}, "files": {"image": ("a.jpg", picture())}}),
        ("POST", "feedback/classification", {"json": {"classification_id": classified, "correct_label_id": "high"}}),
    ]
    for method, path, more in tries:
        answer = service.call(method, path, other, **more)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["type"] == "not_found"
    theirs = service.new_set("Theirs", other)
    stolen = {"json": {"image_ids": [image["id"]], "label": "b"}}
    assert service.call("POST", f"training-set/{theirs}/images/move", other, **stolen).status_code == 404
    listed = service.call("GET", f"training-set/{set_id}/images").json()["data"]
    assert [len(group["images"]) for group in listed] == [2, 2]


def test_the_bounds_are_stated_where_they_are_set():
    assert "Memory that clients can claim stays below" in Limits.__doc__
