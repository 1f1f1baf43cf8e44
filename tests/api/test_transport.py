import http.client
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from apitorch_desktop.api import types
from apitorch_desktop.api.errors import (
    CERTIFICATE_VARIABLES,
    ApiError,
    BadRequest,
    Conflict,
    ConnectionFailed,
    NotApiTorch,
    NotFound,
    RateLimited,
    ServerError,
    StorageFull,
    TimedOut,
    TooLarge,
    WrongKey,
    exception_error,
    parse_retry_after,
    status_error,
)
from apitorch_desktop.api.multipart import Multipart, SentFile
from apitorch_desktop.api.transport import is_loopback, normalize_url
from apitorch_desktop.utils.errors import Cancelled
from tests.helpers.certificates import make_certificate
from tests.helpers.fake_api import KEY
from tests.helpers.forward_proxy import forward_proxy
from tests.helpers.waiting import until
from tests.service.http.test_url_fetcher import answering


def ping(transport, **more) -> types.Ping:
    return transport.call("GET", "ping", types.Ping, **more)


def classify(transport, **more) -> types.Classifications:
    json = {"classifiers": ["work-safe"], "image_url": "http://elsewhere.example/a.jpg"}
    return transport.call("POST", "classify", types.Classifications, json=json, **more)


# --- addresses


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("www.apitorch.com", "https://www.apitorch.com/api/"),
        ("https://www.apitorch.com", "https://www.apitorch.com/api/"),
        ("HTTPS://WWW.ApiTorch.com/api", "https://www.apitorch.com/api/"),
        ("https://www.apitorch.com/api/ping", "https://www.apitorch.com/api/"),
        ("  “https://www.apitorch.com/api/”\n", "https://www.apitorch.com/api/"),
        ("https://host/torch/", "https://host/torch/api/"),
        ("https://host/api/?a=b#c", "https://host/api/"),
        ("localhost:8765", "http://localhost:8765/api/"),
        ("127.0.0.1:8765", "http://127.0.0.1:8765/api/"),
        ("[::1]:8765", "http://[::1]:8765/api/"),
        ("192.168.1.7", "http://192.168.1.7/api/"),
        ("nas.local:80", "http://nas.local:80/api/"),
        ("bücher.example", "https://bücher.example/api/"),
    ],
)
def test_an_address_is_taken_in_any_spelling(given, base):
    assert normalize_url(given) == base


