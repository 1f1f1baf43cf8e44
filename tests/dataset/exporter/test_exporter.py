import csv
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from apitorch_desktop.api.client import ApiClient
from apitorch_desktop.api.errors import ConnectionFailed, NotFound, WrongKey
from apitorch_desktop.api.types import INBOX, Id, TrainingImage, TrainingImages, TrainingLabel
from apitorch_desktop.dataset.exporter import exporter
from apitorch_desktop.dataset.exporter.exporter import (
    ExportFormat,
    ExportRefused,
    ExportResult,
    client_source,
    export,
)
from apitorch_desktop.dataset.exporter.split import Split, parts_of
from apitorch_desktop.dataset.importer.plan import scan
from apitorch_desktop.dataset.workspace.listing import Listing
from apitorch_desktop.utils.errors import Cancelled
from apitorch_desktop.utils.files import shortened_names
from apitorch_desktop.utils.text import restored
from apitorch_desktop.vision import images
from tests.helpers.export_readers import read_croissant, read_hugging_face, walked
from tests.helpers.fake_api import FakeApi
from tests.helpers.image_samples import raw_photo, saved, scene

HEIF = Path(__file__).parents[2] / "data" / "heif"


def photo(seed, size=(64, 48), quality=90):
    """A smooth picture, another for each seed."""
    small = Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(3 * 8 * 6))
    stream = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


class Here:
    """A training set in memory: a listing, and bytes by image id."""

    def __init__(self, labels: dict[str, list[bytes]]):
        self.bytes: dict[str, bytes] = {}
        groups = []
        for label, datas in labels.items():
            images = []
            for number, data in enumerate(datas):
                digits = hashlib.sha1(f"{label}{number}".encode()).hexdigest()
                self.bytes["ti_" + digits] = data
                images.append(TrainingImage(filename=f"{digits}.jpg", url=f"https://e.org/{digits}"))
            groups.append(TrainingLabel(label=label, images=images))
        answer = TrainingImages(training_set_id=Id(7), training_set_slug="my-set", data=groups)
        self.listing = Listing.from_answers([answer])

    def fetch(self, image: TrainingImage) -> bytes:
        return self.bytes[image.image_id]

    def labelled(self) -> list[tuple[str, str]]:
        """(label, hash of the bytes) of every image, sorted."""
        return sorted(
            (str(image.label), hashlib.sha256(self.bytes[image.image_id]).hexdigest()) for image in self.listing.images
        )


@pytest.fixture
def here():
    labels = {"hat": [photo(n) for n in range(9)], "dress": [photo(n) for n in range(20, 27)], "hüte": [photo(40)]}
    return Here(labels)


# --- the formats, each with its reader


def test_a_folder_tree_is_what_the_published_client_writes(here, tmp_path):
    done = export(here.listing, here.fetch, tmp_path)
    assert done == ExportResult(tmp_path / "my-set", 17, 0, [])
    assert walked(tmp_path / "my-set") == here.labelled()
    image = here.listing.images[0]
    assert (tmp_path / "my-set" / "hat" / image.filename).read_bytes() == here.fetch(image)
    assert [entry.name for entry in tmp_path.iterdir()] == ["my-set"]


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("split", [None, Split(0.6, 0.2, 0.2, seed=3)], ids=["whole", "split"])
def test_exported_and_imported_is_equal(here, tmp_path, form, split):
    done = export(here.listing, here.fetch, tmp_path, form, split=split)
    plan = scan([done.path])
    assert not [item.problem for item in plan.items if item.problem]
    assert sorted((item.label, item.sha256) for item in plan.items) == here.labelled()


@pytest.fixture
def parted():
    """Photos with a split, some of them without a label, and three that have none."""
    here = Here(
        {"hat": [photo(n) for n in range(6)], "dress": [photo(n) for n in range(20, 26)], INBOX: [photo(40), photo(41)]}
    )
    splits = ["train", "train", "validation", "test", "", ""]
    for at, image in enumerate(here.listing.images):
        image.split = ("test", "")[at - 12] if image.label == INBOX else splits[at % 6]
    return here


