"""`apitorch-desktop serve` and `keys` as scripts rely on them: the one line, the key, the ends, the refusals."""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from apitorch_desktop.api.errors import CERTIFICATE_VARIABLES
from apitorch_desktop.service import launcher
from tests.helpers.certificates import make_certificate
from tests.helpers.forward_proxy import forward_proxy
from tests.helpers.service_process import COMMAND, KEY, run, serving
from tests.helpers.waiting import PATIENCE, until


def test_prints_one_line_of_json_and_takes_connections_at_once(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        assert served.url == f"http://127.0.0.1:{urlsplit(served.url).port}/api/"
        answer = served.call("GET", "ping")
        status, out, err = served.end()
    assert answer.status_code == 200
    assert answer.json()["message"] == "ok"
    assert (status, out, err) == (0, "", "")


def test_the_first_start_makes_a_key_shows_it_once_and_takes_it_ever_after(tmp_path):
    with serving(tmp_path, key=None) as served:
        _, _, err = served.end()
    (line,) = err.splitlines()
    key = line.rpartition(" ")[2]
    assert len(key) == 42
    with serving(tmp_path, key=None) as served:
        assert served.call("GET", "ping", auth=(key, "")).status_code == 200
        assert served.call("GET", "ping", auth=("x" * 42, "")).status_code == 401
        _, out, err = served.end()
    assert key not in out + err


@pytest.mark.parametrize("key", ["short", "x" * 41, "x" * 43, "x" * 41 + ":", "x" * 41 + "é"])
def test_a_key_that_no_client_could_use_is_refused_in_one_sentence(tmp_path, key):
    done = run("serve", "--port", "0", "--data", str(tmp_path), key=key)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "APITORCH_API_KEY" in done.stderr
    assert key not in done.stderr


def test_a_request_under_way_is_answered_when_it_is_told_to_end(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        address = urlsplit(served.url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            body = b'{"name": "Clothes"}'
            connection.sendall(_head(body).replace(b"Host:", b"Expect: 100-continue\r\nHost:"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")  # it is under way
            connection.sendall(body[:5])
            served.process.send_signal(signal.SIGTERM)
            until(lambda: not _accepts(address))
            connection.sendall(body[5:])
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        status, _, err = served.end()
    assert answer.startswith(b"HTTP/1.1 200")
    assert status == 0
    assert "Traceback" not in err
    assert not (tmp_path / "running.json").exists()


def test_a_client_that_never_finishes_does_not_keep_it_from_ending(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        address = urlsplit(served.url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(_head(b"x" * 100).replace(b"Host:", b"Expect: 100-continue\r\nHost:"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")  # it is under way, and not only accepted
            status, _, err = served.end()
            answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"object": "error"' in answer
    assert status == 0
    assert "Traceback" not in err


def test_a_second_sigterm_while_it_closes_does_no_harm(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        while served.process.poll() is None:
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert served.process.returncode == 0
        assert "Traceback" not in served.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_control_c_and_a_closed_terminal_end_it_cleanly_too(tmp_path, number):
    with serving(tmp_path, key=KEY) as served:
        status, _, err = served.end(number)
    assert status == 0
    assert err == ""


def test_a_taken_port_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("serve", "--port", str(port), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"apitorch-desktop: Port {port} is taken by another program: choose another with --port, or 0 to have one picked."
    ]
    assert not (tmp_path / "data").exists()


def test_two_on_one_folder_the_second_says_so_and_stops(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        done = run("serve", "--port", "0", "--data", str(tmp_path), key=KEY)
        assert served.call("GET", "ping").status_code == 200
        assert (tmp_path / "running.json").exists()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize("arguments", [["--host", "no.such.host.invalid"], ["--host", "203.0.113.7"]])
def test_an_address_that_is_not_of_this_machine_is_one_sentence(tmp_path, arguments):
    done = run("serve", "--port", "0", "--data", str(tmp_path), *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert arguments[1] in done.stderr


def test_an_ipv6_address_may_be_in_brackets_and_one_of_a_link_needs_its_interface(tmp_path):
    with serving(tmp_path, "--host", "[::1]", key=KEY) as served:
        assert served.url.startswith("http://[::1]:")
        assert served.call("GET", "ping").status_code == 200
    done = run("serve", "--port", "0", "--data", str(tmp_path), "--host", "fe80::1")
    assert done.returncode == 1
    assert "fe80::1%eth0" in done.stderr


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path, kind):
    folder = tmp_path / "data"
    if kind == "file":
        folder.write_text("")
    elif Path("/proc/self").is_dir():
        folder = Path("/proc/apitorch")  # also root cannot write there
    else:
        pytest.skip("no folder here that nobody can write to")
    done = run("serve", "--port", "0", "--data", str(folder))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert str(folder) in done.stderr


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "x"], ["--tls-cert", "a.pem"], ["--nonsense"]])
def test_a_usage_error_is_exit_status_2(tmp_path, arguments):
    done = run("serve", "--data", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_word_that_is_neither_a_command_nor_a_picture_is_a_usage_error():
    done = run("exprot", "clothes")
    assert done.returncode == 2
    assert "exprot" in done.stderr


def test_listening_on_other_addresses_warns_that_others_can_read_along(tmp_path):
    with serving(tmp_path, "--host", "0.0.0.0", key=KEY) as served:
        assert served.call("GET", "ping").status_code == 200
        _, _, err = served.end()
    assert "--tls-cert" in err


def test_with_tls_it_does_not_warn_and_own_programs_still_find_it(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    data = tmp_path / "data"
    with serving(data, "--host", "0.0.0.0", "--tls-cert", str(cert), "--tls-key", str(key)) as served:
        assert served.url.startswith("https://127.0.0.1:")
        assert served.call("GET", "ping", verify=str(cert)).status_code == 200
        attached = launcher.attach(data)
        assert attached
        url, own = attached
        assert requests.get(url + "ping", auth=(own, ""), timeout=60).status_code == 200
        status, _, err = served.end()
    assert (status, err) == (0, "")


@pytest.mark.parametrize("sent", ["", "half of a head", "a call", "the last call"])
def test_an_idle_tls_client_does_not_keep_it_from_ending(tmp_path, sent):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    context = ssl.create_default_context(cafile=str(cert))
    with serving(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key), key=KEY) as served:
        address = urlsplit(served.url)
        raw = socket.create_connection((address.hostname, address.port))
        with context.wrap_socket(raw, server_hostname=address.hostname) as connection:
            close = "Connection: close\r\n" if sent == "the last call" else ""
            head = f"GET /api/health HTTP/1.1\r\nHost: localhost\r\n{close}\r\n".encode()
            if sent:
                connection.sendall(head[:30] if "half" in sent else head)
            if "call" in sent:
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            status, _, err = served.end()
    assert (status, err) == (0, "")  # what waits for its client until the last is logged


def test_tls_files_that_do_not_fit_are_one_sentence(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, tmp_path / "other.pem")
    make_certificate(tmp_path / "other_cert.pem", key)
    for arguments in ([str(cert), str(key)], [str(tmp_path / "absent.pem"), str(key)]):
        done = run("serve", "--port", "0", "--tls-cert", arguments[0], "--tls-key", arguments[1])
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


def test_a_certificate_that_has_expired_is_said_at_the_start(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key, days=-1)
    with serving(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key), key=KEY) as served:
        _, _, err = served.end()
    assert len(err.splitlines()) == 1 and f"the certificate in {cert} expired on " in err


def test_command_client_and_curl_reach_it_through_a_proxy_by_the_authority_that_signed_it(tmp_path):
    authority = tmp_path / "authority.pem", tmp_path / "authority.key"
    make_certificate(*authority, ca=True)
    between = tmp_path / "between.pem", tmp_path / "between.key"
    make_certificate(*between, issuer=authority, ca=True)
    cert, key = tmp_path / "own.pem", tmp_path / "own.key"
    make_certificate(cert, key, "DNS:torch.example", issuer=between)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(cert.read_bytes() + between[0].read_bytes())
    (tmp_path / "set/hat").mkdir(parents=True)
    Image.new("RGB", (60, 60), "red").save(tmp_path / "set/hat/a.png")
    with (
        serving(
            tmp_path / "data", "--hostname", "torch.example", "--tls-cert", str(chain), "--tls-key", str(key), key=KEY
        ) as served,
        forward_proxy(served.port) as (port, heads),
    ):
        url = f"https://torch.example:{served.port}/api/"
        environment = {name: value for name, value in os.environ.items() if name not in CERTIFICATE_VARIABLES} | {
            "APITORCH_BASE_URL": url,
            "APITORCH_API_KEY": KEY,
            "APITORCH_DESKTOP_HOME": str(tmp_path / "home"),
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
        }
        environment |= {"https_proxy": environment["HTTPS_PROXY"], "NO_PROXY": "", "no_proxy": ""}

        def ran(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(words, capture_output=True, text=True, env=environment | more, timeout=PATIENCE)

        ca = str(authority[0])
        came = ran(*COMMAND, "import", str(tmp_path / "set"), "--name", "Hats", SSL_CERT_FILE=ca)
        unknown = ran(*COMMAND, "export", "Hats", str(tmp_path / "out"), SSL_CERT_FILE=str(cert))
        script = "import apitorch.ping, logging; logging.disable(); print(apitorch.ping.ping_api())"
        client = ran(sys.executable, "-W", "ignore", "-c", script, REQUESTS_CA_BUNDLE=ca)
        curl = ran("curl", "-sS", "--cacert", ca, "-u", f"{KEY}:", f"{url}ping") if shutil.which("curl") else None
        status, _, err = served.end()
    assert "1 photo came into “Hats”" in came.stdout, came.stderr
    assert unknown.returncode == 1 and "that the variable SSL_CERT_FILE names" in unknown.stderr
    assert client.stdout.splitlines()[-1:] == ["True"], client.stderr
    assert curl is None or '"message":"ok"' in curl.stdout, curl.stderr
    assert heads and {head.split()[0] for head in heads} == {"CONNECT"}
    assert not any("uthorization" in head for head in heads)
    assert (status, err) == (0, "")


def test_the_file_for_own_programs_is_for_this_person_only_and_goes_with_the_service(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        path = tmp_path / "running.json"
        said = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert said["url"] == served.url
        assert said["pid"] == served.process.pid
        assert served.call("GET", "ping", auth=(said["key"], "")).status_code == 200
        served.end()
        assert not path.exists()


@pytest.mark.parametrize("running", [False, True])
def test_keys_are_made_listed_and_revoked_with_the_service_running_or_not(tmp_path, running):
    if running:
        with serving(tmp_path, key=KEY) as served:
            made = _check_keys(tmp_path)
            assert served.call("GET", "ping", auth=(made, "")).status_code == 200
            assert run("keys", "--data", str(tmp_path), "revoke", "1").returncode == 0
            assert served.call("GET", "ping", auth=(made, "")).status_code == 401
        return
    made = _check_keys(tmp_path)
    with serving(tmp_path, key=KEY) as served:
        served.call("POST", "training-sets", json={"name": "Mine"})
        sets = served.call("GET", "training-sets", auth=(made, "")).json()["data"]
        assert sets == []


@pytest.mark.parametrize("end", [">/dev/full", ">&-", "| true"])
def test_a_key_that_could_not_be_shown_does_not_stay(tmp_path, end):
    made = subprocess.run(
        ["bash", "-c", f'"$0" -m apitorch_desktop keys --data "$1" make Ann {end}', sys.executable, tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "revoked again" in made.stderr
    assert "Ann" not in run("keys", "--data", str(tmp_path), "list").stdout


@pytest.mark.parametrize("words", [("list",), ("revoke", "1")])
def test_a_folder_that_was_mistyped_is_named_and_not_made(words, tmp_path):
    done = run("keys", "--data", str(tmp_path / "servce"), *words)
    assert done.returncode == 1
    assert "There is no data of a service in" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_somebodys_stays_theirs_when_the_service_is_started_with_it(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        served.call("POST", "training-sets", json={"name": "Mine"})
    made = run("keys", "--data", str(tmp_path), "make", "Ann Lee").stdout.strip()
    with serving(tmp_path, key=made) as served:
        assert served.call("GET", "training-sets").json()["data"] == []


def test_only_the_own_programs_key_opens_the_call_for_keys(tmp_path):
    with serving(tmp_path, key=KEY) as served:
        base = served.url.removesuffix("/api/")
        for auth in [(KEY, ""), None, ("x" * 42, "")]:
            answer = requests.post(f"{base}/control/keys", json={"action": "list"}, auth=auth, timeout=60)
            assert answer.status_code != 200
            assert answer.json()["object"] == "error"
        own = json.loads((tmp_path / "running.json").read_text())["key"]
        for body in (b"", b"[]", b"{", b'{"action": "make"}', b"x" * 10_000):
            answer = requests.post(f"{base}/control/keys", data=body, auth=(own, ""), timeout=60)
            assert answer.status_code == 400


def _check_keys(folder: Path) -> str:
    made = run("keys", "--data", str(folder), "make", "Ann Lee")
    assert made.returncode == 0
    key = made.stdout.strip()
    assert len(key) == 42
    listed = run("keys", "--data", str(folder), "list").stdout
    assert "Ann Lee" in listed
    assert key not in listed
    absent = run("keys", "--data", str(folder), "revoke", "99")
    assert absent.returncode == 1
    assert len(absent.stderr.splitlines()) == 1
    return key


def _head(body: bytes) -> bytes:
    coded = base64.b64encode(f"{KEY}:".encode()).decode()
    return (
        f"POST /api/training-sets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {coded}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()


def _accepts(address) -> bool:
    try:
        socket.create_connection((address.hostname, address.port), 1).close()
    except OSError:
        return False
    return True


def test_a_proxy_in_front_says_how_it_was_called_and_nobody_else_does(tmp_path):
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "photos.example:8443"}
    names = ["--hostname", "photos.example"]
    for address, origin in (("127.0.0.0/8", "https://photos.example:8443"), ("10.0.0.1, ::1", None), ("*", "https://")):
        with serving(tmp_path / "data", *names, "--forwarded-allow-ips", address) as served:
            served.new_set("Zebras")
            url = served.call("GET", "training-sets", headers=said).json()["data"][0]["url"]
            assert url.startswith(origin or served.origin)
            unknown = served.call("GET", "ping", headers=said | {"X-Forwarded-Host": "evil.example"})
            assert unknown.status_code == (200 if origin is None else 403)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--forwarded-allow-ips", "nonsense", "is no address of a proxy"),
        ("--scheduler", "nonsense", "is no address of a Dask scheduler"),
        ("--hostname", "a b", "is no name of a machine"),
        ("--hostname", "http://photos.example", "is no name of a machine"),
    ],
)
def test_an_option_that_cannot_be_meant_is_a_usage_error(tmp_path, option, value, said):
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"), option, value)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_of_other_letters_than_those_of_ascii_is_refused_with_the_reason(tmp_path):
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"), key="é" * 42)
    assert done.returncode == 2
    assert "letters, digits and signs of ASCII" in done.stderr
