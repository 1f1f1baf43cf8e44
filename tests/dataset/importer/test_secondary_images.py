# ruff: noqa: E501
"""Masks beside photos and small copies of them are no photos; a class may be called as they are."""

import time
import zipfile
from collections import Counter

import pytest

from apitorch_desktop.dataset.importer.plan import scan
from tests.dataset.importer.test_plan import picture, put


def made(folder, files):
    """Make a folder of files, by their paths: bytes, or None for a photo."""
    for number, (place, data) in enumerate(files.items()):
        put(folder / place, picture(number) if data is None else data)
    return folder


def of_labels(plan):
    found = {}
    for item in plan.items:
        found.setdefault(item.label, set()).add(item.name)
    return found


def several(*folders, suffix="jpg", names=("1", "2", "3")):
    return {f"{folder}/{name}.{suffix}": None for folder in folders for name in names}


PEOPLE = ("anna", "ben")
MASKS = {
    "a folder beside the photos": ({**several("images"), **several("masks", suffix="png")}, "“masks”", {"set": 3}),
    "two beside them, one with photos in it": (
        {**several("kit/JPEGImages"), **several("kit/SegmentationClass", suffix="png"), **several("kit/SegmentationVisualization")},
        "“SegmentationClass” and “SegmentationVisualization”", {"set": 3},
    ),
    "fewer than the photos": ({**several("images"), "annotations/trimaps/2.png": None}, "“annotations”", {"set": 3}),
    "parts": (
        {**several("images/training", "images/validation"), **several("annotations/training", "annotations/validation", suffix="png")},
        "“annotations”", {"": 6},
    ),
    "classes in parts": (
        {**several("bottle/train/good", "bottle/test/broken", suffix="png"), "bottle/ground_truth/broken/1_mask.png": None},
        "“ground_truth”", {"good": 3, "broken": 3},
    ),
    "several sets": (
        {f"{one}/{place}.png": None for one in ("nut", "pill") for place in ("train/good/1", "test/good/2", "test/cut/1", "ground_truth/cut/1_mask")},
        "“ground_truth”", {"good": 4, "cut": 2},
    ),
    "a mirrored tree": (
        {"leftImg8bit/train/ulm/ulm_01_02_leftImg8bit.png": None, "leftImg8bit/train/bonn/bonn_01_02_leftImg8bit.png": None,
         **{f"gtFine/train/{town}/{town}_01_02_gtFine_{what}.png": None for town in ("ulm", "bonn") for what in ("color", "labelIds")}},
        "“gtFine”", {"ulm": 1, "bonn": 1},
    ),
    "a tree beside the set": (
        {"birds/images/001.Tern/Tern_0001.jpg": None, "birds/images/002.Gull/Gull_0001.jpg": None,
         "segmentations/001.Tern/Tern_0001.png": None, "segmentations/002.Gull/Gull_0001.png": None},
        "“segmentations”", {"001_tern": 1, "002_gull": 1},
    ),
    "in each class": ({**several("cat/images", "dog/images"), **several("cat/masks", "dog/masks")}, "“masks”", {"cat": 3, "dog": 3}),
    "in each class, within the photos": ({**several("cat", "dog"), **several("cat/mask", "dog/mask", suffix="png")}, "“mask”", {"cat": 3, "dog": 3}),
    "parts beside parts": (
        {**several("train", "test"), **several("trainannot", "testannot")}, "“testannot” and “trainannot”", {"": 6},
    ),
    "a folder beside classes": (
        {"Au/Au_1.jpg": None, "Tp/Tp_D_1.tif": None, "My Groundtruth/Tp_D_1_gt.png": None}, "“My Groundtruth”", {"au": 1, "tp": 1},
    ),
    "beside each photo": (
        {**several("benign", "normal", suffix="png"), "benign/1_mask.png": None, "benign/1_mask_1.png": None, "normal/2_mask.png": None},
        "photos", {"benign": 3, "normal": 3},
    ),
    "a set that is called after them, beside a stray photo": (
        {"road segmentation/train/a_1.jpg": None, "road segmentation/train_masks/a_1.png": None, "preview.jpg": None},
        "“train_masks”", {"": 1, "set": 1},
    ),
    "classes in folders of a format": (
        {**several("Bmp/a", "Bmp/b", suffix="png"), **several("Msk/a", "Msk/b", suffix="png")}, "“Msk”", {"a": 3, "b": 3},
    ),
    "a set that is called after them": (
        {**several("Segmentation/images"), **several("Segmentation/masks", suffix="png")}, "“masks”", {"set": 3},
    ),
}  # fmt: skip
"""Files, what the note names, and the number of photos by label."""


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("packed", [False, True])
def test_masks_of_photos_are_no_photos_and_are_named(tmp_path, name, packed):
    files, where, labels = MASKS[name]
    folder = made(tmp_path / "set", files)
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in folder.rglob("*.*"):
                archive.write(path, path.relative_to(folder))
    plan = scan([tmp_path / "set.zip" if packed else folder])
    assert Counter(item.label for item in plan.items) == labels and plan.complete
    (note,) = [note for note in plan.notes if "as masks and other annotations have" in note]
    count = len(files) - len(plan.items)
    assert note.startswith(f"{count} file{'s' if count > 1 else ''} ") and where in note
    assert len(plan.ignored) == count


