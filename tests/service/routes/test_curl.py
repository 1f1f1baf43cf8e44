"""Each `curl` line of the documentation, as it stands there: only the host, the key and the placeholders are filled in."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

DOCUMENTATION = Path(__file__).parents[4] / "shared" / "api-torch-docs.txt"

PING = '''curl "https://www.apitorch.com/api/ping" \\
  -u "YOUR_API_KEY:"'''
TRAINING_SETS = """curl -u "YOUR_API_KEY:" \\
  https://www.apitorch.com/api/training-sets"""
UPLOAD_FILE = """curl -u "YOUR_API_KEY:" -F "image=@filename" \\
  https://www.apitorch.com/api/training-set/:id/:label/image"""
UPLOAD_URL = """curl -u "YOUR_API_KEY:" -F "image_url=https://www.nme.com/wp-content/uploads/2017/12/Philip-Seymour-Hoffman-Mimi-ODonnell.jpg" \\
  https://www.apitorch.com/api/training-set/:id/:label/image"""  # noqa: E501
DELETE = """curl -u "YOUR_API_KEY:" -X "DELETE" \\
  https://www.apitorch.com/api/training-image/:image_id"""
IMAGES = """curl -u "YOUR_API_KEY:" \\
  https://www.apitorch.com/api/training-set/:id/images"""
CLASSIFIERS = """curl -u "YOUR_API_KEY:" \\
  https://www.apitorch.com/api/classifiers"""
CLASSIFY = """curl -u "YOUR_API_KEY:" \\
  -d "image_url=YOUR_IMAGE_URL" \\
  -d "classifiers[]=safe-for-work&classifiers[]=design-score" \\
  https://www.apitorch.com/api/classify"""
LINES = [PING, TRAINING_SETS, UPLOAD_FILE, UPLOAD_URL, DELETE, IMAGES, CLASSIFIERS, CLASSIFY]


@pytest.fixture
def curl(service):
    """Run a line of the documentation by a shell; answers the status and the JSON."""

    def run(line, placeholders=None):
        line = line.replace("https://www.apitorch.com", service.origin).replace("YOUR_API_KEY", service.key)
        for placeholder, value in (placeholders or {}).items():
            assert placeholder in line
            line = line.replace(placeholder, value)
        line += " --silent --show-error --write-out '\\n%{http_code}'"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    return run


@pytest.fixture
def photo(photos):
    return next((photos / "test" / "dress").glob("*.jpg"))


def test_these_are_the_documentations_lines():
    if not DOCUMENTATION.is_file():
        pytest.skip("the documentation is not beside this checkout")
    found = re.findall(r"^curl (?:[^\n]*\\\n)*[^\n]*", DOCUMENTATION.read_text(), re.MULTILINE)
    assert [shlex.split(line) for line in found] == [shlex.split(line) for line in LINES]


def test_ping(curl):
    status, body = curl(PING)
    assert status == 200
    assert (body["object"], body["message"]) == ("ping", "ok")


def test_list_training_sets(curl, service):
    set_id = service.new_set("By curl")
    status, body = curl(TRAINING_SETS)
    assert (status, body["object"]) == (200, "list")
    row = next(row for row in body["data"] if row["id"] == set_id.wire)
    assert {"object", "id", "description", "name", "url"} <= set(row)


def test_upload_a_file_list_it_and_delete_it(curl, service, photo):
    set_id = service.new_set("Upload by curl")
    status, body = curl(UPLOAD_FILE, {"/:id/:label/": f"/{set_id}/image_label/", "@filename": f"@{photo}"})
    assert status == 200
    assert (body["object"], body["message"]) == ("training_image", "Image added to training set.")
    status, listing = curl(IMAGES, {":id": str(set_id)})
    assert status == 200
    assert [group["label"] for group in listing["data"]] == ["image_label"]
    image = listing["data"][0]["images"][0]
    assert "ti_" + image["filename"].partition(".")[0] == body["id"]
    status, gone = curl(DELETE, {":image_id": image["filename"].partition(".")[0]})
    assert (status, gone["id"], gone["message"]) == (200, body["id"], "Image deleted.")
    assert curl(DELETE, {":image_id": body["id"]})[0] == 404


def test_upload_by_url(curl, service, photo):
    set_id = service.new_set("URL by curl")
    url = service.upload(set_id, "source", photo.read_bytes()).json()["url"]
    remote = re.search(r'image_url=([^"]+)', UPLOAD_URL)[1]
    status, body = curl(UPLOAD_URL, {remote: url, "/:id/:label/": f"/{set_id}/copy/"})
    assert status == 200, body
    assert body["message"] == "Image added to training set."


def test_list_classifiers(curl):
    status, body = curl(CLASSIFIERS)
    assert (status, body["object"]) == (200, "list")
    assert {"object", "id", "description", "name"} <= set(body["data"][0])


def test_classify(curl, service, photo):
    url = service.upload(service.new_set("Classify by curl"), "a", photo.read_bytes()).json()["url"]
    status, body = curl(CLASSIFY, {"YOUR_IMAGE_URL": url.replace("&", "%26")})
    assert status == 200, body
    assert body["object"] == "list"
    assert [row["classifier"] for row in body["data"]] == ["safe-for-work", "design-score"]
    assert body["data"][0]["sentence"] == "Image is safe for work."
