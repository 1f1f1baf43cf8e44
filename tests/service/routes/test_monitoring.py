"""Health for load balancers and metrics for Prometheus, over HTTP."""

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.access import is_local_call
from tests.helpers.service_process import run
from tests.helpers.stores import postgres
from tests.helpers.waiting import until


def samples(answer: requests.Response) -> dict[tuple[str, ...], float]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_health_is_for_anybody(service):
    for path, ready in (("health", True), ("health/live", None)):
        answer = requests.get(service.url + path, timeout=60)
        assert answer.status_code == 200
        assert (answer.json()["live"], answer.json().get("ready")) == (True, ready)


def test_metrics_count_requests_by_operation_and_name_nobody(service, picture):
    number = service.new_set("A secret name")
    before = samples(requests.get(service.url + "metrics", timeout=60))
    assert service.upload(number, "secret_label", picture(1), "secret.jpg").status_code == 200
    assert service.call("GET", "nothing/secret").status_code == 404
    answer = requests.get(service.url + "metrics", timeout=60)
    after = samples(answer)
    for name in (("uploadImage", "200"), ("other", "404")):
        key = ("apitorch_requests_total", *name)
        assert after[key] == before.get(key, 0) + 1
    assert after["apitorch_request_seconds_count", "uploadImage"] >= 1
    assert after["apitorch_database_up",] == 1
    assert after["process_resident_memory_bytes",] > 0
    assert "secret" not in answer.text
    assert str(number) not in {part for key in after for part in key[1:]}
    assert service.key not in answer.text


def test_metrics_are_for_this_machine_and_the_key_of_the_service(service):
    forwarded = {"X-Forwarded-For": "203.0.113.5"}
    url = service.url + "metrics"
    assert requests.get(url, headers=forwarded, timeout=60).status_code == 401
    assert requests.get(url, headers=forwarded, auth=("wrong", ""), timeout=60).status_code == 401
    assert requests.get(url, headers=forwarded, auth=(service.key, ""), timeout=60).status_code == 200
    theirs = run("keys", "--data", str(service.folder), "make", "Metrics reader").stdout.strip()
    assert requests.get(url, headers=forwarded, auth=(theirs, ""), timeout=60).status_code == 403


@pytest.mark.parametrize(
    ("client", "headers", "behind_proxy", "local"),
    [
        ("127.0.0.1", {}, False, True),
        ("::1", {"host": "localhost"}, False, True),
        ("127.0.0.1", {}, True, False),  # the proxy itself
        ("127.0.0.1", {"via": "1.1 proxy"}, False, False),
        ("127.0.0.1", {"forwarded": "for=203.0.113.5"}, False, False),
        ("203.0.113.5", {}, False, False),
        ("", {}, False, False),
    ],
)
def test_who_calls_from_this_machine_for_itself(client, headers, behind_proxy, local):
    assert is_local_call(client, headers, Config(behind_proxy=behind_proxy)) == local


def test_a_service_without_its_database_is_alive_and_not_ready(start):
    with postgres() as url:
        service = start(APITORCH_DATABASE_URL=url)
        assert requests.get(service.url + "health", timeout=60).status_code == 200
    until(lambda: requests.get(service.url + "health", timeout=60).status_code == 503)
    answer = requests.get(service.url + "health", timeout=60)
    assert answer.headers["retry-after"] == "5"
    assert requests.get(service.url + "health/live", timeout=60).status_code == 200
    assert samples(requests.get(service.url + "metrics", timeout=60))["apitorch_database_up",] == 0
