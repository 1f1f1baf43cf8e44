# ruff: noqa: E501
"""Folders as people have them: splits, containers, wrapping folders, links, and names that are no text or alike."""

import hashlib
import os

import pytest

from apitorch_desktop.dataset.importer.folder_labels import folder_labels
from apitorch_desktop.dataset.importer.plan import ItemStatus, scan
from tests.dataset.importer.test_plan import by_label, picture, put

TREES = {
    "train/{cat,dog}, test": ({"train/cat": "cat", "train/dog": "dog", "test": ""}, {"train", "test"}),
    "capitals": ({"Train/rose": "rose", "Valid/tulip": "tulip", "Test": ""}, {"train", "validation", "test"}),
    "doubled": ({"training_set/training_set/cats": "cats", "test_set/test_set/dogs": "dogs"}, {"train", "test"}),
    "stray": ({"chest/train/ill": "ill", "chest/val/well": "well", "chest": ""}, {"train", "validation", ""}),
    "suffix": ({"train_data/cat": "cat", "validation-data/dog": "dog"}, {"train", "validation"}),
    "images": ({"train_images": "", "test_images": ""}, {"train", "test"}),
    "only splits": ({"train": "", "test": ""}, {"train", "test"}),
    "a prefix": ({"seg_train/seg_train/sea": "sea", "seg_pred/seg_pred": ""}, {"train", "unlabeled"}),
    "a name": ({"flowers-train/rose": "rose", "flowers-test/rose": "rose"}, {"train", "test"}),
    "years": ({"train2017/cat": "cat", "val2017/cat": "cat"}, {"train", "validation"}),
    "camel": ({"TrainSet/cat": "cat", "TestSet/dog": "dog"}, {"train", "test"}),
    "spaces": ({"Training Data/cat": "cat", "Testing Data/dog": "dog"}, {"train", "test"}),
    "folds": ({"fold_1/cat": "cat", "fold_2/dog": "dog"}, {"fold_1", "fold_2"}),
    "labels first": ({"cat/train": "cat", "cat/test": "cat", "dog/train": "dog"}, {"train", "test"}),
    "pairs": ({"train_cat": "cat", "train_dog": "dog", "test_cat": "cat", "test_dog": "dog"}, {"train", "test"}),
    "synsets": ({"Data/CLS-LOC/train/n01": "n01", "Data/CLS-LOC/train/n02": "n02", "Data/CLS-LOC/val": ""}, {"train", "validation"}),
    "container in a split": ({"train/images/cat": "cat", "test/images/dog": "dog"}, {"train", "test"}),
    "container in a label": ({"train/n01/images": "n01", "train/n02/images": "n02"}, {"train"}),
    "container": ({"images/cat": "cat", "images/dog": "dog"}, {""}),
    "deep container": ({"devkit/VOC2012/JPEGImages": "root"}, {""}),
    "only a container": ({"photos": "root"}, {""}),
    "wrapper": ({"clothes/hat": "hat", "clothes/dress": "dress"}, {""}),
    "wrappers": ({"home/anna/pets/cat": "cat", "home/anna/pets/dog": "dog"}, {""}),
    "stray beside a wrapper": ({"clothes/hat": "hat", "clothes/dress": "dress", "": ""}, {""}),
    "a class called train": ({"train": "train", "bus": "bus", "car": "car"}, {""}),
    "a class called photos": ({"photos": "photos", "drawings": "drawings"}, {""}),
    "a class called test": ({"test positive": "test positive", "test negative": "test negative"}, {""}),
    "words of other languages": ({"Trainingsdaten/Hund": "Hund", "Testbilder/Hund": "Hund"}, {"train", "test"}),
    "words with accents": ({"entraînement/chat": "chat", "validación/chat": "chat"}, {"train", "validation"}),
    "words without spaces": ({"训练集/猫": "猫", "测试集/猫": "猫", "验证集/猫": "猫"}, {"train", "test", "validation"}),
    "augmented": ({"train/cat": "cat", "train_aug/cat": "cat"}, {"train"}),
    "labeled": ({"labeled/cat": "cat", "unlabeled": ""}, {"labeled", "unlabeled"}),
    "folds behind numbers": ({"0_fold/cat": "cat", "1_fold/dog": "dog"}, {"0_fold", "1_fold"}),
    "pairs with numbers": ({"train_cat_1": "cat_1", "train_cat_2": "cat_2", "test_dog": "dog"}, {"train", "test"}),
    "keys with values": ({"split=train/label=cat": "cat", "split=test/label=dog": "dog"}, {"train", "test"}),
    "samples of a tool": ({"Class 1-samples": "Class 1", "Class 2-samples": "Class 2"}, {""}),
    "one in the other": ({"pets/cat": "cat"}, {""}),
    "a session in a label": ({"cat/2024-01-02": "cat"}, {""}),
    "series": ({"day1/cat": "cat", "day1/dog": "dog", "day2/cat": "cat"}, {""}),
    "parts of several sets": ({"first/train/cat": "cat", "first/val/cat": "cat", "second/train/dog": "dog"}, {"train", "validation"}),
    "forms": ({"original/cat": "cat", "original/dog": "dog", "resized/cat": "cat"}, {""}),
    "sessions of labels": ({"cat/session1": "cat", "cat/session2": "cat", "dog/session1": "dog"}, {""}),
    "numbered classes": ({"Class 1/left": "Class 1", "Class 2/left": "Class 2"}, {""}),
    "kinds of kinds": ({"animal/mammal/cat": "cat", "animal/bird/owl": "owl", "plant/tree/oak": "oak"}, {""}),
    "kinds of kinds by parts": ({"train/animal/mammal/cat": "cat", "train/animal/bird/owl": "owl", "train/plant/tree/oak": "oak", "val/animal/bird/owl": "owl"}, {"train", "validation"}),
    "packed twice": ({"cells/Cells/ill": "ill", "cells/Cells/well": "well", "cells/ill": "ill", "cells/well": "well"}, {""}),
    "parts packed twice": ({"chest/chest/train/ill": "ill", "chest/chest/val/well": "well", "chest/train/ill": "ill", "chest/val/well": "well"}, {"train", "validation"}),
    "photos sorted out": ({"rejected/cat": "rejected", "rejected/dog": "rejected", "cat": "cat", "dog": "dog"}, {""}),
    "photos sorted out of a part": ({"train/wrong/cat": "wrong", "train/wrong/dog": "wrong", "train/cat": "cat", "train/dog": "dog", "test/cat": "cat"}, {"train", "test"}),
    "a copy in a container": ({"data/pets/cat": "cat", "data/pets/dog": "dog", "pets/cat": "cat", "pets/dog": "dog"}, {""}),
    "a folder with one of the folders beside it": ({"cat": "cat", "dog/cat": "dog"}, {""}),
    "a part beside its labels": ({"train/cat": "cat", "train/dog": "dog", "cat": "cat", "dog": "dog"}, {"train", ""}),
    "sets with and without parts": ({"raw512/raw512/ok": "ok", "raw512/raw512/bad": "bad", "parts/parts/train/ok": "ok", "parts/parts/test/bad": "bad"}, {"train", "test", ""}),
    "a doubled part without labels": ({"asl_train/asl_train/A": "A", "asl_train/asl_train/B": "B", "asl_test/asl_test": ""}, {"train", "test"}),
    "sources with a container each": ({f"{source}/images/{label}": label for source in ("shop", "web") for label in ("bike", "mug", "pen")}, {""}),
    "labels with a container for forms": ({"cat/photos/indoor": "cat", "cat/photos/outdoor": "cat", "dog/photos/indoor": "dog", "dog/photos/outdoor": "dog"}, {""}),
    "sources without a container": ({"shop/bike": "shop", "shop/mug": "shop", "web/bike": "web", "web/mug": "web"}, {""}),
    "labels with a container each": ({"cat/images/day1": "cat", "cat/images/day2": "cat", "dog/images/day1": "dog", "dog/images/day2": "dog"}, {""}),
    "an index": ({"sun/a/abbey": "abbey", "sun/a/attic": "attic", "sun/b/bar/indoor": "bar", "sun/b/barn": "barn"}, {""}),
    "an index of many letters": ({"a/ant": "ant", "b/bee": "bee", "o/owl": "owl", "0-9/5-spot ladybird": "5-spot ladybird", "#/12-spot": "12-spot"}, {""}),
    "an index of two letters": ({"Ab/abbey": "abbey", "Ab/abacus": "abacus", "ba/barn": "barn", "ba/bakery": "bakery", "0-9/3d printer": "3d printer"}, {""}),
    "an index of two letters in parts": ({"train/ab/abbey": "abbey", "train/ba/barn": "barn", "train/ch/church": "church", "test/ab/abbey": "abbey", "test/ba/barn": "barn", "test/ch/church": "church"}, {"train", "test"}),
    "letters in two forms": ({"A/a upper": "A", "A/a lower": "A", "B/b upper": "B", "B/b lower": "B", "C/c upper": "C"}, {""}),
    "letters in sessions": ({"train/A/A_1": "A", "train/A/A_2": "A", "train/B/B_1": "B", "train/C/C1": "C"}, {"train"}),
    "letters and persons": ({"A/alice": "A", "B/bob": "B"}, {""}),
    "letters": ({"a/left": "a", "a/right": "a", "b/left": "b"}, {""}),
    "a container beside another folder": ({"data/cat": "cat", "data/dog": "dog", "docs": ""}, {""}),
    "a container of parts beside another folder": ({"data/train/cat": "cat", "data/test/cat": "cat", "notebooks": "notebooks"}, {"train", "test", ""}),
    "classes that are called like what is about a set": ({"docs": "docs", "figures": "figures", "photos": "photos"}, {""}),
    "one's own container": ({"y/my images/cat": "cat", "y/my images/dog": "dog", "y/to sort": "to sort"}, {""}),
    "two kinds of images": ({"rgb/cat": "rgb", "rgb/dog": "rgb", "depth/cat": "depth"}, {""}),
    "containers by suffix": ({"data_large/cat": "cat", "data_large/dog": "dog", "val_large": ""}, {"", "validation"}),
    "labels called photos": ({"original photos": "original photos", "new photos": "new photos"}, {""}),
    "sizes": ({"large": "large", "small": "small"}, {""}),
    "a part to predict": ({"train/cat": "cat", "train/dog": "dog", "test/cat": "cat", "images to predict": ""}, {"train", "test", "unlabeled"}),
    "photos without labels beside labels": ({"cat": "cat", "dog": "dog", "Unlabeled images": ""}, {"", "unlabeled"}),
    "a class called unseen": ({"seen": "seen", "unseen": "unseen"}, {""}),
    "a series of tests": ({"Test 1": "Test 1", "Test 2": "Test 2", "Test 3": "Test 3"}, {""}),
    "shards of a part": ({"train_1": "", "train_2": "", "train_3": "", "val": ""}, {"train", "validation"}),
    "shards of a part alone": ({"train_images_1": "", "train_images_2": "", "train_images_3": ""}, {"train"}),
    "photos without labels in a series": ({"unlabeled 1": "", "unlabeled 2": "", "unlabeled 3": ""}, {"unlabeled"}),
    "years of a part": ({"train2017": "", "train2018": "", "train2019": ""}, {"train"}),
    "layers": ({f"{style}/{label}": label for style in ("art", "cartoon", "photo") for label in ("dog", "elephant", "horse")}, {""}),
    "layers of forms": ({f"raw/{form}/{label}": label for form in ("color", "grayscale") for label in ("ill", "well")}, {""}),
    "layers beside a set": ({"raw/color/ill": "ill", "raw/color/well": "well", "raw/gray/ill": "ill", "raw/gray/well": "well", "made/train/ill": "ill"}, {"", "train"}),
    "views": ({f"{label}/{view}": label for label in ("cat", "dog") for view in ("front", "left", "right")}, {""}),
    "parts for retrieval": ({f"{part}/{label}": label for part in ("train", "query", "gallery") for label in ("ant", "bee")}, {"train", ""}),
    "photos beside parts": ({"train/cat": "cat", "train/dog": "dog", "test/cat": "cat", "papers": ""}, {"train", "test", ""}),
    "photos beside parts without labels": ({"train": "", "test": "", "query": ""}, {"train", "test", ""}),
    "a label beside parts": ({"train/cat": "cat", "train/dog": "dog", "test/cat": "cat", "dog": "dog"}, {"train", "test", ""}),
    "an index with pairs": ({"a/airfield": "airfield", "a/alley": "alley", "c/church/indoor": "church/indoor", "c/church/outdoor": "church/outdoor"}, {""}),
    "a pair without an index": ({"church/indoor": "church", "church/outdoor": "church", "alley": "alley"}, {""}),
    "parts of a download": ({"Takeout-001/Takeout/Google Photos/Cats": "Cats", "Takeout-002/Takeout/Google Photos/Dogs": "Dogs"}, {""}),
    "numbered labels with a container each": ({"class-001/images/left": "class-001", "class-002/images/left": "class-002"}, {""}),
    "photographers": ({f"{label}/{name}": label for label in ("cat", "dog", "cow", "hen", "fox") for name in ("anna", "ben", "carla")}, {""}),
    "a set in two spellings beside a test": ({**{f"{top}/Set/{part}/{label}": label for top in ("Set", "set ") for part in ("train", "val") for label in ("ill", "well")}, "test/test": ""}, {"train", "validation", "test"}),
    "a set in two archives": ({f"{top}/{part}/{label}": label for top in ("cells", "other/cells") for part in ("train", "test") for label in ("ill", "well")}, {"train", "test"}),
    "a set beside a holder": ({**{f"a-master/images/{part}/{label}": label for part in ("TRAIN", "TEST", "TEST_SIMPLE") for label in ("ill", "well")}, "b-master/JPEGImages": ""}, {"train", "test", ""}),
    "a set beside the runs of a program": ({**{f"datasets/pets/{part}/{label}": label for part in ("train", "val") for label in ("cat", "dog")}, "runs/classify/train": ""}, {"train", "validation", ""}),
    "a set beside labels of another one": ({**{f"pets/{part}/{label}": label for part in ("train", "val") for label in ("cat", "dog")}, "plants/rose": "plants", "plants/tulip": "plants", "dog": "dog"}, {"train", "validation", ""}),
    "labels with parts of views": ({**{f"cat/{part}/{view}": "cat" for part in ("train", "test") for view in ("left", "right")}, "dog": "dog"}, {"train", "test", ""}),
    "a whole beside its test": ({"birds_set/crow": "crow", "birds_set/gull": "gull", "my_bird_testset": ""}, {"", "test"}),
    "a whole beside a test of its labels": ({f"{top}/{label}": label for top in ("cat-or-dog", "validation-cat-or-dog") for label in ("cats", "dogs")}, {"", "validation"}),
    "a label beside one called test": ({"passport/front": "passport", "passport/back": "passport", "test": "test"}, {""}),
    "stages of a test": ({"train/crow": "crow", "train/gull": "gull", "test_stg1": "", "test_stg2": ""}, {"train", "test"}),
    "a label called after a part and itself": ({"train/crow": "crow", "train/gull": "gull", "test_gull": "test_gull"}, {"train", ""}),
    "numbered folders of a test": ({"train/crow": "crow", "train/gull": "gull", "test/part0": "", "test/part1": ""}, {"train", "test"}),
    "numbered labels of a test": ({"train/0": "0", "train/1": "1", "test/2": "2"}, {"train", "test"}),
    "other labels in a test": ({"train/crow": "crow", "train/gull": "gull", "test/owl": "owl", "test/hen": "hen"}, {"train", "test"}),
    "more photos of a label": ({"train/type 1": "type 1", "train/type 2": "type 2", "more_type_1/type 1": "type 1", "test/test": ""}, {"train", "test", ""}),
    "persons in both parts": ({f"{part}/{person}/{label}": label for part, persons in (("train", (10, 14, 1002)), ("test", (4930, 5001))) for person in persons for label in ("live", "spoof")}, {"train", "test"}),
    "numbers before labels": ({f"0{person}/0{number}_{label}": f"0{number}_{label}" for person in (0, 1) for number, label in enumerate(("palm", "fist", "thumb"))}, {""}),
    "synsets in layers of layers": ({f"{kind}/{level}/n0144076{number}": f"n0144076{number}" for kind in ("fog", "snow") for level in (1, 2, 3) for number in (4, 5)}, {""}),
    "a label called as a view": ({f"{top}/{label}": label for top in ("city", "harbour") for label in ("adi", "back", "deb", "lym", "muc")}, {""}),
    "numbered views": ({f"{label}/{view}": label for label in ("cat", "dog") for view in ("1_front", "2_left", "3_right")}, {""}),
    "domains with a whole each": ({f"{top}/{part}/{number}": str(number) for top in ("web", "shop") for part in ("train", "test", "full") for number in (0, 1)}, {"train", "test", ""}),
    "evaluation beside validation": ({f"{part}/{label}": label for part in ("training", "validation", "evaluation") for label in ("soup", "rice")}, {"train", "validation", "test"}),
    "evaluation beside training": ({f"{part}/{label}": label for part in ("training", "evaluation") for label in ("soup", "rice")}, {"train", "validation"}),
    "words of more languages": ({"zbiór_treningowy/kot": "kot", "Doğrulama/kot": "kot", "testovací sada/kot": "kot"}, {"train", "validation", "test"}),
    "numbered labels of a test alone": ({"train/crow": "crow", "train/gull": "gull", "test/7": "7"}, {"train", "test"}),
    "prefixes of parts": ({f"{number}.{part}/{part[0]}S_{label}": label for number, part in enumerate(("Training", "Validation")) for label in ("cat", "dog")}, {"train", "validation"}),
    "the same prefix in parts": ({f"{part}/t_{label}": f"t_{label}" for part in ("train", "test") for label in ("cat", "dog")}, {"train", "test"}),
    "prefixes that are no parts": ({"train/a_cat": "a_cat", "train/a_dog": "a_dog", "test/b_cat": "b_cat", "test/b_dog": "b_dog"}, {"train", "test"}),
    "some of several": ({"Photos Part 1 of 2/cat": "cat", "Photos Part 2 of 2/cat": "cat", "Photos Part 2 of 2/dog": "dog"}, {""}),
    "a label in several parts": ({"cat part 1 of 2": "cat", "cat part 2 of 2": "cat", "dog": "dog"}, {""}),
    "split beside a label": ({"train/cat": "cat", "train/dog": "dog", "extra": "extra"}, {"train", ""}),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_labels_and_parts_of_a_tree(name):
    tree, splits = TREES[name]
    images = [(*filter(None, folder.split("/")), f"{number}.jpg") for folder in tree for number in (1, 2)]
    found, notes = folder_labels(images, "root")
    assert [entry.label for entry in found] == [label for label in tree.values() for _ in (1, 2)]
    assert {entry.split for entry in found} == splits
    if "" in tree.values() and name not in {"stray", "stray beside a wrapper"}:
        assert any("no label" in note for note in notes)


def test_names_of_folders_that_are_no_labels_are_said():
    _, notes = folder_labels([("mammal", "cat", "1.jpg"), ("mammal", "dog", "2.jpg"), ("bird", "3.jpg")], "root")
    assert any("“mammal” holds folders of its own (“cat” and “dog”)" in note for note in notes)
    _, notes = folder_labels([(label, "img", "old", "1.jpg") for label in ("apple", "pear")], "root")
    assert any("“apple” holds folders of its own (“old”)" in note for note in notes)
    _, notes = folder_labels([("data", "cat", "1.jpg"), ("data", "2.jpg"), ("docs", "3.jpg")], "root")
    assert notes == [
        "“data” is taken for a holder of images: the sub-folders are labels, not the name.",
        "“docs” lies beside “data”: its photos have no label.",
    ]


def test_forms_of_the_same_photos_beside_a_container_are_no_labels():
    names = [(folder, f"Photo on 0{day}.03.jpg") for folder in ("Pictures", "Originals") for day in (4, 5)]
    found, notes = folder_labels(names, "root")
    assert {entry.label for entry in found} == {"root"}
    assert notes == ["“Originals” and “Pictures” hold the same photos in several forms: they are no labels."]
    found, _ = folder_labels([*names, ("Originals", "Photo on 06.03.jpg")], "root")
    assert {entry.label for entry in found} == {"Pictures", "Originals"}


@pytest.mark.parametrize(
    ("name", "rock", "paper", "copied"),
    [
        ("rps", ["0aP8TqdzF9.png", "1.png"], ["Zr8pQw2bX.png"], True),
        ("rps", ["rock_1.png", "rock_2.png"], ["paper_1.png"], False),
        ("rps-cv-images", ["rock_1.png", "rock_2.png"], ["paper_1.png"], True),
        ("rps-cv-images", ["1.png", "2.png"], ["1.png", "2.png"], False),
        ("rps", ["front_left.png"], ["front_left.png"], False),
    ],
)
def test_a_copy_of_another_name_holds_the_same_files(name, rock, paper, copied):
    files = [("rock", file) for file in rock] + [("paper", file) for file in paper]
    found, notes = folder_labels([*files, *((name, *file) for file in files)], "root")
    assert {entry.label for entry in found} == {"rock", "paper"} | (set() if copied else {name})
    assert any("once more" in note for note in notes) == copied
    found, _ = folder_labels([*files, *((name, *file) for file in files[1:]), (name, "rock", "x.png")], "root")
    assert name in {entry.label for entry in found}


def test_photos_of_an_archive_that_was_packed_twice_come_once(tmp_path):
    for number, label in enumerate(("ill", "well")):
        for place in ("cells", "cells/cells"):
            put(tmp_path / place / label / "1.png", picture(number))
    plan = scan([tmp_path / "cells"])
    assert by_label(plan) == {"ill": ["1.png", "1.png"], "well": ["1.png", "1.png"]}
    counts = plan.counts()
    assert (counts[ItemStatus.NEW], counts[ItemStatus.TWICE]) == (2, 2)
    assert plan.notes[0].startswith("“cells” holds the folders beside it once more (“ill” and “well”)")


@pytest.mark.parametrize("name", ["backup", "copy of pets", "pets (2)", "old", "old/2020-01-01"])
@pytest.mark.parametrize("above", ["", "pets/"])
def test_a_copy_with_counted_names_is_known_by_the_bytes_of_its_photos(tmp_path, name, above):
    for number in range(6):
        place = f"{('cat', 'dog')[number % 2]}/{number // 2}.png"
        put(tmp_path / above / place, picture(number))
        put(tmp_path / name / place, picture(number))
    plan = scan([tmp_path])
    assert {label: len(names) for label, names in by_label(plan).items()} == {"cat": 6, "dog": 6}
    assert plan.counts()[ItemStatus.TWICE] == 6
    assert any("once more (“cat” and “dog”): it is no label" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("name", "above", "labels"),
    [
        ("augmented", "", {"cat", "dog"}),
        ("pets_aug", "pets/", {"cat", "dog"}),
        ("rejected", "", {"cat", "dog", "rejected"}),
        ("toys", "pets/", {"pets", "toys"}),
    ],
)
def test_photos_made_of_others_keep_the_labels_of_their_folders(tmp_path, name, above, labels):
    for number in range(6):
        place = f"{('cat', 'dog')[number % 2]}/{number // 2}.png"
        put(tmp_path / above / place, picture(number))
        put(tmp_path / name / place, picture(number + 6))
    assert set(by_label(scan([tmp_path]))) == labels


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["aardvark_1", "aardwolf_1", "abbey_1", "abacus_1", "barn", "bakery"], {"root"}),
        (["Aardvark", "Aaron", "Abbey", "Abel", "Barn", "Bach"], {"root"}),
        (["3f09c2e1a4", "3f77d0b2c3", "a01b5c2d99", "ff0a1b2c3d4e"], {"root"}),
        (["de_1", "de_2", "fr_1", "fr_2", "it_1", "it_2"], {"de", "fr", "it"}),
        (["de001", "de002", "fr001", "fr002", "it001", "it002"], {"de", "fr", "it"}),
        (["berlin_1", "berlin_2", "hamburg_1", "hamburg_2", "munich_1"], {"be", "ha", "mu"}),
        (["01000123", "01000124", "02000345", "03000346"], {"01", "02", "03"}),
    ],
)
def test_folders_that_sort_photos_by_the_beginnings_of_their_names_are_no_labels(names, labels):
    found, notes = folder_labels([(name[:2].lower(), f"{name}.jpg") for name in names], "root")
    assert {entry.label for entry in found} == labels
    assert any("only an index" in note for note in notes) == ("root" in labels)
    if "root" in labels:
        found, notes = folder_labels([(a, name[:2], f"{name}.jpg") for a in "xyz" for name in names], "root")
        assert len(notes) == 1