def come_back(done):
    return sorted((item.label, item.sha256, item.split) for item in scan([done.path]).items)


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("kept", [True, False], ids=["by split", "by label"])
def test_splits_and_photos_without_a_label_come_back(parted, tmp_path, form, kept):
    done = export(parted.listing, parted.fetch, tmp_path, form, keep_splits=kept)
    of_labels = form in (ExportFormat.CREATEML, ExportFormat.CROISSANT)
    assert done.left_out == (2 if of_labels else 0)
    assert done.assigned == (4 if kept else 0)
    listed = form in (ExportFormat.CSV, ExportFormat.JSONL)

    def expected(image):
        label, split = ("" if image.label == INBOX else image.label), image.known_split
        digest = hashlib.sha256(parted.fetch(image)).hexdigest()
        return label, digest, (split or ("train" if label else "")) if kept else split if listed else ""

    assert come_back(done) == sorted(
        expected(one) for one in parted.listing.images if one.label != INBOX or not of_labels
    )
    if form is ExportFormat.IMAGEFOLDER:
        assert {path.name for path in done.path.iterdir() if path.is_dir()} == (
            {"train", "validation", "test"} if kept else {"hat", "dress"}
        )


def test_a_download_has_no_folder_of_photos_without_a_label(parted, tmp_path):
    assert {path.parent.name for path in export(parted.listing, parted.fetch, tmp_path).path.rglob("*.jpg")} == {
        "hat", "dress", "my-set"
    }  # fmt: skip
    divided = export(parted.listing, parted.fetch, tmp_path / "divided", split=Split(0.5, 0.5, 0))
    assert len(list(divided.path.glob("*.jpg"))) == 2


LONG = ["字" * 200, "字" * 199 + "林", "กรุงเทพมหานคร_" * 14, "ä" * 130, "🦊" * 100, "a" * 200, "ж_" * 99]


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("split", [None, Split(0.5, 0.5, 0)], ids=["whole", "split"])
def test_labels_of_200_letters_of_any_script_come_back(tmp_path, form, split):
    here = Here({label: [photo(10 * number), photo(10 * number + 1)] for number, label in enumerate(LONG)})
    done = export(here.listing, here.fetch, tmp_path, form, split=split)
    assert (done.written, done.failed) == (2 * len(LONG), [])
    plan = scan([done.path])
    assert sorted((item.original_label, item.sha256) for item in plan.items) == here.labelled()
    for path in tmp_path.rglob("*"):
        assert len(os.fsencode(path.name)) <= 255


def test_long_labels_are_told():
    assert shortened_names(["short", "a" * 255]) == ""
    assert "“字" in shortened_names(["short", "字" * 100]) and "labels.csv" in shortened_names(["字" * 100])
    assert f"{len(LONG) - 1} labels" in shortened_names(LONG)  # that of 200 plain letters fits


PARTS_OF_SETS = [
    "train",
    "test",
    "valid",
    "validation",
    "fold_1",
    "unlabeled",
    "images",
    "data",
    "masks",
    "train_cat",
    "cat",
]


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("split", [None, Split(0.5, 0.5, 0)], ids=["whole", "split"])
@pytest.mark.parametrize(
    "labels", [PARTS_OF_SETS, ["train", "test"], ["2020"], ["images"], ["nan", "none", "cat"]], ids=" ".join
)
def test_labels_called_as_parts_of_a_set_or_containers_come_back(tmp_path, form, split, labels):
    here = Here({label: [photo(10 * number), photo(10 * number + 1)] for number, label in enumerate(labels)})
    done = export(here.listing, here.fetch, tmp_path, form, split=split)
    for dropped in (done.path, tmp_path):
        plan = scan([dropped])
        assert sorted((item.label, item.sha256) for item in plan.items) == here.labelled()
        assert split is not None or {item.split for item in plan.items} == {""}
    beside = form in (ExportFormat.IMAGEFOLDER, ExportFormat.CROISSANT) and "nan" not in labels
    assert (done.path / "labels.csv").exists() == (beside or form is ExportFormat.CSV)


@pytest.mark.parametrize("form", [ExportFormat.IMAGEFOLDER, ExportFormat.ZIP, ExportFormat.CSV, ExportFormat.JSONL])
@pytest.mark.parametrize("kept", [False, True], ids=["whole", "by split"])
def test_a_set_in_which_nothing_is_labelled_comes_back_without_labels(tmp_path, form, kept):
    here = Here({INBOX: [photo(1), photo(2), photo(3)]})
    here.listing.images[0].split = "test"
    done = export(here.listing, here.fetch, tmp_path, form, keep_splits=kept)
    for dropped in (done.path, tmp_path):
        plan = scan([dropped])
        assert sorted((item.label, item.split) for item in plan.items) == [("", ""), ("", ""), ("", "test")]
        assert plan.ignored == []


