"""A service whose rows are in PostgreSQL and whose images are in a bucket, named by the environment."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apitorch_desktop.service import maintenance
from apitorch_desktop.service.config import InvalidConfig, storage_sentence, storage_urls
from apitorch_desktop.service.http.errors import to_http_error
from apitorch_desktop.service.storage.blob_bucket import open_bucket
from apitorch_desktop.service.storage.disk_reserve import DiskReserve
from apitorch_desktop.service.storage.errors import StorageFault, StorageUnreachable
from apitorch_desktop.service.storage.records import NewClassification
from apitorch_desktop.service.storage.store import Store
from tests.helpers.service_process import run, serving
from tests.helpers.stores import ME, Facts, add, postgres
from tests.helpers.waiting import PATIENCE
from tests.service.http.test_url_fetcher import answering


def test_serve_keeps_rows_in_postgresql_and_images_in_the_bucket(tmp_path: Path, picture, monkeypatch):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    with postgres() as url:
        named = {"APITORCH_DATABASE_URL": url.replace("+psycopg", ""), "APITORCH_BLOB_URL": bucket.as_uri()}
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        made = run("keys", "--data", str(tmp_path / "data"), "make", "Ann").stdout.strip()
        with serving(tmp_path / "data") as service:
            number = service.new_set("Theirs", made)
            image = service.call("POST", f"training-set/{number}/a/image", made, files={"image": picture()}).json()[
                "id"
            ]
            assert bucket.as_uri() in service.log
            assert "tester" not in service.log
        assert len([path for path in bucket.glob("?/*") if path.is_file()]) == 1
        assert not (tmp_path / "data" / "store.db").exists()
        assert not (tmp_path / "data" / "images").exists()
        with serving(tmp_path / "other") as service:  # another folder, the same store
            listed = service.call("GET", f"training-set/{number}/images", made).json()["data"]
            assert [row["id"] for group in listed for row in group["images"]] == [image]
            assert service.call("GET", listed[0]["images"][0]["url"], made).content == picture()


def assert_one_sentence(done, status=1):
    """It did not start, and told so without a traceback or the password."""
    assert done.returncode == status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "pa55" not in done.stderr


@pytest.mark.parametrize("name", ["APITORCH_DATABASE_URL", "APITORCH_BLOB_URL"])
@pytest.mark.parametrize("value", ["nonsense", "gopher://secret:pa55@x/y"])
def test_an_address_that_cannot_be_used_is_one_sentence_without_its_password(tmp_path: Path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"))
    assert_one_sentence(done, status=2 if value == "nonsense" else 1)


def test_what_is_told_of_an_address_leaves_out_who_and_the_password():
    named = storage_urls(
        {"APITORCH_DATABASE_URL": "postgresql+psycopg://a:b@host/name?x=y", "APITORCH_BLOB_URL": "s3://bucket/prefix"}
    )
    assert (
        storage_sentence(named)
        == "This service keeps its rows in postgresql://host/name, its images in s3://bucket/prefix."
    )
    assert storage_sentence(storage_urls({"APITORCH_DATABASE_URL": ""})) == ""
    with pytest.raises(InvalidConfig, match="APITORCH_BLOB_URL is not a URL"):
        storage_urls({"APITORCH_BLOB_URL": "bucket"})
    with pytest.raises(InvalidConfig, match="APITORCH_DATABASE_URL is not a URL"):
        storage_urls({"APITORCH_DATABASE_URL": "postgresql://[::1/name"})


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_a_bucket_that_would_go_unencrypted_is_refused_until_that_is_allowed(name: str):
    named = {"APITORCH_BLOB_URL": "s3://bucket", name: "http://10.0.0.1:9000"}
    for refused in ({}, {"AWS_ALLOW_HTTP": ""}, {"AWS_ALLOW_HTTP": "false"}):
        with pytest.raises(InvalidConfig, match=f"{name} begins with http://.*AWS_ALLOW_HTTP=true"):
            storage_urls(named | refused)
    for taken in ({"AWS_ALLOW_HTTP": "true"}, {name: "https://10.0.0.1"}, {"APITORCH_BLOB_URL": "file:///bucket"}):
        storage_urls(named | taken)


@pytest.mark.parametrize("reply", [None, b"<Error>\n<Code>NoSuchBucket</Code></Error>"])
def test_a_bucket_that_is_not_there_is_one_sentence_at_the_start(tmp_path: Path, monkeypatch, reply: bytes | None):
    head = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with answering(head % len(reply or b"") + (reply or b"")) as (port, _):
        named = {
            "APITORCH_BLOB_URL": "s3://photos/team",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port if reply else 1}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "pa55",
        }
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        done = run("serve", "--port", "0", "--data", str(tmp_path / "data"))
    assert_one_sentence(done)
    assert ("404 Not Found, NoSuchBucket" if reply else "error sending request") in done.stderr.splitlines()[-1]


def test_a_bucket_that_cannot_be_reached_is_a_fault_of_the_storage_whatever_is_asked(monkeypatch):
    for name, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "pa55")
    blobs = open_bucket("s3://photos/team")
    sha256 = "0" * 64
    for call in (
        lambda: list(blobs.names()),
        blobs.database_id,
        lambda: blobs.set_database_id("database"),
        lambda: blobs.read(sha256),
        lambda: blobs.stage(sha256, b"x"),
    ):
        with pytest.raises(StorageUnreachable, match="can be reached") as caught:
            call()
        error = to_http_error(caught.value)
        assert (error.status, error.headers) == (503, [("retry-after", "5")])
    assert blobs.exists(sha256)


def test_a_slow_bucket_does_not_hold_up_changes_without_images(tmp_path: Path):
    (tmp_path / "bucket").mkdir()
    with Store.open(tmp_path / "data", blob_url=(tmp_path / "bucket").as_uri()) as store:
        number, bucket = store.training_sets.create(ME, "Zebras").id, store._blobs._store
        uploading, go_on = threading.Event(), threading.Event()

        class SlowBucket:
            def put(self, name, data):
                uploading.set()
                assert go_on.wait(PATIENCE)
                return bucket.put(name, data)

            def __getattr__(self, name):
                return getattr(bucket, name)

        store._blobs._store = SlowBucket()
        with ThreadPoolExecutor(1) as threads:
            row = threads.submit(add, store, number, "a", b"slow")
            assert uploading.wait(PATIENCE)
            store.labels.create(ME, number, "quick")
            go_on.set()
            assert store.read(row.result(PATIENCE).sha256) == b"slow"


def test_an_object_that_is_deleted_after_it_was_staged_stays(tmp_path: Path):
    blobs, sha256 = open_bucket(tmp_path.as_uri()), hashlib.sha256(b"x").hexdigest()
    staged = blobs.stage(sha256, b"x")
    assert blobs.exists(sha256)
    blobs.delete([sha256])
    assert not blobs.exists(sha256)
    blobs.settle()
    blobs.commit([staged])
    blobs.settle()
    assert staged.error is None
    assert blobs.read(sha256) == b"x"
    blobs.delete([sha256])
    assert not blobs.exists(sha256)
    blobs.settle()
    assert not (tmp_path / sha256[0] / sha256).exists()


def test_a_bucket_that_hangs_holds_up_no_deletion_and_an_upload_of_the_same_image_waits(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(DiskReserve, "is_scarce", lambda _self: True)  # nothing is kept that was deleted
    (tmp_path / "bucket").mkdir()
    with Store.open(tmp_path / "data", blob_url=(tmp_path / "bucket").as_uri()) as store:
        number, bucket = store.training_sets.create(ME, "Zebras").id, store._blobs._store
        row = add(store, number, "a", b"x")
        deleting, go_on = threading.Event(), threading.Event()

        class HangingBucket:
            def delete(self, names):
                deleting.set()
                assert go_on.wait(PATIENCE)
                return bucket.delete(names)

            def __getattr__(self, name):
                return getattr(bucket, name)

        store._blobs._store = HangingBucket()
        store.images.delete(ME, row.id)
        assert deleting.wait(PATIENCE)
        store.labels.create(ME, number, "quick")
        with pytest.raises(StorageFault, match="gone"):
            store._blobs.read(row.sha256)
        with ThreadPoolExecutor(1) as threads:
            again = threads.submit(add, store, number, "a", b"x")
            go_on.set()
            assert store.read(again.result(PATIENCE).sha256) == b"x"
        store._blobs.settle()
        assert store.read(row.sha256) == b"x"


def test_classified_images_wait_here_for_a_bucket_that_is_away(tmp_path: Path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    opened = {"folder": tmp_path / "data", "blob_url": bucket.as_uri()}
    answers = [NewClassification("safe-for-work", "safe for work")]
    with Store.open(**opened) as store:
        bucket.rename(tmp_path / "away")
        bucket.write_text("no folder")
        number = store.training_sets.create(ME, "Zebras").id
        (first,) = store.classifications.put(ME, b"first", Facts(), answers)
        store._blobs.settle()
        _, image, _ = store.classifications.correct(ME, first.id, number, "a")
        assert store.read(image.sha256) == b"first"
        with pytest.raises(StorageUnreachable):
            add(store, number, "a", b"an upload goes there at once")
        (second,) = store.classifications.put(ME, b"second", Facts(), answers)
        bucket.unlink()
        (tmp_path / "away").rename(bucket)
    with Store.open(**opened) as store:
        store._blobs.settle()
        for row, data in ((first, b"first"), (second, b"second")):
            assert (bucket / row.sha256[0] / row.sha256).read_bytes() == store.read(row.sha256) == data
        assert list((tmp_path / "data" / "pending").iterdir()) == []
        assert store.sweeper.scan().missing == ()


def test_the_service_answers_what_needs_no_bucket_while_it_is_away(tmp_path: Path, picture, monkeypatch):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    monkeypatch.setenv("APITORCH_BLOB_URL", bucket.as_uri())
    with serving(tmp_path / "data") as service:
        number = service.new_set("Zebras")
        bucket.rename(tmp_path / "away")
        bucket.write_text("no folder")
        photo = {"image": picture(size=(64, 64))}
        answer = service.call("POST", "classify", data={"classifiers[]": "safe-for-work"}, files=photo)
        assert answer.status_code == 200, answer.text
        for _ in range(3):
            refused = service.call("POST", f"training-set/{number}/a/image", files=photo)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
        assert service.call("GET", "ping").status_code == 200
        assert service.call("POST", f"training-set/{number}/labels", json={"label": "b"}).status_code == 200
        assert "Traceback" not in service.log


def test_the_windows_own_service_stays_on_this_machine(tmp_path: Path, monkeypatch):
    from apitorch_desktop.service.launcher import attach_or_start

    monkeypatch.setenv("APITORCH_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    service = attach_or_start(tmp_path / "data")
    try:
        assert (tmp_path / "data" / "store.db").exists()
    finally:
        service.stop()


def test_statements_have_a_time_limit_that_a_rollback_does_not_undo(tmp_path: Path):
    with postgres() as url, Store.open(tmp_path / "data", database_url=url) as store:
        for _ in range(2):
            with store._database.reading() as connection:
                assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1min"
                connection.rollback()
                assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1min"
            with store._database.writing() as connection:
                assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "10min"


def test_check_compares_a_postgresql_database_with_its_bucket(tmp_path: Path, monkeypatch):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    with postgres() as url:
        monkeypatch.setenv("APITORCH_DATABASE_URL", url)
        monkeypatch.setenv("APITORCH_BLOB_URL", bucket.as_uri())
        with Store.open(tmp_path / "data", **storage_urls()) as store:
            row = add(store, store.training_sets.create(ME, "Zebras").id, "a", b"x")
        (finding,) = maintenance.check(tmp_path / "data")
        assert finding.sentence.startswith("All is well: 1 image ")
        (bucket / row.sha256[0] / row.sha256).write_bytes(b"rotten")
        (finding,) = maintenance.check(tmp_path / "data")
        assert row.sha256 in finding.sentence
        with pytest.raises(maintenance.MaintenanceError, match="their own tools"):
            maintenance.backup(tmp_path / "data", tmp_path / "backup")