@pytest.mark.parametrize(
    "name",
    ["cat copy", "cat - Copy (2)", "cat (1)", "cat 2", "Copy of cat", "cat - Kopie", "cat (Anna's conflicted copy)"],
)
def test_a_copy_of_a_label_is_no_label(tmp_path, name):
    for number in range(2):
        put(tmp_path / "cat" / f"{number}.png", picture(number))
        put(tmp_path / name / f"{number}.png", picture(number))
    put(tmp_path / "dog/1.png", picture(3))
    plan = scan([tmp_path])
    assert {label: len(names) for label, names in by_label(plan).items()} == {"cat": 4, "dog": 1}
    assert plan.notes == [f"“{name}” holds photos of “cat” once more: it is no label."]
    put(tmp_path / name / "other.png", picture(4))
    assert len(by_label(scan([tmp_path]))) == 3


def test_the_photos_of_a_year_give_way_to_albums_and_deleted_ones_stay_out(tmp_path):
    albums = tmp_path / "Takeout/Google Photos"
    for number, place in enumerate(("Cats/1.jpg", "Dogs/1.jpg", "Photos from 2021/3.jpg", "Bin/4.jpg")):
        put(albums / place, picture(number))
    put(albums / "Photos from 2021/1.jpg", picture(0))
    plan = scan([tmp_path])
    assert by_label(plan) == {"": ["1.jpg", "3.jpg"], "cats": ["1.jpg"], "dogs": ["1.jpg"]}
    assert plan.counts()[ItemStatus.TWICE] == 1
    assert "1 photo in “Bin” was deleted: it stays out." in plan.notes
    assert any("2 photos in “Photos from 2021” have no label" in note for note in plan.notes)