def test_a_tree_that_is_there_gets_the_labels_that_its_folders_do_not_say(here, tmp_path):
    labels = ["train", "dog"]
    for number in range(1, 3):
        here = Here({label: [photo(10 * at + count) for count in range(number)] for at, label in enumerate(labels)})
        done = export(here.listing, here.fetch, tmp_path)
        assert sorted((item.label, item.sha256) for item in scan([done.path]).items) == here.labelled()
    fewer = Here({"train": [photo(0)]})
    export(fewer.listing, fewer.fetch, tmp_path)
    with (done.path / "labels.csv").open(encoding="utf-8", newline="") as file:
        assert sorted(row["label"] for row in csv.DictReader(file)) == ["dog", "dog", "train", "train"]
    assert sorted((item.label, item.sha256) for item in scan([done.path]).items) == here.labelled()
    (done.path / "labels.csv").write_text("of another program\n")
    export(here.listing, here.fetch, tmp_path)
    assert (done.path / "labels.csv").read_text() == "of another program\n"


@pytest.mark.parametrize("form", [ExportFormat.IMAGEFOLDER, ExportFormat.ZIP, ExportFormat.CSV])
def test_what_few_programs_read_is_written_as_it_is_or_as_jpeg(tmp_path, form):
    heic = (HEIF / "scene.heic").read_bytes()
    avif = saved(scene(), "AVIF")
    here = Here({"hat": [photo(1), heic, avif, raw_photo()]})
    assert walked_formats(export(here.listing, here.fetch, tmp_path / "as is", form)) == ["AVIF", "HEIC", "JPEG", "NEF"]
    done = export(here.listing, here.fetch, tmp_path / "jpeg", form, jpeg=True)
    assert walked_formats(done) == ["JPEG"] * 4
    if form is ExportFormat.IMAGEFOLDER:
        assert export(here.listing, here.fetch, tmp_path / "jpeg", jpeg=True).skipped == 4
        assert (done.path / "hat" / here.listing.images[0].filename).read_bytes() == photo(1)
        assert {path.suffix for path in (done.path / "hat").iterdir()} == {".jpg"}


def walked_formats(done):
    """The formats of all exported images, by their bytes."""
    if done.path.suffix == ".zip":
        with zipfile.ZipFile(done.path) as archive:
            return sorted(images.verify(archive.read(name)).format for name in archive.namelist())
    return sorted(images.verify(path.read_bytes()).format for path in done.path.rglob("*.*") if path.suffix != ".csv")


