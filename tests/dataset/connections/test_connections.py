import json
import threading
import time
from dataclasses import replace

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError, KeyringLocked, PasswordDeleteError

from apitorch_desktop.api.errors import BadRequest, ConnectionFailed, NotApiTorch, WrongKey
from apitorch_desktop.api.types import Id
from apitorch_desktop.dataset.app_data import ClientPool
from apitorch_desktop.dataset.connections.api_keys import (
    ApiKeyStore,
    FoundKey,
    KeyLocation,
    KeyringProblem,
    KeyringWait,
)
from apitorch_desktop.dataset.connections.local_client import LocalImages
from apitorch_desktop.dataset.connections.store import (
    EMBEDDED,
    Connection,
    ConnectionStore,
    check,
    clean_key,
    environment_id,
)
from tests.helpers.fake_api import KEY

HOSTED = Connection("c1", "Hosted", "https://www.apitorch.com/api/")


# --- connections


def test_the_embedded_service_is_always_there(tmp_path):
    connections = ConnectionStore(tmp_path, {})
    assert [one.id for one in connections.all()] == [EMBEDDED]
    assert connections.current.embedded
    with pytest.raises(BadRequest):
        connections.remove(EMBEDDED)
    connections.update(replace(connections.get(EMBEDDED), name="My machine"))
    assert ConnectionStore(tmp_path, {}).get(EMBEDDED).name == "My machine"


def test_connections_are_kept_and_the_current_one_is_open_again(tmp_path):
    connections = ConnectionStore(tmp_path, {})
    added = connections.add("  Torch ", "www.apitorch.com")
    other = connections.add("", "http://10.0.0.7:8765")
    assert (added.name, added.base_url) == ("Torch", "https://www.apitorch.com/api/")
    assert other.name == "10.0.0.7:8765"
    assert added.color != other.color
    connections.choose(other.id)
    again = ConnectionStore(tmp_path, {})
    assert again.current == other
    assert [one.name for one in again.all()] == ["This computer", "10.0.0.7:8765", "Torch"]
    again.update(replace(other, scratch_training_set=Id(42), base_url="10.0.0.8"))
    assert ConnectionStore(tmp_path, {}).current.scratch_training_set == Id(42)
    assert ConnectionStore(tmp_path, {}).current.base_url == "http://10.0.0.8/api/"
    again.remove(other.id)
    assert ConnectionStore(tmp_path, {}).current.embedded
    with pytest.raises(KeyError):
        again.get(other.id)


def test_no_key_is_in_the_settings_file(tmp_path):
    connections = ConnectionStore(tmp_path, {"APITORCH_BASE_URL": "torch.example", "APITORCH_API_KEY": KEY})
    connections.add("Torch", "www.apitorch.com")
    connections.choose(connections.current.id)
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir())
    with pytest.raises(BadRequest):
        connections.add("Torch", f"https://{KEY}@www.apitorch.com")


def test_the_environment_wins_and_says_so(tmp_path):
    saved = ConnectionStore(tmp_path, {})
    saved.choose(saved.add("Torch", "www.apitorch.com").id)
    connections = ConnectionStore(
        tmp_path, {"APITORCH_BASE_URL": " http://torch.example/api ", "APITORCH_API_KEY": KEY}
    )
    named = connections.current
    assert named.from_environment
    assert named.base_url == "http://torch.example/api/"
    other = ConnectionStore(tmp_path, {"APITORCH_BASE_URL": "http://other.example/api"}).current
    assert other.from_environment  # what waits for one address is not sent to another
    assert other.id != named.id
    assert connections.note == (
        "APITORCH_BASE_URL and APITORCH_API_KEY decide which service is open: they override the settings here."
    )
    connections.choose(EMBEDDED)
    assert connections.current.embedded
    connections.choose(named.id)
    assert connections.current.from_environment
    with pytest.raises(BadRequest):
        connections.remove(named.id)
    assert ConnectionStore(tmp_path, {}).current.embedded  # the last choice that can be kept


def test_a_wrong_address_in_the_environment_is_named(tmp_path):
    connections = ConnectionStore(tmp_path, {"APITORCH_BASE_URL": "ftp://host"})
    assert connections.current.embedded
    assert connections.note == "APITORCH_BASE_URL is left aside. “ftp://host” is no web address."


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"connections": 7}', '{"connections": [{"id": 1}]}', "\x00", '{"connections": [7]}']
)
def test_a_damaged_settings_file_is_kept_aside_and_named(text, tmp_path):
    path = tmp_path / "connections.json"
    path.write_text(text)
    connections = ConnectionStore(tmp_path, {})
    assert "connections.json.damaged" in connections.note
    assert (tmp_path / "connections.json.damaged").read_text() == text
    connections.add("Torch", "www.apitorch.com")
    assert len(ConnectionStore(tmp_path, {}).all()) == 2