def test_a_label_called_trash_stays(tmp_path):
    for number, label in enumerate(("glass", "paper", "trash")):
        put(tmp_path / label / "1.jpg", picture(number))
    assert set(by_label(scan([tmp_path]))) == {"glass", "paper", "trash"}


def test_a_number_spelled_otherwise_in_another_part_is_one_label(tmp_path):
    places = ("train/00014", "train/00003", "test/14", "test/3", "test/100")
    for number, place in enumerate(places):
        put(tmp_path / "signs" / place / "1.png", picture(number))
    plan = scan([tmp_path / "signs"])
    assert {label: len(names) for label, names in by_label(plan).items()} == {"14": 2, "3": 2, "100": 1}
    assert (
        "“00003” is the same number as “3” in another part of the set: one label, and so is 1 more label." in plan.notes
    )
    for number, name in enumerate(("1", "01", "10")):
        put(tmp_path / "coins" / name / "1.png", picture(number))
    assert set(by_label(scan([tmp_path / "coins"]))) == {"1", "01", "10"}


def test_a_label_that_is_too_long_is_said_before_anything_is_sent(tmp_path):
    put(tmp_path / ("x" * 201) / "a.jpg", picture(1))
    put(tmp_path / ("y" * 200) / "b.jpg", picture(2))
    plan = scan([tmp_path])
    long, short = sorted(plan.items, key=lambda item: item.name)
    assert (long.standing, short.standing) == (ItemStatus.NO_LABEL, ItemStatus.NEW)
    assert "201 characters, and 200 is the most" in long.note
    with pytest.raises(ValueError, match="200 is the most"):
        plan.set_label([long], "z" * 201)
    plan.set_label([long], "cat")
    assert long.standing is ItemStatus.NEW