@pytest.mark.parametrize(
    "given",
    [
        "",
        "  ",
        "ftp://host/",
        "https://",
        "https://host:99999/",
        "https://a b:x",
        "file:///etc/passwd",
        "http://[::1",
        "[::1",
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(given):
    with pytest.raises(BadRequest) as refused:
        normalize_url(given)
    assert str(refused.value).endswith(".")
    assert refused.value.advice


def test_a_key_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(BadRequest) as refused:
        normalize_url(f"https://{KEY}:@host/api/")
    assert KEY not in str(refused.value) + refused.value.advice


# --- what is tried again


@pytest.mark.parametrize("fault", [500, 502, 503, 504, "drop", "lost", "half", "shorter", "garbage"])
def test_a_reading_call_is_repeated_until_it_is_answered(fault, service, transport):
    service.wrong(fault, times=2)
    assert ping(transport()).message == "ok"
    assert len(service.seen) == 3


@pytest.mark.parametrize("fault", [500, 502, 503, "drop", "lost", "half", "garbage"])
def test_a_call_that_may_have_been_heard_is_never_sent_twice(fault, service, transport):
    service.wrong(fault, times=2)
    with pytest.raises(ApiError):
        classify(transport())
    assert len(service.seen) == 1


@pytest.mark.parametrize("fault", [400, 401, 403, 404, 413, 507, "portal"])
def test_what_would_be_refused_again_is_not_repeated(fault, service, transport):
    service.wrong(fault, times=2)
    with pytest.raises(ApiError):
        ping(transport())
    assert len(service.seen) == 1


def test_any_call_is_repeated_where_the_service_refused_to_look(service, transport):
    service.wrong(429, times=2)
    assert classify(transport()).data
    assert len(service.seen) == 3


def test_any_call_is_repeated_where_nobody_was_there_to_hear_it(service, transport):
    service.vanish()
    failed = transport(backoff=0.2)
    threading.Timer(0.15, service.come_back).start()
    assert classify(failed).data
    assert len(service.seen) == 1


def test_the_attempts_end(service, transport):
    service.wrong(500, times=99)
    with pytest.raises(ServerError, match="The service says 500"):
        ping(transport(attempts=3))
    assert len(service.seen) == 3


def test_a_repeated_delete_that_finds_nothing_was_done(service, transport):
    number = service.add_set("Clothes", {"dress": [b"x" * 100]})
    [image] = service.sets[number].labels["dress"]
    service.wrong("lost")
    done = types.ImageAnswer(id=image)
    assert transport().call("DELETE", f"training-image/{image}", types.ImageAnswer, missing=done) is done
    with pytest.raises(NotFound):
        transport().call("DELETE", f"training-image/{image}", types.ImageAnswer, missing=done)


# --- Retry-After


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(service, transport):
    calls = transport()
    service.wrong(429, retry_after="1")
    ping(calls)
    assert service.seen[1].at - service.seen[0].at >= 1
    moment = datetime.now(UTC) + timedelta(seconds=2)
    service.wrong(429, retry_after=format_datetime(moment, usegmt=True))
    ping(calls)
    assert datetime.now(UTC) >= moment.replace(microsecond=0)


def test_a_long_retry_after_is_told_at_once(service, transport):
    service.wrong(429, retry_after="3600")
    with pytest.raises(RateLimited) as limited:
        ping(transport())
    assert len(service.seen) == 1
    assert limited.value.retry_after == 3600
    assert limited.value.can_retry


def test_other_threads_wait_too_when_one_was_told_to(service, transport):
    calls = transport()
    service.wrong(429, retry_after="1")
    first = threading.Thread(target=ping, args=(calls,))
    first.start()
    until(lambda: calls._not_before, "the refusal")
    ping(calls)
    first.join()
    told, *others = (one.at for one in service.seen)
    assert len(others) == 2
    assert min(others) - told >= 1


@pytest.mark.parametrize(
    ("given", "seconds"), [("7", 7), (" 0 ", 0), ("soon", None), ("-5", None), ("", None), ("9" * 400, None)]
)
def test_retry_after_is_read(given, seconds):
    assert parse_retry_after(given) == seconds


def test_a_retry_after_in_the_past_means_now():
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


# --- bounds


def test_a_body_that_drips_is_given_up_in_time(service, transport):
    service.wrong("drip", seconds=0.2)
    with pytest.raises(TimedOut, match="did not finish within 1 seconds"):
        ping(transport(total=1, attempts=1))


def test_a_large_image_on_a_slow_line_gets_through(service, transport):
    data = bytes(range(256)) * 400
    number = service.add_set("Clothes", {"dress": [data]})
    url = transport().call("GET", f"training-set/{number}/images", types.TrainingImages).data[0].images[0].url
    calls = transport(total=2, attempts=1)
    service.slowly = 0.2  # seconds for 8 kB
    begun = time.monotonic()
    assert calls.download(url, limit=2**20) == data
    assert time.monotonic() - begun > 2.1


def test_headers_that_drip_are_given_up_in_time(transport):
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.1):
                    try:
                        connection.sendall(b"X")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimedOut, match="did not finish within 1 seconds"):
            ping(transport(f"127.0.0.1:{server.getsockname()[1]}", total=1, attempts=1))
        stop.set()
        thread.join()


def test_silence_is_given_up_in_time(service, transport):
    service.wrong("held")
    with pytest.raises(TimedOut, match="silent"):
        ping(transport(timeout=(20, 0.5), attempts=1))


def test_a_wait_ends_when_it_is_cancelled(service, transport):
    service.wrong("held")
    with pytest.raises(Cancelled):
        ping(transport(), cancelled=lambda: bool(service.seen))


def test_a_pause_between_two_attempts_ends_when_it_is_cancelled(service, transport):
    service.wrong(429, retry_after="20")
    calls = transport(total=60)
    with pytest.raises(Cancelled):
        ping(calls, cancelled=lambda: bool(calls._not_before))
    assert len(service.seen) == 1


