"""The OpenAPI description is valid, complete and true."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import requests

from tests.service.test_remote import answering

DOCUMENTED = {
    "GET /api/ping", "GET /api/training-sets", "POST /api/training-set/{id}/{label}/image",
    "DELETE /api/training-image/{image_id}", "GET /api/training-set/{id}/images", "GET /api/classifiers",
    "POST /api/classify", "POST /api/feedback/classification", "POST /api/feedback/freeform",
}  # fmt: skip
EXTENSIONS = {
    "POST /api/training-sets", "PATCH /api/training-set/{id}", "DELETE /api/training-set/{id}",
    "POST /api/training-set/{id}/labels", "PATCH /api/training-set/{id}/labels/{label}",
    "DELETE /api/training-set/{id}/labels/{label}", "PATCH /api/training-image/{image_id}",
    "POST /api/training-set/{id}/images/move", "POST /api/training-set/{id}/images/delete",
    "GET /api/training-set/{id}/labels", "GET /api/classifier/{slug}", "GET /api/feedback",
    "GET /api/classifier/{slug}/versions", "POST /api/classifier/{slug}/current", "GET /api/classifier/{slug}/changes",
    "GET /api/classifier/{slug}/onnx",
}  # fmt: skip


@pytest.fixture(scope="module")
def description(service):
    return requests.get(service.url + "openapi.json", timeout=10).json()


def calls_of(description):
    return {
        f"{method.upper()} {path}": operation
        for path, item in description["paths"].items()
        for method, operation in item.items()
    }


def test_every_call_is_described(description):
    calls = calls_of(description)
    assert set(calls) >= DOCUMENTED | EXTENSIONS
    assert {call for call, operation in calls.items() if "x-extension" not in operation} >= DOCUMENTED
    assert all(calls[call].get("x-extension") for call in EXTENSIONS)


def test_references_lead_somewhere_and_schemas_are_valid(description):
    for reference in set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(description))):
        found = description
        for part in reference.split("/"):
            found = found[part]
    for schema in description["components"]["schemas"].values():
        assert jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    names = [operation["operationId"] for operation in calls_of(description).values()]
    assert len(names) == len(set(names))
    for call, operation in calls_of(description).items():
        inside = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
        assert inside == set(re.findall(r"{(\w+)}", call))


def test_a_json_body_a_form_and_multipart_are_described_for_every_body(description):
    for operation in calls_of(description).values():
        if "requestBody" in operation:
            kinds = set(operation["requestBody"]["content"])
            assert kinds == {"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}


def test_the_page_for_people_names_every_call_and_works_offline(service, description):
    page = requests.get(service.url + "docs", timeout=10)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in description["paths"]:
        assert path in page.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    assert "<script" not in page.text


def test_schemathesis_finds_the_description_true(start, photos, tmp_path):
    photo = next((photos / "test" / "hat").glob("*.jpg")).read_bytes()
    service = start("--allow-private-urls")
    sets = [service.new_set(f"Fuzzed {number}") for number in range(3)]
    images = [
        service.upload(set_id, label, path.read_bytes()).json()
        for set_id in sets
        for label in ("dress", "hat")
        for path in sorted((photos / "train" / label).glob("*.jpg"))[:2]
    ]
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo
    with answering(reply) as (port, _):
        there = {
            "id": sets,
            "label": ["dress", "hat"],
            "image_id": [image["id"] for image in images],
            "slug": ["safe-for-work", "design-score", "fuzzed-0", "fuzzed-1"],
            "image_url": [f"http://127.0.0.1:{port}/a.jpg", images[0]["url"]],
        }
        described = requests.get(service.url + "openapi.json", timeout=10).json()
        for path in ("/api/classify", "/api/training-set/{id}/{label}/image"):
            multipart = described["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
            # More than schemathesis can check of a body that is not text; `fuzzing.py` holds to it instead
            del multipart["oneOf"]
            multipart["properties"]["image"]["format"] = "image-file"
        (tmp_path / "openapi.json").write_text(json.dumps(described))
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"), "run", "openapi.json", "--url", service.origin,
                "--auth", f"{service.key}:", "--checks", "all", "--max-examples", os.environ.get("FUZZ_EXAMPLES", "8"),
                "--seed", os.environ.get("FUZZ_SEED", "1"), "--workers", "2", "--no-color", "--request-timeout", "30",
                "--suppress-health-check", "all", "--generation-database", "none",
                # What may stand in the query or in the body is described in the query alone
                "--exclude-operation-id", "sendMessage",
            ],
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "tests.service.fuzzing",
                "FUZZ_THERE": json.dumps(there),
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "PYTHONHASHSEED": "0",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-60_000:] + done.stderr + service.log
    assert "Traceback" not in service.log