def test_a_path_of_a_thousand_folders_is_read():
    found, _ = folder_labels([("a", "b", *"c" * 1000, "1.jpg"), ("d", "2.jpg")], "root")
    assert [entry.label for entry in found] == ["a", "d"]


def test_an_empty_folder_is_named(tmp_path):
    put(tmp_path / "cat/a.jpg", picture(1))
    (tmp_path / "bird").mkdir()
    assert "“bird” is empty." in scan([tmp_path]).notes


def test_photos_of_a_split_that_get_the_label_they_were_dropped_on_are_not_named(tmp_path):
    put(tmp_path / "train/cat/a.jpg", picture(1))
    put(tmp_path / "test/b.jpg", picture(2))
    plan = scan([tmp_path], default_label="hat")
    assert {item.name: item.label for item in plan.items} == {"a.jpg": "cat", "b.jpg": "hat"}
    assert not any("no label" in note for note in plan.notes)


def test_photos_of_a_split_without_labels_are_named_and_keep_their_part(tmp_path):
    put(tmp_path / "train/cat/a.jpg", picture(1))
    put(tmp_path / "test/b.jpg", picture(2))
    plan = scan([tmp_path])
    assert by_label(plan) == {"": ["b.jpg"], "cat": ["a.jpg"]}
    assert {item.name: item.split for item in plan.items} == {"a.jpg": "train", "b.jpg": "test"}
    assert "1 photo in “test” has no label: the name of a part of a set is none." in plan.notes
    assert plan.notes[-2:] == [
        "1 photo without a label waits under “No label yet”.",
        "The photos keep their split: 1 train, 1 test.",
    ]
    sent = {(upload.name, upload.label, upload.split) for upload in plan.uploads()}
    assert sent == {("a.jpg", "cat", "train"), ("b.jpg", "unlabelled", "test")}
    assert plan.complete
    assert set(by_label(scan([tmp_path / "test"]))) == {""}
    assert set(by_label(scan([tmp_path / "test"], default_label="dog"))) == {"dog"}


