import asyncio
import gzip
import socket
import ssl
import threading
import time
import zlib
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import MemoryBudget, Spool
from apitorch_desktop.service.http.url_fetcher import UrlFetcher, is_public

IMAGE = b"\xff\xd8 as good as an image \xff\xd9"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE


@contextmanager
def answering(*answers, tls=None, host="127.0.0.1"):
    """A server on loopback that gives each connection one of `answers`: bytes, or a function of the socket.

    Yields its port and the list of request heads it got.
    """
    heads = []
    left = list(answers)
    listener = socket.create_server((host, 0))

    def one(connection):
        with connection:
            connection.settimeout(10)
            try:
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                heads.append(connection.recv(65536).decode("latin-1"))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
            except OSError:
                pass
            finally:
                connection.close()

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


def fetch(url, tmp_path, *, most=10_000, **options):
    """Bytes and name at a URL. Raises HttpError."""

    async def run():
        with closing(UrlFetcher(max_bytes=most, **options)) as fetcher:
            spool = Spool(MemoryBudget(2**20), tmp_path)
            try:
                name = await fetcher.fetch(url, spool)
                return spool.read(), name
            finally:
                spool.close()

    return asyncio.run(run())


def refused(url, tmp_path, *words, status=400, **options):
    with pytest.raises(HttpError) as caught:
        fetch(url, tmp_path, **options)
    assert caught.value.status == status
    for word in words:
        assert word in caught.value.message
    return caught.value.message


PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1", "::", "::1", "::7f00:1",
    "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "2001:db8::1", "fe80::1",
    "fe80::1%lo", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "100::1", "3fff::1", "5f00::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_machines_and_networks_are_not_public_in_any_form(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0", "[::1]", "[::]", "localhost",
        "LOCALHOST", "localhost.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "①②⑦.⓪.⓪.①", "127。0。0。1",
        "[::127.0.0.1]", "10.0.0.1", "192.168.0.1", "169.254.169.254", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)  # fmt: skip
def test_no_spelling_of_a_private_address_is_connected_to(host, tmp_path):
    with answering(OK) as (port, heads):
        words = [] if host == "localhost." else ["private network"]  # not every machine knows that one
        refused(f"http://{host}:{port}/a.jpg", tmp_path, *words, connect=2)
        assert heads == []


def test_a_private_address_is_fetched_from_where_the_configuration_allows_it(tmp_path):
    with answering(OK) as (port, heads):
        assert fetch(f"http://127.0.0.1:{port}/x/a.jpg?b=ü", tmp_path, allow_private=True) == (IMAGE, "a.jpg")
    assert heads[0].startswith("GET /x/a.jpg?b=%C3%BC HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n" in heads[0]


def resolving(*turns):
    """A DNS that answers each look-up with the next of `turns`."""
    left = list(turns)
    asked = []

    async def resolve(host, port):
        asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve, asked


def test_a_name_that_resolves_to_a_private_address_is_refused(tmp_path):
    for addresses in (["127.0.0.1"], ["::1"], ["10.0.0.1", "::ffff:10.0.0.1"]):
        resolve, asked = resolving(addresses)
        refused("http://127.0.0.1.nip.example/a.jpg", tmp_path, "private network", resolve=resolve)
        assert asked == ["127.0.0.1.nip.example"]


def test_a_name_is_looked_up_once_so_that_a_second_answer_changes_nothing(tmp_path, monkeypatch):
    connected = []

    async def connect(host, port, **options):
        connected.append(host)
        raise OSError(111, "Connection refused")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    resolve, asked = resolving(["93.184.216.34", "127.0.0.1"], ["127.0.0.1"])
    refused("http://rebind.example/a.jpg", tmp_path, "cannot be reached", resolve=resolve)
    assert connected == ["93.184.216.34"]
    assert asked == ["rebind.example"]


@pytest.mark.parametrize(
    "onward", ["http://127.0.0.1:{port}/", "http://[::1]/", "//0x7f.1:{port}/", "//2130706433:{port}/"]
)
def test_every_redirect_is_checked_anew(onward, tmp_path, monkeypatch):
    monkeypatch.setattr("apitorch_desktop.service.http.url_fetcher.is_public", lambda address: address == "127.0.0.2")
    resolve, _ = resolving(["127.0.0.2"], ["127.0.0.1"])
    with answering(OK) as (inner, reached):
        hop = f"HTTP/1.1 302 Found\r\nLocation: {onward.format(port=inner)}\r\nContent-Length: 0\r\n\r\n".encode()
        with answering(hop, host="127.0.0.2") as (port, heads):
            refused(f"http://first.example:{port}/", tmp_path, "private network", resolve=resolve)
            assert len(heads) == 1
        assert reached == []


@pytest.mark.parametrize(
    ("onward", "word"),
    [
        ("file:///etc/passwd", "no http:// or https:// address"),
        ("ftp://a/b", "no http:// or https:// address"),
        ("gopher://a", "no http:// or https:// address"),
        ("data:image/png;base64,AA", "no http:// or https:// address"),
        ("//u:p@a/", "a name or a password"),
    ],
)
def test_redirects_lead_to_http_only(onward, word, tmp_path):
    with answering(f"HTTP/1.1 301 Moved\r\nLocation: {onward}\r\n\r\n".encode()) as (port, heads):
        refused(f"http://127.0.0.1:{port}/", tmp_path, word, allow_private=True)
        assert len(heads) == 1


def test_redirects_are_followed_but_not_for_ever(tmp_path):
    hop = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: ../b.jpg\r\n\r\n"
    with answering(hop, hop, OK) as (port, heads):
        assert fetch(f"http://127.0.0.1:{port}/a/a.jpg", tmp_path, allow_private=True) == (IMAGE, "b.jpg")
        assert len(heads) == 3
    with answering(hop) as (port, heads):
        refused(f"http://127.0.0.1:{port}/a/a.jpg", tmp_path, "redirects more than 5 times", allow_private=True)
        assert len(heads) == 6


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "/etc/passwd", "ftp://example.com/a", "http://", "http:///a.jpg", "javascript:alert(1)", "",
        "http://[::1", "http://a:99999/", "http://user:secret@example.com/", "http://user@example.com/", "x" * 9000,
        "http://" + "a" * 300 + ".example/", "http://exa mple.com/", "http://a\x00b/", "//example.com/a.jpg", "http://..../",
        "http://host.invalid/a.jpg",
    ],
)  # fmt: skip
def test_what_is_no_address_of_an_image_is_refused_with_a_sentence(url, tmp_path):
    message = refused(url, tmp_path)
    assert message[-1] == "."
    assert "secret" not in message


