"""A service whose rows are in PostgreSQL and whose images are in a bucket, named by the environment."""

from pathlib import Path

import pytest

from apitorch_desktop.service import elsewhere
from apitorch_desktop.service.faults import CannotOpen
from tests.service.running import run, serving
from tests.service.stores import postgres


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
            second = run("serve", "--port", "0", "--data", str(tmp_path / "third"))
            assert second.returncode == 1
            assert "Another service uses this database" in second.stderr


@pytest.mark.parametrize("name", ["APITORCH_DATABASE_URL", "APITORCH_BLOB_URL"])
@pytest.mark.parametrize("value", ["nonsense", "gopher://secret:pa55@x/y"])
def test_an_address_that_cannot_be_used_is_one_sentence_without_its_password(tmp_path: Path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    done = run("serve", "--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "pa55" not in done.stderr


def test_what_is_told_of_an_address_leaves_out_who_and_the_password():
    named = elsewhere.urls(
        {"APITORCH_DATABASE_URL": "postgresql+psycopg://a:b@host/name?x=y", "APITORCH_BLOB_URL": "s3://bucket/prefix"}
    )
    assert (
        elsewhere.told(named)
        == "This service keeps its rows in postgresql://host/name, its images in s3://bucket/prefix."
    )
    assert elsewhere.told(elsewhere.urls({"APITORCH_DATABASE_URL": ""})) == ""
    with pytest.raises(CannotOpen, match="APITORCH_BLOB_URL is not a URL"):
        elsewhere.urls({"APITORCH_BLOB_URL": "bucket"})


def test_the_windows_own_service_stays_on_this_machine(tmp_path: Path, monkeypatch):
    from apitorch_desktop.service.process import attach_or_start

    monkeypatch.setenv("APITORCH_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    service = attach_or_start(tmp_path / "data")
    try:
        assert (tmp_path / "data" / "store.db").exists()
    finally:
        service.stop()