def test_a_photo_without_a_label_that_is_there_or_comes_with_one_is_not_sent_again(tmp_path):
    put(tmp_path / "train/cat/a.jpg", picture(1))
    for number, name in enumerate(["same", "there", "waiting", "new", "new_too"]):
        put(tmp_path / "test" / f"{name}.jpg", picture(1 + min(number, 3)))
    there = {hashlib.sha256(picture(2)).hexdigest(): {"dog"}, hashlib.sha256(picture(3)).hexdigest(): {"unlabelled"}}
    notes = {item.name: item.note for item in scan([tmp_path], existing=there).items if not item.label}
    assert notes == {
        "same.jpg": "The same photo comes under “cat”.",
        "there.jpg": "Already under “dog”.",
        "waiting.jpg": "Already under “No label yet”.",
        "new.jpg": "It waits under “No label yet”.",
        "new_too.jpg": "The same photo as “new.jpg”.",
    }
    plan = scan([tmp_path], existing=there)
    plan.set_label([item for item in plan.items if item.name == "waiting.jpg"], "Unlabelled")
    assert [item.label for item in plan.items if item.name == "waiting.jpg"] == [""]


def test_folders_called_by_ids_have_the_names_beside_them(tmp_path):
    put(tmp_path / "train/n01440764/a.jpg", picture(1))
    put(tmp_path / "train/n01443537/b.jpg", picture(2))
    put(tmp_path / "LOC_synset_mapping.txt", b"n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n")
    assert set(by_label(scan([tmp_path]))) == {"tench", "goldfish"}


