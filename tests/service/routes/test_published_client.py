"""The published Python client, unchanged, in both versions: every function, with real photos, against `serve`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

OLD = Path(sys.prefix) / "apitorch-0.0.12"

_RUN = """
import json, logging, sys
from importlib import import_module
module, name = sys.argv[1].split(":")
arguments, keywords = json.loads(sys.argv[2])
import apitorch
logging.disable()
assert sys.argv[3] in apitorch.__file__, apitorch.__file__
try:
    answer = getattr(import_module(module), name)(*arguments, **keywords)
except Exception as error:
    answer = {"raised": type(error).__module__ + "." + type(error).__name__, "message": str(error)}
print(json.dumps(answer))
"""


@pytest.fixture
def published(service, tmp_path):
    """`published(version)` calls functions of that version, each in a process of its own.

    `call("module:name", *arguments, **keywords)` answers what it answers, or the exception it `raised`.
    """

    def of_version(version):
        old = version == "0.0.12"
        if old and not OLD.is_dir():
            if os.environ.get("CI"):
                pytest.fail(f"apitorch 0.0.12 is not at {OLD}: run the README's test command")
            pytest.skip(f"apitorch 0.0.12 is not at {OLD}; the README's test command puts it there")

        def call(function, *arguments, key=None, url=None, **keywords):
            environment = {
                **os.environ,
                "APITORCH_BASE_URL": url or service.url,
                "APITORCH_API_KEY": service.key if key is None else key,
            }
            if old:
                environment["PYTHONPATH"] = str(OLD)
            place = "apitorch-0.0.12" if old else "site-packages/apitorch"
            given = [f"apitorch.{function}", json.dumps([arguments, keywords]), place]
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _RUN, *given],
                capture_output=True,
                text=True,
                env=environment,
                timeout=120,
                cwd=tmp_path,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        return call

    return of_version


@pytest.fixture(params=["0.0.19", "0.0.12"])
def client(request, published):
    """What both versions have."""
    return published(request.param)


@pytest.fixture
def newer(published):
    """What only 0.0.19 has."""
    return published("0.0.19")


@pytest.fixture(scope="module")
def clothes(service, photos):
    """A training set of three photos each of two labels."""
    set_id = service.new_set("Published Client")
    for label in ("dress", "shoes"):
        for path in sorted((photos / "train" / label).glob("*.jpg"))[:3]:
            assert service.upload(set_id, label, path.read_bytes(), path.name).status_code == 200
    return set_id


def images_of(service, set_id):
    listing = service.call("GET", f"training-set/{set_id}/images").json()
    return {group["label"]: group["images"] for group in listing["data"]}


def test_ping(client):
    assert client("ping:ping_api") is True


WRONG_KEY = "w" * 42
INVALID = "apitorch.errors.InvalidApiKey"


def test_a_wrong_key_is_its_invalid_api_key(client):
    assert client("ping:ping_api", key=WRONG_KEY)["raised"] == INVALID
    assert client("training_set:get_images_by_label", 1, key=WRONG_KEY)["raised"] == INVALID
    url = "https://example.com/a.jpg"
    got = client("classifier:classify_image", classifiers=["safe-for-work"], image_url=url, key=WRONG_KEY)
    assert got["raised"] == INVALID


def test_a_wrong_key_is_its_invalid_api_key_where_it_writes_too(newer, photos):
    path = str(next((photos / "test" / "dress").glob("*.jpg")))
    assert newer("training_set:list_training_sets", key=WRONG_KEY)["raised"] == INVALID
    assert newer("training_set:upload_image", 1, "a", image=path, key=WRONG_KEY)["raised"] == INVALID
    assert newer("training_image:delete_image", "1" * 40, key=WRONG_KEY)["raised"] == INVALID
    assert newer("classifier:list_classifiers", key=WRONG_KEY)["raised"] == INVALID


def test_a_key_of_another_length_never_leaves_it(client):
    assert client("ping:ping_api", key="short")["raised"] == "apitorch.errors.ApiKeyError"


def test_images_by_label(client, service, clothes):
    answer = client("training_set:get_images_by_label", clothes)
    assert answer["training_set_slug"] == "published-client"
    assert {group["label"]: len(group["images"]) for group in answer["data"]} == {"dress": 3, "shoes": 3}
    assert answer["data"][0]["object"] == "training_label"


@pytest.mark.parametrize(
    ("version", "function"),
    [("0.0.19", "download_images"), ("0.0.19", "download_images_sync"), ("0.0.12", "download_images")],
)
def test_downloads_are_the_very_files(published, clothes, photos, tmp_path, version, function):
    assert published(version)(f"training_set:{function}", clothes, str(tmp_path)) is None
    for label in ("dress", "shoes"):
        sent = {path.read_bytes() for path in sorted((photos / "train" / label).glob("*.jpg"))[:3]}
        got = {path.read_bytes() for path in (tmp_path / "published-client" / label).iterdir()}
        assert got == sent


def test_classify_by_the_services_own_signed_url(client, service, clothes):
    url = images_of(service, clothes)["dress"][0]["url"]
    slugs = ["safe-for-work", "extract-text", "design-score"]
    answer = client("classifier:classify_image", classifiers=slugs, image_url=url)
    assert answer["object"] == "list"
    assert answer["id"].startswith("api_")
    assert [row["classifier"] for row in answer["data"]] == slugs
    for row in answer["data"]:
        assert row["object"] == "classification"
        assert row["id"].startswith("cls_")
        assert row["label"]
        assert row["sentence"].endswith(".")
    assert answer["data"][0]["label"] == "safe for work"
    assert answer["data"][0]["confidence"] in {"very high", "high", "possible"}
    assert isinstance(answer["data"][1]["value"], bool)
    one = client("classifier:classify_image", classifiers="safe-for-work", image_url=url)
    assert len(one["data"]) == 1


def test_what_classify_cannot_use_is_its_bad_request(client, service, clothes):
    url = images_of(service, clothes)["dress"][0]["url"]
    bad = "apitorch.errors.BadRequestError"
    for image_url in (url[:-1] + "x", "http://127.0.0.1:1/a.jpg", "file:///etc/passwd", "nonsense", ""):
        got = client("classifier:classify_image", classifiers=["safe-for-work"], image_url=image_url)
        assert got["raised"] == bad
    unknown = client("classifier:classify_image", classifiers=["no-such-classifier"], image_url=url)
    assert unknown["raised"] == "apitorch.errors.NotFoundError"
    eleven = client("classifier:classify_image", classifiers=["safe-for-work"] * 11, image_url=url)
    assert eleven["raised"] == "apitorch.errors.ArgumentError"


MISSING = "apitorch.errors.NotFoundError"


@pytest.mark.parametrize("set_id", [999_999, -1, "words"])
def test_missing_training_sets_are_its_not_found(client, set_id):
    assert client("training_set:get_images_by_label", set_id)["raised"] == MISSING


def test_missing_things_are_its_not_found_where_it_writes_too(newer, photos):
    path = str(next((photos / "test" / "dress").glob("*.jpg")))
    assert newer("training_set:upload_image", 999_999, "a", image=path)["raised"] == MISSING
    assert newer("training_image:delete_image", "0" * 40)["raised"] == MISSING


def test_a_base_url_that_is_not_the_services_is_its_not_found(client, service):
    assert client("ping:ping_api", url=service.origin + "/elsewhere/")["raised"] == "apitorch.errors.NotFoundError"


def test_list_training_sets_and_classifiers(newer, clothes):
    sets = newer("training_set:list_training_sets")
    row = next(row for row in sets["data"] if str(row["id"]) == clothes)
    assert (sets["object"], row["object"], row["name"]) == ("list", "training_set", "Published Client")
    classifiers = newer("classifier:list_classifiers")
    assert {"safe-for-work", "extract-text", "design-score"} <= {row["slug"] for row in classifiers["data"]}
    assert all(row["object"] == "classifier" for row in classifiers["data"])


def test_upload_a_file_and_delete_it(newer, service, photos):
    set_id = service.new_set("Upload and delete")
    path = next((photos / "test" / "dress").glob("*.jpg"))
    answer = newer("training_set:upload_image", set_id, "image_label", image=str(path))
    assert (answer["object"], answer["message"]) == ("training_image", "Image added to training set.")
    assert newer("training_set:upload_image", set_id, "image_label", image=str(path))["id"] == answer["id"]
    listed = images_of(service, set_id)["image_label"]
    assert requests.get(listed[0]["url"], timeout=60).content == path.read_bytes()
    gone = newer("training_image:delete_image", answer["id"].removeprefix("ti_"))
    assert (gone["id"], gone["message"]) == (answer["id"], "Image deleted.")
    assert newer("training_image:delete_image", answer["id"])["raised"] == "apitorch.errors.NotFoundError"


def test_upload_by_the_services_own_signed_url(newer, service, clothes):
    set_id = service.new_set("Upload by URL")
    source = images_of(service, clothes)["shoes"][0]
    answer = newer("training_set:upload_image", set_id, "shoes", image_url=source["url"])
    assert answer["object"] == "training_image"
    assert images_of(service, set_id)["shoes"][0]["sha256"] == source["sha256"]


def test_bad_files_are_its_bad_request(newer, service, tmp_path):
    set_id = service.new_set("Bad files")
    text, empty, large = (tmp_path / name for name in ("text.jpg", "empty.jpg", "large.jpg"))
    text.write_text("this is no image")
    empty.write_bytes(b"")
    large.write_bytes(b"\xff\xd8" + b"\0" * (33 * 2**20))
    for path in (text, empty, tmp_path / "missing.jpg"):
        got = newer("training_set:upload_image", set_id, "a", image=str(path))
        assert got["raised"] == "apitorch.errors.BadRequestError"
    got = newer("training_set:upload_image", set_id, "a", image=str(large))
    assert (got["raised"], "413" in got["message"]) == ("apitorch.errors.ApitorchServerError", True)
    got = newer("training_set:upload_image", set_id, "a", image_url="http://localhost/a.jpg")
    assert got["raised"] == "apitorch.errors.BadRequestError"
    assert images_of(service, set_id) == {}


def test_upload_from_another_server_where_the_configuration_allows_it(newer, start, photos, tmp_path):
    from tests.service.http.test_url_fetcher import answering

    path = next((photos / "test" / "hat").glob("*.jpg"))
    data = path.read_bytes()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    with answering(reply) as (port, heads):
        own = start("--allow-private-urls")
        set_id = own.new_set("From elsewhere")
        url = f"http://127.0.0.1:{port}/photos/{path.name}"
        answer = newer("training_set:upload_image", set_id, "hat", image_url=url, key=own.key, url=own.url)
        assert answer["message"] == "Image added to training set."
        assert answer["original_filename"] == path.name
        classified = newer(
            "classifier:classify_image", classifiers=["safe-for-work"], image_url=url, key=own.key, url=own.url
        )
        assert classified["data"][0]["label"] == "safe for work"
        assert len(heads) == 2