def test_a_zip_holds_the_tree(here, tmp_path):
    done = export(here.listing, here.fetch, tmp_path, ExportFormat.ZIP)
    assert done.path == tmp_path / "my-set.zip"
    with zipfile.ZipFile(done.path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
    assert walked(tmp_path / "out" / "my-set") == here.labelled()


def test_csv_has_a_row_an_image(here, tmp_path):
    done = export(here.listing, here.fetch, tmp_path, ExportFormat.CSV, split=Split(seed=1))
    with (done.path / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["label"], row["sha256"]) for row in rows) == here.labelled()
    for row in rows:
        data = (done.path / row["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert row["file_name"].startswith(f"{row['split']}/{row['label']}/")
        assert (row["width"], row["height"], int(row["bytes"])) == ("64", "48", len(data))
    listed = scan([done.path / "labels.csv"])
    assert sorted((item.label, item.sha256) for item in listed.items) == here.labelled()


@pytest.mark.parametrize("split", [None, Split(0.6, 0.2, 0.2)], ids=["whole", "split"])
def test_hugging_face_reads_the_jsonl(here, tmp_path, split):
    done = export(here.listing, here.fetch, tmp_path, ExportFormat.JSONL, split=split)
    rows = read_hugging_face(done.path, tmp_path / "cache")
    assert sorted((label, digest) for _, label, digest, _ in rows) == here.labelled()
    assert all(same for *_, same in rows)
    assert {part for part, *_ in rows} == ({"train"} if split is None else {"train", "validation", "test"})


@pytest.mark.parametrize("split", [None, Split(0.6, 0.2, 0.2)], ids=["whole", "split"])
def test_mlcroissant_reads_the_croissant(here, tmp_path, split):
    done = export(here.listing, here.fetch, tmp_path, ExportFormat.CROISSANT, split=split)
    rows = read_croissant(done.path)
    found = [(label, hashlib.sha256((done.path / path).read_bytes()).hexdigest()) for label, path, _ in rows]
    assert sorted(found) == here.labelled()
    for label, path, part in rows:
        assert path.startswith(f"{part}/{label}/" if split else f"{label}/")


def test_create_ml_gets_labelled_directories_and_its_json(here, tmp_path):
    done = export(here.listing, here.fetch, tmp_path, ExportFormat.CREATEML, split=Split(0.5, 0, 0.5))
    assert sorted(entry.name for entry in done.path.iterdir()) == ["test", "train"]
    assert sorted(walked(done.path / "train") + walked(done.path / "test")) == here.labelled()
    found = []
    for part in ("train", "test"):
        for entry in json.loads((done.path / part / "_annotations.createml.json").read_text("utf-8")):
            (annotation,) = entry["annotations"]
            assert annotation["coordinates"] == {"x": 32.0, "y": 24.0, "width": 64, "height": 48}
            data = (done.path / part / entry["image"]).read_bytes()
            found.append((annotation["label"], hashlib.sha256(data).hexdigest()))
    assert sorted(found) == here.labelled()


# --- nothing is overwritten, nothing half written


def test_what_is_there_is_not_overwritten(here, tmp_path):
    export(here.listing, here.fetch, tmp_path)
    for form in (ExportFormat.CSV, ExportFormat.JSONL):
        with pytest.raises(ExportRefused, match="there already"):
            export(here.listing, here.fetch, tmp_path, form)
    with pytest.raises(ExportRefused, match="there already"):
        export(here.listing, here.fetch, tmp_path, split=Split())
    assert walked(tmp_path / "my-set") == here.labelled()


def test_a_tree_that_is_there_gets_what_it_lacks(here, tmp_path):
    first = export(here.listing, here.fetch, tmp_path)
    one, other = sorted(first.path.rglob("*.jpg"))[:2]
    one.unlink()
    other.write_bytes(photo(99))
    again = export(here.listing, here.fetch, tmp_path)
    assert (again.written, again.skipped) == (1, 15)
    assert [(what, "Another photo" in why) for what, why in again.failed] == [(f"dress/{other.name}", True)]
    assert other.read_bytes() == photo(99)


def test_images_that_cannot_be_had_are_named_and_the_rest_goes_on(here, tmp_path):
    lost = here.listing.images[2]

    def fetch(image):
        if image is lost:
            raise NotFound("It is gone.")
        return here.fetch(image)

    seen = []
    done = export(here.listing, fetch, tmp_path, ExportFormat.ZIP, progress=lambda *state: seen.append(state))
    assert done.written == 16
    assert done.failed == [(f"hat/{lost.filename}", "It is gone.")]
    assert seen[-1] == (17, 17)


@pytest.mark.parametrize("fault", [WrongKey("No."), ConnectionFailed("Away.")])
def test_when_nothing_can_be_had_nothing_is_left_behind(here, tmp_path, fault):
    def fetch(_image):
        raise fault

    with pytest.raises(type(fault)):
        export(here.listing, fetch, tmp_path / "new", ExportFormat.CSV)
    assert not list((tmp_path / "new").iterdir())


def test_cancelling_leaves_nothing_behind(here, tmp_path):
    calls = iter([False] * 5 + [True] * 100)
    with pytest.raises(Cancelled):
        export(here.listing, here.fetch, tmp_path, cancelled=lambda: next(calls))
    assert not list(tmp_path.iterdir())


def test_what_a_killed_export_left_is_cleared_away(here, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".{ended.pid}-0123456789ab.part"
    mine = tmp_path / f".{os.getpid()}-0123456789ab.part"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "0").write_bytes(b"x")
    export(here.listing, here.fetch, tmp_path)
    assert not left.exists()
    assert mine.exists()


def test_a_folder_that_cannot_be_written_is_refused_in_a_sentence(here, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ExportRefused, match="cannot be written"):
        export(here.listing, here.fetch, blocked / "deeper")


def test_a_set_without_images_is_exported_too(tmp_path):
    empty = Listing(Id(1), "", [], [])
    for form in ExportFormat:
        assert export(empty, lambda _: b"", tmp_path / form, form).written == 0


def test_addresses_that_ran_out_are_fetched_anew(tmp_path):
    with FakeApi() as service:
        training_set = service.add_set("Set", {"cat": [photo(number) for number in range(12)]})
        client = ApiClient(service.url, service.key)
        listing, fetch = client_source(client, training_set)
        service.expire()
        done = export(listing, fetch, tmp_path)
        client.close()
        assert len(service.requests("GET", "/images$")) == 2
    assert (done.written, done.failed) == (12, [])
    assert sorted(path.read_bytes() for path in done.path.rglob("*.jpg")) == sorted(photo(n) for n in range(12))


# --- the split


def test_a_split_is_repeatable_stratified_and_another_with_another_seed():
    labels = {
        f"{label}{number:03}": label for label, count in {"a": 100, "b": 50, "c": 10}.items() for number in range(count)
    }
    first = parts_of(labels, Split(seed=1), [])
    assert first == parts_of(dict(reversed(labels.items())), Split(seed=1), [])
    assert first != parts_of(labels, Split(seed=2), [])
    counts = Counter((labels[image], part) for image, part in first.items())
    assert counts["a", "train"] == 80
    assert counts["b", "validation"] == 5
    assert counts["c", "test"] == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_split_keeps_groups_together_and_shares_near(data):
    labels = data.draw(
        st.dictionaries(st.text("abcdef0123456789", min_size=4, max_size=4), st.sampled_from("xyz"), max_size=60)
    )
    ids = sorted(labels)
    groups = data.draw(st.lists(st.lists(st.sampled_from(ids), max_size=4), max_size=8)) if ids else []
    split = Split(0.7, 0.15, 0.15, seed=data.draw(st.integers(0, 9)))
    parts = parts_of(labels, split, groups)
    assert set(parts) == set(labels)
    for group in groups:
        assert len({parts[image] for image in group}) <= 1
    if not groups:
        for label, count in Counter(labels.values()).items():
            for part, share in split.shares().items():
                there = sum(parts[image] == part for image in labels if labels[image] == label)
                assert abs(there - share * count) <= 1


def test_what_looks_alike_comes_into_one_part(tmp_path):
    again = [photo(number, size=(128, 96), quality=60) for number in range(12)]
    here = Here({"hat": [photo(number) for number in range(12)], "cap": again})
    done = export(here.listing, here.fetch, tmp_path, ExportFormat.CSV, split=Split(0.5, 0.25, 0.25, seed=5))
    parts = {}
    with (done.path / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            parts[row["image_id"]] = row["split"]
    hats, caps = (
        [parts[image.image_id] for image in here.listing.images if image.label == label]
        for label in here.listing.labels
    )
    assert hats == caps
    assert set(hats) == {"train", "validation", "test"}


@pytest.mark.parametrize("shares", [(0, 0, 0), (1, -1, 1)])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValueError, match="above 0"):
        Split(*shares).shares()


def test_no_cell_of_a_list_is_a_formula_and_our_import_reads_it_as_it_was(tmp_path):
    """Labels of other services may be anything; ours have no such beginnings."""
    images = []
    for number, text in enumerate(("=cmd|' /C calc'!A0", "-1", "+1", "@x", "\t=x")):
        record = TrainingImage(filename=f"{number}.jpg", url="", original_filename=f"{text}.jpg", label=text)
        images.append(exporter.ExportedImage(record, text, tmp_path / "nowhere", 1, "0" * 64))
        (tmp_path / images[-1].path).parent.mkdir()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / images[-1].path)
    exporter.write_csv(images, tmp_path)
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not [cell for row in rows for cell in row.values() if cell[:1] in set("=+-@\t\r")]
    assert all((tmp_path / row["file_name"]).is_file() for row in rows)
    assert [restored(row["original_filename"]) for row in rows] == [image.record.original_filename for image in images]
    found = scan([tmp_path / "labels.csv"])
    assert len(found.items) == len(images)
    assert {item.original_label for item in found.items} == {image.label.strip() for image in images}