@pytest.mark.parametrize(
    "clutter",
    [
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "@eaDir",
        "@Recycle",
        "~snapshot",
        ".Trash-1000",
        "RECYCLER",
        "__pycache__",
    ],
)
def test_folders_of_the_system_are_passed_over(tmp_path, clutter):
    put(tmp_path / "cat/a.jpg", picture(1))
    put(tmp_path / "dog/a.jpg", picture(2))
    put(tmp_path / clutter / "b.jpg", picture(3))
    put(tmp_path / "dog" / clutter / "c.jpg", picture(4))
    put(tmp_path / clutter / "files/d.jpg", picture(5))
    plan = scan([tmp_path])
    assert by_label(plan) == {"cat": ["a.jpg"], "dog": ["a.jpg"]} and not plan.notes


@pytest.mark.parametrize("target", ["..", "../..", "../dog", "../dog/deep", ".", "../../set"])
def test_a_link_into_the_tree_adds_nothing_and_is_named(tmp_path, target):
    put(tmp_path / "set/cat/a.jpg", picture(1))
    put(tmp_path / "set/dog/deep/b.jpg", picture(2))
    (tmp_path / "set/cat/link").symlink_to(target)
    plan = scan([tmp_path / "set"])
    assert by_label(plan) == {"cat": ["a.jpg"], "dog": ["b.jpg"]}
    assert any("“cat/link” is a link" in note for note in plan.notes)