def test_a_request_line_cannot_be_broken_out_of(tmp_path):
    with answering(OK) as (port, heads):
        fetch(f"http://127.0.0.1:{port}/a b\u00a0?x=\x7f\u2028y", tmp_path, allow_private=True)
    assert heads[0].startswith("GET /a%20b%C2%A0?x=%7F%E2%80%A8y HTTP/1.1\r\nHost:")


def endless(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def endless_chunks(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")


def endless_head(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-A: " + b"y" * 1000 + b"\r\n")


def endless_informational(connection):
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def trickling_head(connection):
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def trickling_body(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (endless, 413, "larger"),
        (endless_chunks, 413, "larger"),
        (endless_head, 400, ""),
        (endless_informational, 400, "longer than 1 seconds"),
        (trickling_head, 400, "longer than 1 seconds"),
        (trickling_body, 400, "longer than 1 seconds"),
        (lambda connection: time.sleep(6), 400, "longer than 1 seconds"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 413, "larger"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", 400, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nonly this", 400, "broke off"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 400, "404"),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\n\r\n", 400, "206"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", 400, "compressed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400, "broke off"),
        (b"", 400, "broke off"),
    ],
)
def test_answers_that_are_endless_slow_or_broken_are_cut_off(answer, status, word, tmp_path):
    with answering(answer) as (port, _):
        deadline = 1 if "1 seconds" in word else 60
        refused(f"http://127.0.0.1:{port}/", tmp_path, word, status=status, allow_private=True, deadline=deadline)


def encoded(encoding, body):
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body)) + body


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(IMAGE, mtime=0)),
        (b"X-GZIP", gzip.compress(IMAGE, mtime=0)),
        (b"deflate", zlib.compress(IMAGE)),
        (b"deflate", zlib.compress(IMAGE, wbits=-15)),
        (b"gzip", IMAGE),  # only the header says so
        (b"identity", IMAGE),
    ],
)
def test_an_answer_that_is_compressed_unasked_is_unpacked(encoding, body, tmp_path):
    with answering(encoded(encoding, body)) as (port, _):
        assert fetch(f"http://127.0.0.1:{port}/a.jpg", tmp_path, allow_private=True) == (IMAGE, "a.jpg")


@pytest.mark.parametrize(
    ("encoding", "body", "status", "word"),
    [
        (b"gzip", gzip.compress(bytes(10**8), mtime=0), 413, "larger"),
        (b"deflate", zlib.compress(bytes(10**8)), 413, "larger"),
        (b"gzip", gzip.compress(IMAGE, mtime=0)[:-9], 400, "damaged"),
        (b"gzip", b"\x1f\x8b not at all", 400, "damaged"),
        (b"br", b"x", 400, "“br”"),
        (b"gzip, gzip", b"x", 400, "not read here"),
    ],
)
def test_a_compressed_answer_is_bounded_and_checked(encoding, body, status, word, tmp_path):
    with answering(encoded(encoding, body)) as (port, _):
        refused(f"http://127.0.0.1:{port}/a.jpg", tmp_path, word, status=status, allow_private=True)