def test_the_settings_are_whole_at_any_moment(tmp_path):
    connections = ConnectionStore(tmp_path, {})
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            connections.remove(connections.add("x" * 1000, "www.apitorch.com").id)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if (tmp_path / "connections.json").exists():
            json.loads((tmp_path / "connections.json").read_text())
    stop.set()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["connections.json"]


# --- keys


@pytest.mark.parametrize(
    "given",
    [
        KEY,
        f"  {KEY}\n",
        f'"{KEY}"',
        f"'{KEY}'",
        f"“{KEY}”",
        f"Bearer {KEY}",
        f"bearer: {KEY}",
        f"Authorization: Basic {KEY}",
        f"{KEY}:",
        f'-u "{KEY}:"',
        f"APITORCH_API_KEY={KEY}",
        f"export APITORCH_API_KEY='{KEY}'",
        f"API key: {KEY}",
        f"{KEY[:20]}\r\n  {KEY[20:]}",
        f"\ufeff{KEY}\u200b",
    ],
)
def test_a_key_is_taken_as_it_was_meant(given):
    assert clean_key(given) == KEY


@pytest.mark.parametrize("key", ["ab=cd", "bearerabc", "-underscore", "basic", "a:b"])
def test_what_belongs_to_a_key_is_left_in_it(key):
    assert clean_key(key) == key


class Ring(KeyringBackend):
    """A keyring in memory that can be in any trouble."""

    priority = 9

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.trouble: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def _meet(self) -> None:
        self.calls += 1
        self.gate.wait(60)
        if self.trouble:
            raise self.trouble

    def get_password(self, service, username):
        self._meet()
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        self._meet()
        self.held[service, username] = password

    def delete_password(self, service, username):
        self._meet()
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


@pytest.fixture
def ring():
    before = keyring.get_keyring()
    made = Ring()
    keyring.set_keyring(made)
    yield made
    made.gate.set()
    keyring.set_keyring(before)


def test_a_key_is_stored_found_changed_and_removed(ring):
    assert ApiKeyStore({}).find(HOSTED) == FoundKey("", KeyLocation.NOWHERE)
    assert ApiKeyStore({}).store(HOSTED, f" Bearer {KEY}\n") == FoundKey(KEY, KeyLocation.KEYRING)
    assert ApiKeyStore({}).find(HOSTED) == FoundKey(KEY, KeyLocation.KEYRING)
    keys = ApiKeyStore({})
    keys.store(HOSTED, "another")
    assert keys.find(HOSTED).key == "another"
    assert keys.remove(HOSTED) == FoundKey("", KeyLocation.NOWHERE)
    assert ring.held == {}
    assert keys.find(HOSTED).key == ApiKeyStore({}).find(HOSTED).key == ""
    assert keys.remove(HOSTED).message == ""


def test_a_key_is_asked_for_once_a_run(ring):
    keys = ApiKeyStore({})
    keys.store(HOSTED, KEY)
    before = ring.calls
    assert [keys.find(HOSTED).key for _ in range(5)] == [KEY] * 5
    assert ring.calls == before


def test_a_key_never_goes_to_an_address_it_was_not_given_for(ring):
    keys = ApiKeyStore({})
    keys.store(HOSTED, KEY)
    assert keys.find(replace(HOSTED, base_url="https://elsewhere.example/api/")).key == ""


def test_the_environments_key_is_for_the_environments_connection(ring):
    keys = ApiKeyStore({"APITORCH_API_KEY": f'"{KEY}"'})
    assert keys.find(
        Connection(environment_id("http://torch.example/api/"), "x", "http://torch.example/api/")
    ) == FoundKey(KEY, KeyLocation.ENVIRONMENT)
    assert keys.find(HOSTED).key == ""