def test_a_link_out_of_the_tree_is_followed_once(tmp_path):
    put(tmp_path / "real/a.jpg", picture(1))
    put(tmp_path / "set/cat/b.jpg", picture(2))
    for label in ("cat", "dog"):
        (tmp_path / "set" / label).mkdir(exist_ok=True)
        (tmp_path / "set" / label / "link").symlink_to(tmp_path / "real")
    plan = scan([tmp_path / "set"])
    assert by_label(plan) == {"cat": ["b.jpg", "a.jpg"]}
    assert any("“dog/link” is a link to “real”" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("coded", "label"),
    [
        (b"K\xe4se", "käse"),
        ("Кошки".encode("cp1251"), "кошки"),
        ("Кошки".encode("koi8-r"), "кошки"),
        ("ねこの写真".encode("cp932"), "ねこの写真"),
    ],
)
def test_names_that_are_no_utf8_are_read_in_their_encoding_and_told(tmp_path, coded, label):
    put(tmp_path / "Brot/a.jpg", picture(1))
    put(tmp_path / os.fsdecode(coded) / "b.jpg", picture(2))
    plan = scan([tmp_path])
    assert set(by_label(plan)) == {"brot", label}
    assert any("is no UTF-8" in note for note in plan.notes)
    assert by_label(scan([tmp_path / os.fsdecode(coded)])) == {label: ["b.jpg"]}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("French%20bulldog", "french_bulldog"),
        ("K%C3%A4se", "käse"),
        ("Caf#U00e9", "café"),
        ("#U4e2d#U6587", "中文"),
        ("Fox #L01f98a", "fox"),
    ],
)
def test_escapes_in_names_are_letters_again_and_named(tmp_path, name, label):
    put(tmp_path / "Brot/a.jpg", picture(1))
    put(tmp_path / name / "b.jpg", picture(2))
    plan = scan([tmp_path])
    assert set(by_label(plan)) == {"brot", label}
    assert any(f"“{name}” has escapes and was read as" in note for note in plan.notes)