@pytest.mark.parametrize(
    "files",
    [
        several("mask", "hat", "glasses"),
        several("mask", "hat", suffix="png") | several("glasses"),
        several("train/mask", "train/face", "test/mask", "test/face"),
        several("with_mask", "without_mask", "mask_weared_incorrect", suffix="png", names=PEOPLE),
        several("Mask", "No Mask", suffix="png", names=PEOPLE),
        several("mask", "face", names=PEOPLE),
        several("mask", "photos", "drawings"),
        several("mask images", "cat images"),
        several("without_mask", names=("1", "2")) | several("with_mask", names=("1-with-mask", "2-with-mask")),
        several("masks", suffix="png"),
        several("people", names=("anna", "anna_mask", "ben", "ben_mask")),
        several("carnival", suffix="png", names=("venice", "venice_mask", "rio")),
        several("mask", suffix="png", names=("mask_1", "mask_2")) | several("face", suffix="png", names=("1", "2")),
        several("cars/gt", "cars/focus"),
        several("thumbs", "fist"),
    ],
)
def test_a_class_that_is_called_mask_is_one(tmp_path, files):
    plan = scan([made(tmp_path / "set", files)])
    assert len(plan.items) == len(files) and not plan.ignored
    folders = {place.rpartition("/")[0].rpartition("/")[2] for place in files}
    assert {item.original_label for item in plan.items} == folders


def test_lists_mean_the_photos_and_not_their_masks(tmp_path):
    names = [f"cat_{number}" for number in (1, 2, 3)]
    files = several("images", names=names) | several("annotations/trimaps", suffix="png", names=names)
    rows = {name: "tabby" if name == "cat_1" else "siamese" for name in names}
    lists = {
        "annotations/list.txt": "".join(f"{name} {label}\n" for name, label in rows.items()),
        "pairs.csv": "image,mask,label\n" + "".join(f"images/{name}.jpg,annotations/trimaps/{name}.png,{label}\n" for name, label in rows.items()),
    }  # fmt: skip
    for place, text in lists.items():
        plan = scan([made(tmp_path / place.replace("/", "_"), {**files, place: text.encode()})])
        assert of_labels(plan) == {"tabby": {"cat_1.jpg"}, "siamese": {"cat_2.jpg", "cat_3.jpg"}} and plan.complete
    pairs = "".join(f"images/{name}.jpg annotations/trimaps/{name}.png\n" for name in names)
    plan = scan([made(tmp_path / "set", {**files, "list.txt": pairs.encode()})])
    assert of_labels(plan) == {"set": {f"{name}.jpg" for name in names}}


def test_photos_that_a_list_labels_are_no_masks_of_those_beside_them(tmp_path):
    files = {f"{name}.png": None for name in ("anna", "anna_mask", "ben", "ben_mask")}
    rows = "anna.png,bare\nanna_mask.png,worn\nben_mask.png,worn\n"
    plan = scan([made(tmp_path / "set", {**files, "labels.csv": ("file,label\n" + rows).encode()})])
    assert of_labels(plan) == {"bare": {"anna.png"}, "worn": {"anna_mask.png", "ben_mask.png"}, "": {"ben.png"}}
    assert set(of_labels(scan([made(tmp_path / "faces", files)]))["faces"]) == {"anna.png", "ben.png"}