@pytest.mark.parametrize(
    ("fault", "trouble", "words"),
    [
        (KeyringLocked("Failed to unlock the collection!"), KeyringProblem.LOCKED, "locked. Unlock it"),
        (KeyringError("Prompt dismissed.."), KeyringProblem.DENIED, "refused access"),
        (KeyringError("User canceled the operation"), KeyringProblem.DENIED, "refused access"),
        (PermissionError("Permission denied"), KeyringProblem.DENIED, "refused access"),
        (RuntimeError("No recommended backend was available."), KeyringProblem.MISSING, "no keyring"),
        (KeyringError("Something odd"), KeyringProblem.FAILED, "The keyring failed"),
        (OSError("D-Bus went away"), KeyringProblem.FAILED, "The keyring failed"),
    ],
)
def test_each_trouble_with_the_keyring_has_its_own_sentence(fault, trouble, words, ring):
    ring.trouble = fault
    keys = ApiKeyStore({})
    found = keys.find(HOSTED)
    assert (found.key, found.problem) == ("", trouble)
    assert words in found.message
    stored = keys.store(HOSTED, KEY)
    assert (stored.key, stored.location, stored.problem) == (KEY, KeyLocation.THIS_RUN, trouble)
    assert stored.message.endswith("The key is kept until the program ends.")
    assert keys.find(HOSTED) == stored  # as long as it is so, for whoever asks
    assert keys.remove(HOSTED).key == ""
    assert ApiKeyStore({}).find(HOSTED).key == ""


def test_no_keyring_at_all_is_told_and_the_key_kept_for_this_run():
    """As the tests run: `keyring.backends.fail`."""
    keys = ApiKeyStore({})
    stored = keys.store(HOSTED, KEY)
    assert stored.message == "This machine has no keyring. The key is kept until the program ends."
    assert keys.find(HOSTED).location is KeyLocation.THIS_RUN


def test_a_keyring_that_forgets_at_once_is_found_out(ring):
    ring.set_password = lambda *_: None
    assert ApiKeyStore({}).store(HOSTED, KEY).problem is KeyringProblem.MISSING


def test_a_keyring_that_does_not_answer_holds_nobody_up(ring):
    ring.held["API Torch Desktop", f"{HOSTED.id} {HOSTED.base_url}"] = KEY
    ring.gate.clear()
    keys = ApiKeyStore({}, patience=0.2)
    found = keys.find(HOSTED)
    assert (found.key, found.problem) == ("", KeyringProblem.SLOW)
    assert "does not answer" in found.message
    for _ in range(5):
        keys.find(HOSTED)
    assert ring.calls == 1  # they wait for the first, and do not pile up
    ring.gate.set()
    assert ApiKeyStore({}).find(HOSTED).key == KEY
    assert keys.find(HOSTED).key == KEY


def test_a_wait_lasts_until_the_keyring_answers_or_it_is_stopped(ring, monkeypatch, tmp_path):
    monkeypatch.setattr("apitorch_desktop.dataset.connections.api_keys.NOTICE", 0.2)
    stop, reports = threading.Event(), []
    wait = KeyringWait(stop.is_set, lambda: (reports.append(1), ring.gate.set()))
    ring.gate.clear()
    keys = ApiKeyStore({}, patience=0.05)
    assert keys.store(HOSTED, KEY, wait) == FoundKey(KEY, KeyLocation.KEYRING)
    assert reports == [1]
    connections = ConnectionStore(tmp_path, {})
    hosted = connections.add("Hosted", HOSTED.base_url)
    clients = ClientPool(connections, keys, LocalImages(tmp_path))
    ring.gate.clear()
    with pytest.raises(ConnectionFailed, match="keyring does not answer") as failed:  # what waits, tries again
        clients.get(hosted.id)
    assert failed.value.can_retry
    stop.set()
    with pytest.raises(WrongKey, match="keyring does not answer"):
        clients.get(hosted.id, wait=wait)


def test_a_key_is_shown_nowhere(ring):
    keys = ApiKeyStore({})
    assert KEY not in repr(keys.store(HOSTED, KEY)) + repr(keys.find(HOSTED)) + repr(keys)


# --- the check of an address and a key


def test_a_key_is_checked_against_the_service(documented):
    assert check(documented.url, f" {KEY}:\n").message == "ok"
    with pytest.raises(WrongKey, match="not valid") as refused:
        check(documented.url, "y" * 42)
    assert refused.value.advice == "Check the API key of this connection."
    with pytest.raises(WrongKey) as refused:
        check(documented.url, KEY[:-2])
    assert refused.value.advice == "An API Torch key has 42 characters; this one has 40. Copy it again."
    with pytest.raises(WrongKey, match="There is no API key"):
        check(documented.url, " '' ")


def test_what_is_wrong_with_an_address_is_told(documented):
    for fault, words in (("portal", "web page"), ("page", "not as API Torch does"), ("json", "is not API Torch")):
        documented.wrong(fault)
        with pytest.raises(NotApiTorch, match=words):
            check(documented.url, KEY)
    documented.vanish()
    with pytest.raises(ConnectionFailed, match="Nothing answers"):
        check(documented.url, KEY)