def test_an_upload_that_nobody_takes_ends_when_it_is_cancelled(transport):
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        body = Multipart([], [SentFile(b"x" * 30_000_000, "big.jpg")])
        calls = transport(f"127.0.0.1:{server.getsockname()[1]}", total=60, timeout=(20, 60))
        with pytest.raises(Cancelled):
            calls.call("POST", "x", dict[str, Any], multipart=body, cancelled=lambda: time.monotonic() - begun > 0.5)


def test_a_gzip_bomb_is_not_unpacked_whole(service, transport):
    service.wrong("bomb", times=9)
    with pytest.raises(BadRequest, match="larger than 2 MiB"):
        ping(transport(max_answer_size=2 * 2**20))


def test_a_download_that_is_too_large_is_refused(service, transport):
    number = service.add_set("Clothes", {"dress": [b"x" * 5_000_000]})
    url = transport().call("GET", f"training-set/{number}/images", types.TrainingImages).data[0].images[0].url
    with pytest.raises(BadRequest, match="larger than 1 MiB"):
        transport().download(url, limit=2**20)


# --- downloads


@pytest.mark.parametrize("fault", ["half", "shorter", "drop", 500, 503, "late"])
def test_a_download_comes_whole_in_the_end(fault, service, transport):
    number = service.add_set("Clothes", {"dress": [bytes(range(256)) * 1000]})
    calls = transport()
    url = calls.call("GET", f"training-set/{number}/images", types.TrainingImages).data[0].images[0].url
    service.wrong(fault, times=2, path="^/files", seconds=0.05)
    assert calls.download(url, limit=2**20) == bytes(range(256)) * 1000


def test_an_address_that_ran_out_is_not_found(service, transport):
    number = service.add_set("Clothes", {"dress": [b"x" * 100]})
    url = transport().call("GET", f"training-set/{number}/images", types.TrainingImages).data[0].images[0].url
    service.expire()
    with pytest.raises(NotFound, match="run out"):
        transport().download(url, limit=2**20)


@pytest.mark.parametrize(
    "url",
    ["", "ftp://host/a", "http://", "javascript:alert(1)", "http://[bad/a", "file:///etc/passwd", "http://a:99999/b"],
)
def test_an_address_that_leads_nowhere_is_not_found(url, service, transport):
    with pytest.raises(NotFound):
        transport().download(url, limit=2**20)


# --- where the key goes