def test_endless_names_in_an_archive_are_compared_as_fast(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for number, name in enumerate(("a" + " " * 60_000 + "x.png", "a" + "_-" * 30_000 + ".png", "b.png")):
            archive.writestr(f"masks/{name}", picture(number))
    began = time.process_time()
    scan([tmp_path / "pets.zip"])
    assert time.process_time() - began < 20


def test_small_copies_in_a_folder_of_thumbnails_are_no_photos(tmp_path):
    files = {
        f"{label}/{place}{number}.jpg": picture(seed + number, size=(24, 16) if place else (240, 160))
        for seed, label in ((0, "cat"), (2, "dog"))
        for place in ("", "thumbs/", "_thumbs/", "Thumbnails/")
        for number in (1, 2)
    }
    plan = scan([made(tmp_path / "set", files)])
    assert of_labels(plan) == {label: {"1.jpg", "2.jpg"} for label in ("cat", "dog")} and len(plan.items) == 4
    assert plan.notes == [
        "12 files in “Thumbnails”, “_thumbs” and “thumbs” are small copies of photos of the same names and stay out."
    ]
    larger = {place: picture(9, size=(240, 160)) if "thumbs/" in place else data for place, data in files.items()}
    assert len(scan([made(tmp_path / "larger", larger)]).items) == 12


def test_small_copies_that_lie_in_one_folder_are_no_photos_where_their_names_are_of_one(tmp_path):
    names = [f"{label}/{label} {number}.jpg" for label in ("van_gogh", "von_dürer") for number in range(3)]
    files = {f"images/images/{name}": picture(seed, size=(240, 160)) for seed, name in enumerate(names)}
    copies = [f"resized/resized/{name.partition('/')[2]}" for name in names]
    files |= {name: picture(seed, size=(24, 16)) for seed, name in enumerate(copies, 9)}
    plan = scan([made(tmp_path / "set", files)])
    assert {label: len(found) for label, found in of_labels(plan).items()} == {"van_gogh": 3, "von_dürer": 3}
    assert "6 files in “resized” are small copies of photos of the same names and stay out." in plan.notes
    by_number = {name.replace("van_gogh ", "").replace("von_dürer ", ""): data for name, data in files.items()}
    assert len(scan([made(tmp_path / "numbers", by_number)]).items) == len(by_number)


SMALL = {
    "by their names": {"photos/1.jpg": None, "app/cache/thumbnails/a/ab01_224x224_center.jpg": None, "app/cache/thumbnails/b/cd02_720x720_fit.jpg": None},
    "of films": {"DCIM/1.jpg": None, "PRIVATE/THMBNL/C0001T01.JPG": None, "PRIVATE/THMBNL/C0002T01.JPG": None, "PRIVATE/CLIP/C0001.MP4": b"film"},
    "of photos beside them": {
        f"2021/{name}.jpg": picture(seed, size=(24, 16) if seed % 3 else (240, 160))
        for seed, name in enumerate(("cat", "cat-150x150", "cat-300x200", "dog", "dog_thumb", "thumb_dog", "f0012", "t0012"))
    },
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", SMALL)
def test_small_copies_that_programs_make_are_no_photos(tmp_path, what, packed):
    folder = made(tmp_path / "set", SMALL[what])
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in folder.rglob("*.*"):
                archive.write(path, path.relative_to(folder))
    plan = scan([tmp_path / "set.zip" if packed else folder])
    assert {item.name for item in plan.items} == (
        {"cat.jpg", "dog.jpg", "f0012.jpg"} if "beside" in what else {"1.jpg"}
    )
    assert any(f"are small copies {what}" in note for note in plan.notes) and plan.complete


@pytest.mark.parametrize(
    "files",
    [
        several("cats", names=("cat", "cat-2", "cat-300")),
        {
            f"cats/{name}.jpg": picture(seed, size=(16 * seed, 16))
            for seed, name in enumerate(("cat", "cat-64x64", "cat_thumb"), 1)
        },
        several("thumbs", "fist", names=("1", "thumb", "preview", "4")),
        several("logos", suffix="png", names=("cat@2x", "dog@2x")),
        {**several("images", suffix="png", names=("cat", "dog")), "css/page.css": b"a {}"},
    ],
)
def test_photos_that_are_called_much_as_small_copies_come(tmp_path, files):
    assert len(scan([made(tmp_path / "set", files)]).items) == sum(not place.endswith(".css") for place in files)


def test_what_was_deleted_or_replaced_and_the_icons_of_a_web_page_are_no_photos(tmp_path):
    files = {
        **several("anna/files/Photos"), "anna/files_trashbin/files/old.jpg": None, "anna/files_versions/1.jpg.v16148594": None,
        "chat/photos/7.jpg": None, "chat/css/page.css": b"a {}", "chat/images/back.png": None,
        "chat/images/media.png": None, "chat/images/media@2x.png": None,
    }  # fmt: skip
    plan = scan([made(tmp_path / "set", files)])
    assert {item.name for item in plan.items} == {"1.jpg", "2.jpg", "3.jpg", "7.jpg"}
    assert "2 files in “files_trashbin” and “files_versions” were deleted or replaced and stay out." in plan.notes
    assert "3 files in “images” belong to a web page and stay out." in plan.notes


def test_an_image_without_a_suffix_comes_under_the_names_of_the_links_to_it(tmp_path):
    for number, place in enumerate(("cat/1.jpg", "dog/2.jpg", "dog/3.jpg")):
        put(tmp_path / f"set/blobs/{number}c0ffee", picture(number))
        (tmp_path / "set/snapshots/main" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set/snapshots/main" / place).symlink_to(tmp_path / f"set/blobs/{number}c0ffee")
    put(tmp_path / "set/snapshots/main/cat/4", picture(4))
    plan = scan([tmp_path / "set"])
    assert of_labels(plan) == {"cat": {"1.jpg", "4"}, "dog": {"2.jpg", "3.jpg"}}
    assert "3 photos in “blobs” come under the names of the links to them." in plan.notes