@pytest.mark.parametrize("encoding", [b"aws-chunked", b"utf-8", b"none", b"x-unknown, gzip"])
def test_an_unknown_encoding_over_an_image_is_passed_over(encoding, tmp_path):
    image = b"\xff\xd8\xff\xe0 as good as an image \xff\xd9"

    def slowly(connection):
        for byte in encoded(encoding, image):
            connection.sendall(bytes([byte]))

    for answer in (encoded(encoding, image), slowly):
        with answering(answer) as (port, _):
            assert fetch(f"http://127.0.0.1:{port}/a.jpg", tmp_path, allow_private=True) == (image, "a.jpg")


def busy(*headers, status=429):
    return b"\r\n".join([b"HTTP/1.1 %d Busy" % status, b"Content-Length: 0", *headers, b"\r\n"])


def test_a_server_that_asks_to_wait_is_asked_again(tmp_path):
    with answering(busy(b"Retry-After: 1"), busy(status=503), OK) as (port, heads):
        begun = time.monotonic()
        assert fetch(f"http://127.0.0.1:{port}/a.jpg", tmp_path, allow_private=True)[0] == IMAGE
        assert time.monotonic() - begun >= 3
    assert len(heads) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (busy(b"Retry-After: 120"), ("answers 429", "was asked once. Try again in 2 min.")),
        (busy(b"Retry-After: 1"), (" times. Try again in 1 s.",)),
        (busy(status=503), ("answers 503", "was asked 2 times. Try again later.")),
    ],
)
def test_a_server_that_asks_to_wait_for_too_long_is_given_up(answer, words, tmp_path):
    with answering(answer) as (port, _):
        refused(f"http://127.0.0.1:{port}/a.jpg", tmp_path, *words, allow_private=True, deadline=2.5)


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, b"", ("answers 401", "asks for a login", "Download the image, and send it itself.")),
        (403, b"", ("answers 403", "has expired")),
        (404, b"", ("answers 404", "Check the address.")),
        (500, b"", ("answers 500", "Try again later.")),
        (200, b"Content-Type: Multipart/X-Mixed-Replace; boundary=f\r\n", ("live stream",)),
    ],
)
def test_a_server_that_sends_no_image_is_named_with_what_helps(status, headers, words, tmp_path):
    with answering(b"HTTP/1.1 %d No\r\n%b\r\n" % (status, headers)) as (port, _):
        refused(f"http://127.0.0.1:{port}/a.jpg", tmp_path, *words, allow_private=True)


@pytest.mark.parametrize("length", [100, 100_000])
def test_an_image_in_place_of_an_address_is_told_alike_whatever_its_length(length, tmp_path):
    for start in ("data:image/jpeg;base64,", ""):
        sentence = refused(
            start + "QUJD" * (length // 4), tmp_path, "is no http:// or https:// address", "the image itself"
        )
        assert len(sentence) < 400
    refused("https://a.example/" + "a" * 9000, tmp_path, "longer than 8192 characters")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_where_nobody_listens_is_named(host, tmp_path):
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    with socket.socket(family) as taken:  # and nobody can, while it is bound
        taken.bind((host.strip("[]"), 0))
        port = taken.getsockname()[1]
        words = ("cannot be reached: connection refused. Check the address.", f"{host}:{port}")
        refused(f"http://{host}:{port}/a.jpg", tmp_path, *words, allow_private=True)


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for photos.example, and contexts for a server that has it and a client that trusts it."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "photos.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("photos.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    client = ssl.create_default_context(cadata=pem.decode())
    return server, client


def test_tls_is_verified_against_the_name_though_the_address_is_pinned(authority, tmp_path):
    server, client = authority
    resolve, _ = resolving(["127.0.0.1"])
    options = {"resolve": resolve, "tls": client, "allow_private": True}
    with answering(OK, tls=server) as (port, heads):
        assert fetch(f"https://photos.example:{port}/a.jpg", tmp_path, **options)[0] == IMAGE
        assert f"Host: photos.example:{port}\r\n" in heads[0]
        refused(f"https://other.example:{port}/a.jpg", tmp_path, "certificate is not valid", **options)
        refused(f"https://127.0.0.1:{port}/a.jpg", tmp_path, "certificate is not valid", **options)
        untrusting = {**options, "tls": None}
        refused(f"https://photos.example:{port}/a.jpg", tmp_path, "certificate is not valid", **untrusting)
        assert len(heads) == 1
    with answering(OK) as (port, _):
        refused(f"https://photos.example:{port}/a.jpg", tmp_path, "does not speak TLS", **options)