def test_the_key_is_sent_to_its_own_origin_only(service, transport, tmp_path, monkeypatch):
    """Images lie on another origin; a .netrc must neither replace the key nor add one there."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password one\nmachine localhost login other password one\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    number = service.add_set("Clothes", {"dress": [b"x" * 100]})
    calls = transport()
    url = calls.call("GET", f"training-set/{number}/images", types.TrainingImages).data[0].images[0].url
    calls.download(url, limit=2**20)
    listed, loaded = service.seen
    assert listed.authorization == "Basic azN5LW9mLXRoZS1taXNiZWhhdmluZy1zZXJ2aWNlLTAxMjM0NTY3ODlBOg=="
    assert loaded.host.startswith("localhost")
    assert loaded.authorization == ""


def test_a_redirect_to_another_origin_is_named_and_not_followed(service, transport):
    service.wrong("redirect", to=f"http://localhost:{service.port}/api/ping?next=1")
    with pytest.raises(NotApiTorch, match=f"sends every call on to http://localhost:{service.port}"):
        ping(transport())
    assert len(service.seen) == 1


def test_a_redirect_within_the_origin_is_followed_by_what_only_reads(service, transport):
    service.wrong("redirect", to="/api/ping?again=1")
    assert ping(transport()).message == "ok"
    service.wrong("redirect", to="/api/classify?again=1")
    with pytest.raises(NotApiTorch):
        classify(transport())


@pytest.mark.parametrize("target", ["http://[::1", "http://localhost:99999/"])
def test_a_redirect_to_what_is_no_address_is_named(target, service, transport):
    service.wrong("redirect", to=target)
    with pytest.raises(NotApiTorch, match="answers with a redirect"):
        ping(transport())


def test_a_redirect_without_end_ends(service, transport):
    service.wrong("redirect", times=99, to="/api/ping")
    with pytest.raises(NotApiTorch, match="redirects without end"):
        ping(transport())


def test_the_key_is_in_no_log_no_repr_and_no_exception(service, transport, caplog):
    caplog.set_level(logging.DEBUG)
    calls = transport(attempts=1)
    told = [repr(calls)]
    for fault in (401, 500, "drop", "portal", "garbage", "redirect"):
        service.wrong(fault, to="http://elsewhere.example/")
        with pytest.raises(ApiError) as raised:
            ping(calls)
        told.append("".join(traceback.format_exception(raised.value)))
        assert raised.value.__context__ is None
        assert raised.value.__cause__ is None
    service.vanish()
    with pytest.raises(ConnectionFailed) as raised:
        ping(calls)
    told += ["".join(traceback.format_exception(raised.value)), caplog.text]
    coded = "azN5LW9mLXRoZS1taXNiZWhhdmlu"
    assert not [text for text in told if KEY in text or coded in text]


def test_a_service_that_repeats_the_key_is_quoted_without_it():
    body = f'{{"object": "error", "message": "The key {KEY} is unknown.\\nSorry", "type": "x"}}'.encode()
    error = status_error(401, {}, body, "https://host/api/", KEY)
    assert str(error) == "The key … is unknown. Sorry"


def test_a_proxy_does_not_stand_between_us_and_this_machine(service, transport, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ping(transport()).message == "ok"
    for host in ("0.0.0.0", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"):
        assert ping(transport(f"http://{host}:{service.port}/")).message == "ok", host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "a.localhost",
        "localhost.",
        "ip6-localhost",
        "IP6-LOOPBACK",
        "localhost.localdomain",
        "[::1]",
        "[::]",
        "0.0.0.0",
        "0",
        "127.1",
        "127.255.0.9",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "[::ffff:127.0.0.1]",
    ],
)
def test_every_spelling_of_this_machine_is_known(host):
    assert is_loopback(f"http://{host}:8765/api/")
    assert normalize_url(f"{host}:8765") == f"http://{host.lower()}:8765/api/"


@pytest.mark.parametrize(
    "host", ["torch.example", "10.0.0.1", "1.1", "localhost.example", "[2001:db8::1]", "128.1", "1277"]
)
def test_another_machine_is_not_taken_for_this_one(host):
    assert not is_loopback(f"http://{host}/api/")


@pytest.mark.parametrize("name", CERTIFICATE_VARIABLES[:-1])
def test_an_own_authority_is_named_by_the_environment(tmp_path, transport, monkeypatch, name):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    for other in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(other, raising=False)
    body = b'{"object": "ping", "message": "ok"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with answering(answer, tls=tls) as (port, _):
        url = f"https://127.0.0.1:{port}/"
        with pytest.raises(ConnectionFailed, match="certificate is not valid") as failed:
            ping(transport(url, attempts=1))
        assert "SSL_CERT_FILE" in failed.value.advice
        monkeypatch.setenv(name, str(tmp_path))
        with pytest.raises(ConnectionFailed) as failed:
            ping(transport(url, attempts=1))
        assert f"The variable {name} names a folder" in failed.value.advice
        monkeypatch.setenv(name, str(cert))
        assert ping(transport(url, attempts=1)).message == "ok"
        for bad, why in ((tmp_path / "absent.pem", "No such file"), (key, "no certificate")):
            monkeypatch.setenv(name, str(bad))
            with pytest.raises(ConnectionFailed, match=why) as failed:
                ping(transport(url, attempts=1))
            assert name in failed.value.advice


def test_a_proxy_is_used_for_other_machines(service, transport, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://user:word@127.0.0.1:{service.port}")
    assert ping(transport("http://torch.example/")).message == "ok"
    assert service.seen[0].path == "http://torch.example/api/ping"
    assert service.seen[0].host == "torch.example"


def test_a_proxy_that_is_not_there_is_named(transport, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ConnectionFailed, match="proxy") as failed:
        ping(transport("http://torch.example/", attempts=1))
    assert "proxy settings" in failed.value.advice


# --- what the person reads


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [
        (400, BadRequest, False),
        (401, WrongKey, False),
        (403, BadRequest, False),
        (404, NotFound, False),
        (405, BadRequest, False),
        (408, TimedOut, True),
        (409, Conflict, False),
        (413, TooLarge, False),
        (429, RateLimited, True),
        (500, ServerError, True),
        (503, ServerError, True),
        (507, StorageFull, True),
    ],
)
def test_each_status_is_its_error_and_quotes_the_service(status, kind, retry):
    error = status_error(status, {}, b'{"object": "error", "message": "Because."}', "https://host/api/", KEY)
    assert type(error) is kind
    assert str(error) == "Because."
    assert error.status == status
    assert error.can_retry is retry
    assert error.advice or kind is Conflict


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 418, 429, 500, 502, 511])
@pytest.mark.parametrize("body", [b"", b"<html>oh</html>", b"{", b'"text"', b"[1]", b"\xff\xfe", b'{"message": 7}'])
def test_a_refusal_without_a_message_still_is_a_sentence(status, body):
    error = status_error(status, {}, body, "https://host/api/", KEY)
    assert "host" in str(error)
    assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"detail": "Not Found"}'),
        (404, b'{"timestamp": "x", "status": 404, "error": "Not Found", "message": "No message available"}'),
        (404, b'{"error": {"message": "Unknown request URL", "type": "invalid_request_error"}}'),
        (418, b'{"detail": "Not Found"}'),
        (422, b'{"detail": [{"msg": "field required"}]}'),
    ],
)
def test_an_address_that_leads_to_another_json_service_is_named(status, body):
    error = status_error(status, {}, body, "https://host/api/", KEY)
    assert type(error) is NotApiTorch and "answers, but not as API Torch does" in str(error)


def test_an_error_with_a_message_alone_may_be_of_a_service_with_the_documented_calls():
    error = status_error(404, {}, b'{"message": "There is no such training set."}', "https://host/api/", KEY)
    assert type(error) is NotFound and "no such training set" in str(error)


def test_a_very_long_message_is_cut():
    body = b'{"message": "' + b"x" * 100_000 + b'"}'
    assert len(str(status_error(400, {}, body, "https://host/api/", KEY))) < 400


@pytest.mark.parametrize(
    ("fault", "words"),
    [("portal", "answers with a web page"), ("garbage", "breaks off or is damaged"), (502, "failed")],
)
def test_an_answer_that_is_not_api_torchs_is_named(fault, words, service, transport):
    service.wrong(fault, times=9)
    with pytest.raises((NotApiTorch, ServerError), match=words):
        ping(transport(attempts=2))


def test_nobody_there_and_no_such_host_are_told_apart(service, transport, monkeypatch):
    service.vanish()
    with pytest.raises(ConnectionFailed, match=f"Nothing answers at 127.0.0.1:{service.port}") as failed:
        ping(transport(attempts=1))
    assert failed.value.unsent

    def unknown(*_, **__):  # whatever resolver there is
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConnectionFailed, match=r"There is no “nowhere\.invalid”") as failed:
        ping(transport("https://nowhere.invalid/", attempts=1))
    assert failed.value.unsent


@pytest.mark.parametrize(
    ("names", "days", "trusted", "why", "advice"),
    [
        ("DNS:localhost", 2, False, "self-signed certificate", "SSL_CERT_FILE"),
        ("DNS:localhost", -1, True, "expired", "clock"),
        ("DNS:elsewhere.example", 2, True, "Hostname mismatch", "by a name that its certificate is made for"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_named_with_what_helps(
    transport, tmp_path, monkeypatch, names, days, trusted, why, advice
):
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make_certificate(cert, key, names, days=days)
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with answering(b"", tls=context) as (port, heads):
        with pytest.raises(ConnectionFailed, match=f"made secure: its certificate is not valid .*{why}") as failed:
            ping(transport(f"https://localhost:{port}/"))
        assert advice in failed.value.advice
        if not trusted:
            make_certificate(tmp_path / "other.pem", tmp_path / "other.key")
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))  # which goes before SSL_CERT_FILE
            with pytest.raises(ConnectionFailed) as failed:
                ping(transport(f"https://localhost:{port}/"))
            assert "the file that the variable REQUESTS_CA_BUNDLE names" in failed.value.advice
    assert not failed.value.can_retry and not heads


def test_one_that_speaks_without_tls_is_told_from_one_with_a_bad_certificate(transport):
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as (port, _), pytest.raises(ConnectionFailed, match="answers without TLS") as failed:
        ping(transport(f"https://localhost:{port}/"))
    assert "http://" in failed.value.advice
    closed = exception_error(http.client.RemoteDisconnected(), "http://torch.example/api/ping")
    assert "https://" in closed.advice
    assert "https://" not in exception_error(http.client.RemoteDisconnected(), "http://127.0.0.1:1/api/ping").advice


@pytest.mark.parametrize(
    ("answer", "said", "advised"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "does not speak HTTP", "Check the network and the address"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "does not speak HTTP", "begins with https://"),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<center>The plain HTTP request was sent to HTTPS port",
            "asks for a secure connection",
            "begins with https://",
        ),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "asks for a secure connection",
            "begins with https://",
        ),
    ],
)
def test_a_port_of_another_protocol_is_named(transport, answer, said, advised):
    with answering(answer) as (port, _), pytest.raises((ConnectionFailed, NotApiTorch), match=said) as failed:
        ping(transport(f"http://127.0.0.1:{port}/", attempts=1))
    assert advised in failed.value.advice


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required", "asks for a name and a password"),
        (b"HTTP/1.1 403 Forbidden", r"does not let the call through \(403 Forbidden\)"),
    ],
)
def test_a_proxy_that_refuses_is_named_with_its_reason(transport, monkeypatch, refusal, sentence):
    with forward_proxy(9, refusal) as (port, heads):
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectionFailed, match=f"The proxy on the way to torch.example {sentence}") as failed:
            ping(transport("https://torch.example/", attempts=1))
    assert "proxy settings" in failed.value.advice
    assert heads and "uthorization" not in heads[0]
    assert isinstance(status_error(407, {}, b"", "http://torch.example/", KEY), ConnectionFailed)


def test_advice_does_not_contradict_that_of_the_service():
    body = b'{"object": "error", "message": "The stored image is gone from the disk. Upload it again."}'
    assert status_error(500, {}, body, "https://host/api/", KEY).advice == ""
    assert "Try again" in status_error(500, {}, b'{"message": "It failed."}', "https://host/api/", KEY).advice
    body = b'{"object": "error", "message": "The PNG is damaged and cannot be decoded: copy or download it again."}'
    assert status_error(400, {}, body, "https://host/api/", KEY).advice == ""
    body = b'{"object": "error", "message": "This service is not here. Call it by its name."}'
    for status in (400, 403, 404):
        assert status_error(status, {}, body, "https://host/api/", KEY).advice == ""


@pytest.mark.parametrize("proxy", ["foo://127.0.0.1:9", "http://", "http://[::1"])
def test_a_proxy_of_another_kind_is_named_and_not_its_password(transport, monkeypatch, proxy):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.replace("://", "://name:secret@"))
    with pytest.raises(ConnectionFailed, match="is of a kind that cannot be used") as failed:
        ping(transport("https://torch.example/"))
    assert "secret" not in f"{failed.value}{failed.value.advice}" and not failed.value.can_retry


def test_no_proxy_is_obeyed(service, transport, monkeypatch):
    find = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **named: find("127.0.0.1", *more, **named))
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "other.example,.torch.example")
    assert ping(transport(f"http://a.torch.example:{service.port}/")).message == "ok"


# --- connections


def test_connections_are_kept_open_and_each_thread_has_its_own(service, transport):
    calls = transport()
    for _ in range(5):
        ping(calls)
    assert len(service._connections) == 1
    thread = threading.Thread(target=ping, args=(calls,))
    thread.start()
    thread.join()
    calls.close()
    assert ping(calls).message == "ok"


def test_a_connection_that_the_service_closed_meanwhile_is_opened_again(service, transport):
    calls = transport(attempts=1)
    classify(calls)
    service.vanish()
    service.come_back()
    assert classify(calls).data


def test_a_second_answer_on_a_connection_is_not_taken_for_the_next(service, transport):
    calls = transport()
    service.wrong("twice")
    ping(calls)
    service.add_set("Clothes")
    assert calls.call("GET", "training-sets", types.TrainingSets).data[0].name == "Clothes"


def test_nothing_heavy_is_loaded_before_the_first_call():
    code = "import sys, apitorch_desktop.api.client; print([m for m in ('requests', 'urllib3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
