"""The OpenAPI description is valid, complete and true."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
import pytest
import requests

from tests.helpers.service_process import run
from tests.helpers.waiting import until
from tests.service.http.test_url_fetcher import answering

DOCUMENTED = {
    "GET /api/ping", "GET /api/training-sets", "POST /api/training-set/{id}/{label}/image",
    "DELETE /api/training-image/{image_id}", "GET /api/training-set/{id}/images", "GET /api/classifiers",
    "POST /api/classify", "POST /api/feedback/classification", "POST /api/feedback/freeform",
}  # fmt: skip
EXTENSIONS = {
    "POST /api/training-sets", "PATCH /api/training-set/{id}", "DELETE /api/training-set/{id}",
    "POST /api/training-set/{id}/labels", "PATCH /api/training-set/{id}/labels/{label}",
    "DELETE /api/training-set/{id}/labels/{label}", "PATCH /api/training-image/{image_id}",
    "POST /api/training-set/{id}/images/restore", "DELETE /api/deleted-images",
    "POST /api/training-set/{id}/images/move", "POST /api/training-set/{id}/images/delete",
    "GET /api/training-set/{id}/changes", "GET /api/training-image/{image_id}",
    "GET /api/training-set/{id}/labels", "GET /api/classifier/{slug}", "GET /api/feedback",
    "GET /api/classifier/{slug}/versions", "POST /api/classifier/{slug}/current", "GET /api/classifier/{slug}/changes",
    "GET /api/classifier/{slug}/onnx",
    "GET /api/training-image/{image_id}/similar", "GET /api/classification/{classification_id}/similar", "POST /api/similar",
    "POST /api/training-set/{id}/images/embeddings",
    "GET /api/health", "GET /api/health/live", "GET /api/metrics",
    "GET /api/training-image/{image_id}/evidence", "GET /api/classification/{classification_id}/evidence",
}  # fmt: skip


@pytest.fixture(scope="module")
def description(service):
    return requests.get(service.url + "openapi.json", timeout=60).json()


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
            others = {"application/json", "application/x-www-form-urlencoded"}
            assert kinds == {"multipart/form-data"} | (
                set() if operation["operationId"] == "uploadImages" else others
            )  # several files have no other form


def test_the_page_for_people_names_every_call_and_works_offline(service, description):
    page = requests.get(service.url + "docs", timeout=60)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in description["paths"]:
        assert path in page.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    assert "<script" not in page.text


def made_for_fuzzing(service, photos, elsewhere):
    """What `fuzzing.py` calls THERE: training sets to be changed, one that has learned twice, and links of another owner."""

    def upload(set_id, label, count, key=None):
        paths = sorted((photos / "train" / label).glob("*.jpg"))[:count]
        return [service.upload(set_id, label, path.read_bytes(), key=key).json() for path in paths]

    def learned(version):
        answer = service.call("GET", "classifier/kept").json()
        return answer["status"] == "ready" and answer["version"] == version

    sets = [service.new_set(f"Fuzzed {number}") for number in range(3)]
    images = {each: [*upload(each, "dress", 6), *upload(each, "hat", 6)] for each in sets}
    kept = service.new_set("Kept")
    held = [*upload(kept, "dress", 2), *upload(kept, "hat", 2)]
    until(lambda: learned(1))
    upload(kept, "hat", 3)
    until(lambda: learned(2))
    corrected = [
        service.call("POST", "classify", json={"classifiers": ["kept"], "image_url": image["url"]}).json()["data"][0][
            "id"
        ]
        for image in images[sets[0]][2:6]  # not those of “Kept”, which a correction would move
    ]
    labelled, *doomed = [service.new_set(f"Doomed {number}") for number in range(4)]
    for label in range(4):
        service.call("POST", f"training-set/{labelled}/labels", json={"label": f"l{label}"})
    theirs = run("keys", "--data", str(service.folder), "make", "Ann").stdout.strip()
    other = service.new_set("Theirs", theirs)
    links = [image[name] for image in upload(other, "hat", 3, theirs) for name in ("url", "thumbnail_url")]
    links.append(service.call("GET", "training-sets", theirs).json()["data"][0]["url"])

    def opened(link, *names):
        parts = urlsplit(link)
        return {
            "path": dict(zip(names, parts.path.split("/")[-2:], strict=True)),
            "query": dict(parse_qsl(parts.query)),
        }

    def each_image(**body):
        return [
            {"path": {"id": each}, "body": {"image_ids": [image["id"]], **body}}
            for each in sets
            for image in images[each]
        ]

    return {
        "key": service.key,
        "kept": [kept, labelled],
        "doomed": doomed,
        "named": {
            "id": sets,
            "label": ["dress", "hat"],
            "image_id": [image["id"] for each in sets for image in images[each]],
            "classification_id": corrected,
            "slug": ["safe-for-work", "design-score", "kept", "fuzzed-0", "fuzzed-1"],
            "image_url": [elsewhere, images[sets[0]][0]["url"]],
        },
        "calls": {
            "getImage": [opened(link, "owner", "filename") for link in links if "/images/" in link],
            "getThumbnail": [opened(link, "owner", "filename") for link in links if "/thumbnails/" in link],
            "showTrainingSet": [opened(link, "id", "set_slug") for link in links if "/training-sets/" in link],
            "deleteTrainingSet": [{"path": {"id": each}} for each in doomed],
            "deleteLabel": [{"path": {"id": labelled, "label": f"l{label}"}} for label in range(4)],
            "deleteImage": [{"path": {"image_id": image["id"]}} for image in images[sets[0]]],
            "listChanges": [{"path": {"slug": "kept"}, "query": {"from": 1, "to": 2}}],
            "setCurrentVersion": [{"path": {"slug": "kept"}, "body": {"version": version}} for version in (1, 2)],
            "tryEncoder": [{"path": {"id": kept}, "query": {"encoder": ""}}],
            "showEvidenceInImage": [{"path": {"image_id": image["id"]}, "query": {"label": "dress"}} for image in held],
            "showEvidenceInClassified": [
                {"path": {"classification_id": each}, "query": {"label": "dress"}} for each in corrected
            ],
            "exportClassifier": [{"path": {"slug": "kept"}}],
            "moveImages": each_image(label="b"),
            "archiveImages": each_image(),
            "listEmbeddings": each_image(),
            "restoreImages": each_image(),
            "setSplit": each_image(split="test"),
            "deleteImages": each_image(),
            "correctClassification": [{"query": {"classification_id": each}} for each in corrected],
        },
    }


def test_schemathesis_finds_the_description_true(start, photos, tmp_path):
    photo = next((photos / "test" / "hat").glob("*.jpg")).read_bytes()
    service = start("--allow-private-urls")
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo
    seen = tmp_path / "seen"
    with answering(reply) as (port, _):
        described = requests.get(service.url + "openapi.json", timeout=60).json()
        for path in ("/api/classify", "/api/similar", "/api/training-set/{id}/{label}/image"):
            multipart = described["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
            # More than schemathesis can check of a body that is not text; `fuzzing.py` holds to it instead
            del multipart["oneOf"]
            multipart["properties"]["image"]["format"] = "image-file"
        (tmp_path / "openapi.json").write_text(json.dumps(described))
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"), "run", "openapi.json", "--url", service.origin,
                "--checks", "all", "--max-examples", os.environ.get("FUZZ_EXAMPLES", "8"),
                "--seed", os.environ.get("FUZZ_SEED", "1"), "--workers", "2", "--no-color", "--request-timeout", "30",
                "--suppress-health-check", "all", "--generation-database", "none",
            ],
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "tests.helpers.fuzzing",
                "FUZZ_THERE": json.dumps(made_for_fuzzing(service, photos, f"http://127.0.0.1:{port}/a.jpg")),
                "FUZZ_SEEN": str(seen),
                "PYTHONPATH": str(Path(__file__).parents[3]),
                "PYTHONHASHSEED": "0",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-60_000:] + done.stderr + service.log
    assert "Traceback" not in service.log
    answers = Counter(tuple(line.split()) for line in seen.read_text().splitlines())
    print(*(f"{name} {status}: {count}" for (name, status), count in sorted(answers.items())), sep="\n")
    described_calls = {operation["operationId"] for operation in calls_of(described).values()}
    assert {name for name, status in answers if status == "200"} == described_calls