@pytest.mark.parametrize("name", ["100%", "50%10mm", "%e4%f6", "#Uhu", "#U0041b", "%2Fa"])
def test_what_is_like_an_escape_and_none_stays(tmp_path, name):
    put(tmp_path / "Brot/a.jpg", picture(1))
    put(tmp_path / name / "b.jpg", picture(2))
    plan = scan([tmp_path])
    assert not plan.notes and name in {item.original_label for item in plan.items}


def test_names_in_an_encoding_each_are_read_in_it(tmp_path):
    names = {"кошки": "cp1251", "собаки": "koi8-r", "三毛猫": "cp932", "käse": "cp1252"}
    for number, (name, encoding) in enumerate(names.items()):
        put(tmp_path / os.fsdecode(name.encode(encoding)) / "a.jpg", picture(number))
    plan = scan([tmp_path])
    assert set(by_label(plan)) == names.keys()
    assert all(any(f"“{name}”; rename it if that is wrong" in note for note in plan.notes) for name in names)


@pytest.mark.skipif(os.sep != "/", reason="names with backslashes")
def test_backslashes_in_the_names_of_files_are_folders(tmp_path):
    for number, name in enumerate(("train\\cat\\1.jpg", "train\\dog\\1.jpg", "test\\cat\\1.jpg", "\\2.jpg")):
        put(tmp_path / name, picture(number))
    plan = scan([tmp_path])
    assert {(item.label, item.split) for item in plan.items} == {
        ("cat", "train"),
        ("dog", "train"),
        ("cat", "test"),
        ("", ""),
    }
    assert len(plan.sending()) == 4
    for number, name in enumerate(("1.jpg", "2.jpg", "red\\white.jpg")):
        put(tmp_path / "set/cat" / name, picture(number))
        put(tmp_path / "set/dog" / name, picture(number + 3))
    assert not scan([tmp_path / "set"]).notes


@pytest.mark.parametrize("names", [("C", "C++", "C#"), ("0.5", "0,5", "0_5"), ("+1", "-1"), ("α", "α!"), ("A", "a")])
def test_names_that_become_one_label_are_told(tmp_path, names):
    for number, name in enumerate(names):
        put(tmp_path / name / "a.jpg", picture(number))
    (note,) = scan([tmp_path]).notes
    assert all(f"“{name}”" in note for name in names)
    assert "become one label" in note


def test_many_names_that_become_one_label_are_counted(tmp_path):
    for number in range(10):
        put(tmp_path / "img" / f"{number}.jpg", picture(number))
    rows = "".join(f"img/{number}.jpg,{name}\n" for number, name in enumerate("AaBbCcDdEe"))
    put(tmp_path / "english.csv", f"image,label\n{rows}".encode())
    assert len(scan([tmp_path]).notes) == 4
    assert scan([tmp_path]).notes[-1] == "So it is with 2 more labels."


def test_a_name_that_becomes_a_label_that_is_there_is_told(tmp_path):
    put(tmp_path / "C++/a.jpg", picture(1))
    put(tmp_path / "T-Shirt/b.jpg", picture(2))
    plan = scan([tmp_path], labels_there=["c", "t_shirt"])
    (note,) = plan.notes
    assert "“C++” goes to the label “c”, which is there" in note
    plan.set_existing({}, [])
    assert not plan.notes
    plan.rename_label("t_shirt", "C#")
    assert "“C#” and “C++” become one label" in plan.notes[0]


def test_other_spellings_of_one_name_are_not_told(tmp_path):
    for number, name in enumerate(("T-Shirt", "t_shirt", "T Shirt")):
        put(tmp_path / name / "a.jpg", picture(number))
    assert not scan([tmp_path]).notes


def test_a_name_that_can_be_no_label_waits_for_one(tmp_path):
    put(tmp_path / "++/a.jpg", picture(1))
    put(tmp_path / "cat/b.jpg", picture(2))
    item = next(item for item in scan([tmp_path]).items if item.name == "a.jpg")
    assert item.standing is ItemStatus.NO_LABEL


@pytest.mark.parametrize(
    ("root", "places", "labels"),
    [
        ("DCIM", ["100APPLE/a.jpg", "101APPLE/b.jpg", "202311__/c.jpg"], ["DCIM", "DCIM", "DCIM"]),
        ("Phone", ["DCIM/100_PANA/a.jpg", "DCIM/101_PANA/b.jpg"], ["Phone", "Phone"]),
        ("DCIM", ["100APPLE/a.jpg", "Hats/b.jpg"], ["", "Hats"]),
        ("set", ["101birds/a.jpg", "102foxes/b.jpg"], ["101birds", "102foxes"]),
    ],
)
def test_the_folders_that_a_camera_fills_one_after_the_other_are_no_labels(root, places, labels):
    found, _ = folder_labels([tuple(place.split("/")) for place in places], root)
    assert [entry.label for entry in found] == labels
