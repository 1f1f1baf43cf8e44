import base64
import bz2
import gzip
import io
import lzma
import os
import shutil
import socket
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from apitorch_desktop.api.types import TrainingImage
from apitorch_desktop.dataset.importer.plan import (
    ImageBytes,
    ItemStatus,
    Plan,
    PlanItem,
    existing_of,
    scan,
    suggested_name,
)
from apitorch_desktop.dataset.importer.scanner import OFFERED_SUFFIXES, FileSelection
from apitorch_desktop.dataset.sources import archives
from apitorch_desktop.dataset.sources.image_source import ArchiveMember, ImageFile, ImageUrl
from apitorch_desktop.utils.text import natural, shown


def picture(seed=0, form="JPEG", size=(24, 16)):
    stream = io.BytesIO()
    Image.new("RGB", size, (seed * 16 % 256, seed // 16 * 16 % 256, 99)).save(stream, form)
    return stream.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def by_label(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in plan.items:
        found.setdefault(item.label, []).append(item.name)
    return found


PACKINGS = {".zip": "zip", ".cbz": "zip", ".tar": "tar", ".tar.gz": "gztar", ".tbz2": "bztar", ".txz": "xztar"}
TEXTS = {
    ".csv": "file,label\n{0},hat\n", ".tsv": "file\tlabel\n{0}\that\n", ".lst": "0\t1\t{0}\n",
    ".jsonl": '{{"file": "{0}", "label": "hat"}}\n', ".ndjson": '{{"file": "{0}", "label": "hat"}}\n',
    ".json": '[{{"file": "{0}", "label": "hat"}}]', ".txt": "{0} hat\n", ".manifest": '{{"source-ref": "{0}", "label": "hat"}}\n',
    ".xml": "<annotation><filename>{0}</filename><object><name>hat</name></object></annotation>",
}  # fmt: skip


@pytest.mark.parametrize("suffix", [*PACKINGS, *TEXTS, ".csv.gz", ".jpg"])
def test_a_dialog_offers_what_is_read_and_names_the_set_without_the_suffix(tmp_path, suffix):
    photo = put(tmp_path / "hat/a.jpg", picture(1))
    path = tmp_path / f"Summer 1.5{suffix}"
    if suffix in PACKINGS:
        shutil.make_archive(str(tmp_path / "packed"), PACKINGS[suffix], tmp_path, "hat")
        next(tmp_path.glob("packed.*")).rename(path)
    elif suffix in TEXTS:
        put(path, TEXTS[suffix].format("hat/a.jpg").encode())
    else:
        put(path, gzip.compress(b"file,label\nhat/a.jpg,hat\n") if suffix == ".csv.gz" else photo.read_bytes())
    assert len(scan([path]).sending()) == 1
    assert path.suffix in OFFERED_SUFFIXES
    assert suggested_name(path) == ("" if suffix == ".jpg" else "Summer 1.5")


# --- folders


def test_sub_folders_become_labels_and_deeper_levels_belong_to_them(tmp_path):
    put(tmp_path / "T-Shirt/a.jpg", picture(1))
    put(tmp_path / "T-Shirt/from 2019/deep/b.jpg", picture(2))
    put(tmp_path / "t_shirt/c.jpg", picture(3))
    put(tmp_path / "Hüte/d.jpg", picture(4))
    plan = scan([tmp_path])
    assert by_label(plan) == {"hüte": ["d.jpg"], "t_shirt": ["a.jpg", "b.jpg", "c.jpg"]}
    label = next(label for label in plan.labels() if label.label == "t_shirt")
    assert set(label.spelled) == {"T-Shirt", "t_shirt"}
    assert (label.sending, label.staying, label.exists) == (3, 0, False)
    item = plan.items[0]
    assert (item.width, item.height, item.size) == (24, 16, len(picture(4)))


def test_a_folder_of_pictures_only_is_one_label(tmp_path):
    put(tmp_path / "My Hats/a.jpg", picture())
    assert set(by_label(scan([tmp_path / "My Hats"]))) == {"my_hats"}
    assert set(by_label(scan([tmp_path / "My Hats"], default_label="caps"))) == {"caps"}


def test_files_picked_out_of_a_folder_are_labeled_as_in_it(tmp_path, monkeypatch):
    for number, name in enumerate(("hat/a.jpg", "hat/b.jpg", "coat/new/c.jpg", "coat/d.jpg", "notes/list.txt")):
        put(tmp_path / "set" / name, picture(number) if name.endswith("jpg") else b"Dear diary,")
    monkeypatch.chdir(tmp_path / "set" / "hat")
    picked = ("a.jpg", "../coat/new/c.jpg", "../coat/d.jpg", str(tmp_path / "set" / "notes" / "list.txt"), "gone.jpg")
    plan = scan([FileSelection(tuple(map(Path, picked)))])
    sent = [(item.label, item.name) for item in plan.sending()]
    assert sorted(sent) == [("coat", "c.jpg"), ("coat", "d.jpg"), ("hat", "a.jpg")]
    assert [item.source.path for item in plan.items if item.name == "c.jpg"] == [Path("../coat/new/c.jpg")]
    assert {item.name for item in plan.items if item.problem} == {"gone.jpg"}
    assert not plan.complete and "list.txt" in plan.notes[0]
    assert by_label(scan([FileSelection((Path("a.jpg"), Path("b.jpg")))])) == {"hat": ["a.jpg", "b.jpg"]}
    whole = by_label(scan([FileSelection((Path("../coat/new"), Path("a.jpg")))]))
    assert whole == {"new": ["c.jpg"], "hat": ["a.jpg"]}


def test_one_photo_under_several_labels_is_said(tmp_path):
    for place in ("cat/a.jpg", "dog/b.jpg", "dog/c.jpg"):
        put(tmp_path / place, picture(1))
    plan = scan([tmp_path])
    assert plan.notes == ["1 photo comes under several labels: “a.jpg” is under “cat” and “dog”."]
    plan.set_label([item for item in plan.items if item.label == "dog"], "cat")
    assert not plan.notes


def test_a_picture_beside_label_folders_waits_for_a_label(tmp_path):
    put(tmp_path / "hat/a.jpg", picture(1))
    put(tmp_path / "loose.jpg", picture(2))
    plan = scan([tmp_path])
    loose = next(item for item in plan.items if item.name == "loose.jpg")
    assert loose.standing is ItemStatus.WAITING
    assert loose.note == "It waits under “No label yet”."
    assert {(upload.label, upload.name) for upload in plan.uploads()} == {("hat", "a.jpg"), ("unlabelled", "loose.jpg")}
    assert plan.labels()[-1].label == ""
    plan.set_label([loose], "Scarf!")
    assert (loose.label, loose.standing) == ("scarf", ItemStatus.NEW)
    assert len(plan.uploads()) == 2


def test_the_parts_of_a_split_are_no_labels(tmp_path):
    for number, part in enumerate(["train", "Validation", "test"]):
        put(tmp_path / part / "cat/a.jpg", picture(number))
        put(tmp_path / part / "dog/b.jpg", picture(number + 10))
    plan = scan([tmp_path])
    assert set(by_label(plan)) == {"cat", "dog"}
    assert "parts of one set" in plan.notes[0]
    assert plan.complete


def test_a_wrapping_folder_is_no_label(tmp_path):
    put(tmp_path / "clothes/hat/a.jpg", picture(1))
    put(tmp_path / "clothes/dress/b.jpg", picture(2))
    assert set(by_label(scan([tmp_path]))) == {"dress", "hat"}
    put(tmp_path / "shoes/c.jpg", picture(3))
    assert set(by_label(scan([tmp_path]))) == {"clothes", "shoes"}


def test_a_single_label_with_folders_in_it_is_a_label(tmp_path):
    put(tmp_path / "cats/2019/a.jpg", picture(1))
    assert set(by_label(scan([tmp_path]))) == {"cats"}


def test_a_folder_that_cannot_be_a_label_says_so(tmp_path):
    put(tmp_path / "🦓/a.jpg", picture(1))
    put(tmp_path / "ok/b.jpg", picture(2))
    item = next(item for item in scan([tmp_path]).items if not item.label)
    assert item.standing is ItemStatus.NO_LABEL
    assert "🦓" in item.note
    assert item.original_label == "🦓"


def test_what_is_no_picture_is_passed_over_and_named_unless_it_was_asked_for(tmp_path):
    put(tmp_path / "hat/a.jpg", picture(1))
    put(tmp_path / "hat/no-suffix", picture(2, "PNG"))
    put(tmp_path / "hat/initials", b"BM are my initials, and this is no bitmap")
    notes = put(tmp_path / "hat/notes.rst", b"Hats, mostly.")
    plan = scan([tmp_path])
    assert [item.name for item in plan.items] == ["a.jpg", "no-suffix"]
    assert plan.ignored == ["hat/initials", "hat/notes.rst"]
    assert plan.complete
    asked = scan([notes], default_label="x").items[0]
    assert asked.standing is ItemStatus.PROBLEM
    assert "not an image" in asked.problem


def test_clutter_is_not_even_mentioned(tmp_path):
    put(tmp_path / "hat/a.jpg", picture(1))
    for name in [".thumbnails/x.jpg", "__MACOSX/a.jpg", "hat/Thumbs.db", "hat/._a.jpg", ".DS_Store"]:
        put(tmp_path / name, picture(2))
    plan = scan([tmp_path])
    assert len(plan.items) == 1
    assert not plan.ignored and not plan.notes


def test_images_of_kinds_that_are_not_read_are_named_once_for_each_kind(tmp_path):
    put(tmp_path / "set/hat/a.jpg", picture(1))
    for number in range(3):
        put(tmp_path / f"set/hat/IM00000{number}", bytes(128) + b"DICM" + bytes([number]) * 300)
    put(tmp_path / "set/figures/plot.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n")
    put(tmp_path / "set/values.bin", bytes(16) + b"\x08" + bytes(300))
    with zipfile.ZipFile(tmp_path / "set/hdr.zip", "w") as archive:
        archive.writestr("light.exr", b"\x76\x2f\x31\x01" + bytes(300))
    plan = scan([tmp_path / "set"])
    assert [(item.label, item.name) for item in plan.items] == [("hat", "a.jpg")]
    notes = [note for note in plan.notes if "cannot be read here" in note]
    assert len(notes) == 3
    assert any("3 files, such as “IM000000”" in note and "DICOM" in note for note in notes)
    assert any("“light.exr” is an OpenEXR image" in note for note in notes)
    assert any("“plot.eps” is a PostScript file" in note for note in notes)


def test_a_photo_that_git_annex_has_not_fetched_is_named(tmp_path):
    put(tmp_path / "set/hat/a.jpg", picture(1))
    gone = tmp_path / "set/hat/gone.jpg"
    gone.symlink_to("../.git/annex/objects/Zk/4w/SHA256E-s20--0.jpg/SHA256E-s20--0.jpg")
    put(tmp_path / "set/hat/pointer.jpg", b"/annex/objects/SHA256E-s20--0.jpg\n")
    for dropped in (tmp_path / "set", gone):
        problems = {item.name: item.problem for item in scan([dropped]).items if item.problem}
        assert all("git annex get" in problem for problem in problems.values())
        assert "gone.jpg" in problems


def test_links_are_followed_but_loops_end(tmp_path):
    put(tmp_path / "real/a.jpg", picture(1))
    (tmp_path / "set/hat").mkdir(parents=True)
    (tmp_path / "set/hat/linked.jpg").symlink_to(tmp_path / "real/a.jpg")
    (tmp_path / "set/hat/again").symlink_to(tmp_path / "set")
    (tmp_path / "set/same").symlink_to(tmp_path / "real")
    (tmp_path / "set/hat/self.jpg").symlink_to("self.jpg")
    (tmp_path / "set/hat/gone.jpg").symlink_to("nowhere.jpg")
    plan = scan([tmp_path / "set"])
    problems = {item.name: item.problem for item in plan.items if item.problem}
    assert set(problems) == {"self.jpg", "gone.jpg"}
    assert "leads nowhere" in problems["gone.jpg"]
    good = [(item.label, item.name) for item in plan.items if not item.problem]
    assert ("hat", "linked.jpg") in good
    assert ("same", "a.jpg") in good
    assert len(good) < 10


def test_pipes_sockets_and_devices_are_never_opened(tmp_path):
    put(tmp_path / "hat/a.jpg", picture(1))
    os.mkfifo(tmp_path / "hat/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "hat/s.png"))
        (tmp_path / "hat/zero.jpg").symlink_to("/dev/zero")
        plan = scan([tmp_path, Path("/dev/zero")])
    assert plan.counts()[ItemStatus.NEW] == 1
    assert [item.name for item in plan.items if "no ordinary file" in (item.problem or "")] == [
        "pipe.jpg",
        "s.png",
        "zero.jpg",
        "zero",
    ]


def test_what_cannot_be_opened_does_not_stop_the_rest(tmp_path):
    put(tmp_path / "hat/a.jpg", picture(1))
    (tmp_path / "loop").symlink_to("loop")
    plan = scan([tmp_path / "nowhere", tmp_path / "loop", tmp_path / "hat", Path("a\0b")])
    assert plan.counts()[ItemStatus.NEW] == 1
    assert plan.counts()[ItemStatus.PROBLEM] == 3
    assert "No such file" in plan.items[0].problem


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs another user")
def test_a_folder_of_somebody_else_is_named(tmp_path):
    put(tmp_path / "hat/a.jpg", picture(1))
    locked = tmp_path / "locked"
    put(locked / "b.jpg", picture(2))
    locked.chmod(0)
    tmp_path.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        for folder in [tmp_path, *tmp_path.parents][:4]:
            folder.chmod(0o755)
        os.seteuid(65534)
    try:
        plan = scan([tmp_path])
    finally:
        if root:
            os.seteuid(0)
        locked.chmod(0o700)
    assert plan.counts()[ItemStatus.NEW] == 1
    assert not plan.complete
    assert any("“locked” cannot be opened" in note for note in plan.notes)


ODD_NAMES = [
    b"two words.jpg",
    b"quo\"te's.jpg",
    "emoji 🦓.jpg".encode(),
    b"line\nbreak.jpg",
    b"x" * 251 + b".jpg",
    b"not utf-8 \xff\xfe.jpg",
    b"-rf.jpg",
    "right‮to left.jpg".encode(),
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=[str(number) for number in range(len(ODD_NAMES))])
def test_any_name_is_read_and_can_be_shown_in_one_line(tmp_path, name):
    (tmp_path / "hat").mkdir()
    Path(os.fsdecode(bytes(tmp_path) + b"/hat/" + name)).write_bytes(picture(1))
    plan = scan([tmp_path])
    (item,) = plan.items
    assert item.standing is ItemStatus.NEW
    assert isinstance(item.source, ImageFile)
    assert os.fsencode(item.source.path.name) == name
    assert item.name.isprintable()
    item.name.encode()


@given(st.binary(min_size=1, max_size=60))
def test_whatever_bytes_a_name_has_it_is_shown_in_one_printable_line(name):
    assert shown(os.fsdecode(name)).isprintable()
    shown(os.fsdecode(name)).encode()


# --- bad pictures


def bomb_png(width=60_000, height=60_000):
    """A header that promises 3.6 gigapixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def test_bad_pictures_are_named_with_the_reason_and_the_rest_goes_on(tmp_path):
    put(tmp_path / "hat/good.jpg", picture(1))
    put(tmp_path / "hat/empty.jpg", b"")
    put(tmp_path / "hat/text.jpg", b"I am a letter.")
    put(tmp_path / "hat/bomb.png", bomb_png())
    with (tmp_path / "hat/huge.jpg").open("wb") as file:
        file.write(picture(2))
        file.truncate(33 * 2**20)
    plan = scan([tmp_path])
    assert [item.name for item in plan.sending()] == ["good.jpg"]
    reasons = {item.name: item.problem for item in plan.items if item.problem}
    assert "empty" in reasons["empty.jpg"]
    assert "not an image" in reasons["text.jpg"]
    assert "megapixels" in reasons["bomb.png"]
    assert "33.0 MiB" in reasons["huge.jpg"]


def test_a_picture_turned_by_exif_has_its_size_as_shown(tmp_path):
    image = Image.new("RGB", (30, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    (item,) = scan([tmp_path]).items
    assert (item.width, item.height) == (10, 30)


# --- what is there already


def test_the_same_bytes_are_found_wherever_they_are(tmp_path):
    put(tmp_path / "hat/there.jpg", picture(1))
    put(tmp_path / "hat/elsewhere.jpg", picture(2))
    put(tmp_path / "hat/one.jpg", picture(3))
    put(tmp_path / "hat/two.jpg", picture(3))
    put(tmp_path / "dress/three.jpg", picture(3))
    first = scan([tmp_path])
    digests = {item.name: item.sha256 for item in first.items}
    existing = {digests["there.jpg"]: {"hat"}, digests["elsewhere.jpg"]: {"shoes"}}
    plan = scan([tmp_path], existing=existing)
    standing = {item.name: item.standing for item in plan.items}
    assert standing == {
        "there.jpg": ItemStatus.THERE,
        "elsewhere.jpg": ItemStatus.OTHER_LABEL,
        "one.jpg": ItemStatus.OTHER_LABEL,
        "two.jpg": ItemStatus.TWICE,
        "three.jpg": ItemStatus.OTHER_LABEL,
    }
    notes = {item.name: item.note for item in plan.items}
    assert "“shoes”" in notes["elsewhere.jpg"]
    assert "“one.jpg”" in notes["two.jpg"]
    assert "“dress”" in notes["one.jpg"]
    assert {label.label: label.exists for label in plan.labels()} == {"hat": True, "dress": False}


def test_what_is_set_right_in_the_plan_changes_how_everything_stands(tmp_path):
    put(tmp_path / "hat/one.jpg", picture(3))
    put(tmp_path / "dress/three.jpg", picture(3))
    plan = scan([tmp_path])
    dress, hat = plan.items
    assert hat.standing is ItemStatus.OTHER_LABEL
    plan.rename_label("dress", "Hat")
    assert (dress.standing, hat.standing) == (ItemStatus.NEW, ItemStatus.TWICE)
    plan.set_included([dress], False)
    assert (dress.standing, hat.standing) == (ItemStatus.LEFT_OUT, ItemStatus.NEW)
    plan.set_included([dress], True)
    plan.set_similar({0: "“old.jpg” under “hat”"})
    assert dress.standing is ItemStatus.SIMILAR
    assert plan.bytes_to_send() == dress.size
    with pytest.raises(ValueError, match="no letter and no digit"):
        plan.set_label([dress], "…")
    assert dress.label == "hat"


def test_existing_is_read_off_a_listing():
    images = [
        TrainingImage(filename="a.jpg", url="", label="hat", sha256="1"),
        TrainingImage(filename="b.jpg", url="", label="dress", sha256="1"),
        TrainingImage(filename="c.jpg", url=""),
    ]
    assert existing_of(images) == {"1": {"hat", "dress"}}


# --- text, pictures, lists


def test_pasted_text_gives_addresses_paths_and_says_what_it_is_not(tmp_path):
    path = put(tmp_path / "a b.jpg", picture(1))
    coded = base64.b64encode(picture(2)).decode()
    text = (
        f"https://example.com/x/zebra%20one.jpg?size=2\n  see http://example.org/b.png.\n{path}\n{path.as_uri()}\n"
        f"data:image/jpeg;base64,{coded}\nftp://old.example/a.jpg\nhello"
    )
    plan = scan([text], default_label="hat")
    assert [item.source.url for item in plan.items if isinstance(item.source, ImageUrl)] == [
        "https://example.com/x/zebra%20one.jpg?size=2",
        "http://example.org/b.png",
    ]
    assert [item.name for item in plan.items] == ["zebra one.jpg", "b.png", "a b.jpg", "a b.jpg", "picture.jpg"]
    assert [item.standing for item in plan.items][3] is ItemStatus.TWICE
    assert len([note for note in plan.notes if "neither a web address nor a file" in note]) == 2
    assert not plan.complete


def test_the_same_address_twice_is_one_upload():
    plan = scan(["https://e.org/a.jpg\nhttps://e.org/a.jpg"], default_label="hat")
    assert [item.standing for item in plan.items] == [ItemStatus.NEW, ItemStatus.TWICE]


def test_a_picture_from_memory_needs_a_label_first_where_there_is_no_inbox():
    dropped = [ImageBytes(picture(1), "clip\nboard.png"), ImageBytes(b"", "nothing")]
    assert [item.standing for item in scan(dropped).items] == [ItemStatus.WAITING, ItemStatus.PROBLEM]
    plan = scan(dropped, inbox=False)
    assert [item.standing for item in plan.items] == [ItemStatus.NO_LABEL, ItemStatus.PROBLEM]
    assert plan.items[0].name == "clip␊board.png"
    plan.set_label(plan.items, "hat")
    assert [upload.source for upload in plan.uploads()] == [ImageBytes(picture(1), "clip\nboard.png")]


LISTS = {
    "a.csv": "file_name,label\nhat 1.jpg,Hat\nsub/d.jpg,dress\nhttps://e.org/u.jpg,hat\n",
    "b.csv": "\ufeffLabel;Path\nHat;hat 1.jpg\ndress;sub/d.jpg\nhat;https://e.org/u.jpg\n",
    "c.csv": "hat 1.jpg,Hat\nsub/d.jpg,dress\nhttps://e.org/u.jpg,hat\n",
    "d.tsv": "image\tclass\nhat 1.jpg\tHat\nsub\\d.jpg\tdress\nhttps://e.org/u.jpg\that\n",
    "e.jsonl": '{"file_name": "hat 1.jpg", "label": "Hat"}\n\n{"image": {"path": "sub/d.jpg"}, "labels": ["dress"]}\n'
    '{"url": "https://e.org/u.jpg", "category": "hat"}\n',
    "f.json": '[{"image": "hat 1.jpg", "annotations": [{"label": "Hat", "coordinates": {}}]}, '
    '{"image": "sub/d.jpg", "annotation": "dress"}, {"image_url": "https://e.org/u.jpg", "class_name": "hat"}]',
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_paths_and_addresses_bring_their_labels(tmp_path, name):
    put(tmp_path / "hat 1.jpg", picture(1))
    put(tmp_path / "sub/d.jpg", picture(2))
    put(tmp_path / name, LISTS[name].encode())
    plan = scan([tmp_path / name])
    assert not plan.notes
    assert [(item.label, item.name, item.problem) for item in plan.items] == [
        ("hat", "hat 1.jpg", None),
        ("dress", "d.jpg", None),
        ("hat", "u.jpg", None),
    ]


def test_a_list_names_what_it_misses_and_what_it_cannot_mean(tmp_path):
    listed = put(tmp_path / "l.csv", b"path,label\ngone.jpg,hat\n/dev/zero,hat\n" + b"x" * 300 + b".jpg,hat\n")
    plan = scan([listed])
    assert plan.counts()[ItemStatus.PROBLEM] == 3
    for name, content in {"a.json": b"[1, ", "b.jsonl": b'{"x": 1}\n', "c.csv": b"", "d.csv": b"one\ntwo\n"}.items():
        plan = scan([put(tmp_path / name, content)])
        assert not plan.items
        assert not plan.complete
        assert f"“{name}”" in plan.notes[0]


def test_a_hugging_face_folder_is_labelled_by_its_metadata(tmp_path):
    put(tmp_path / "train/1.jpg", picture(1))
    put(tmp_path / "train/2.jpg", picture(2))
    put(
        tmp_path / "train/metadata.jsonl",
        b'{"file_name": "1.jpg", "label": "Cat"}\n{"file_name": "2.jpg", "label": "dog"}',
    )
    plan = scan([tmp_path])
    assert {item.name: item.label for item in plan.items} == {"1.jpg": "cat", "2.jpg": "dog"}
    assert not plan.ignored


# --- archives


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


MEMBERS = {"set/hat/1.jpg": picture(1), "set/hat/deep/2.jpg": picture(2), "set/Dress/3.png": picture(3, "PNG")}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "no suffix"])
def test_archives_are_read_in_place(tmp_path, name):
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(name.rpartition(".")[2], "w")
    path = write_zip(tmp_path / name, MEMBERS) if name.endswith("zip") else write_tar(tmp_path / name, MEMBERS, mode)
    plan = scan([path])
    assert by_label(plan) == {"hat": ["1.jpg", "2.jpg"], "dress": ["3.png"]}
    assert plan.sending()
    opened = archives.Archives()
    for item in reversed(plan.items):  # also against the order in the file
        assert isinstance(item.source, ArchiveMember)
        assert opened.read(path, item.source.name, 2**20) == MEMBERS[item.source.name]
    opened.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_nothing_in_an_archive_leads_out_of_it(tmp_path):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in {"../../hat/a.jpg": picture(1), "/etc/dress/b.jpg": picture(2)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("hat/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        device = tarfile.TarInfo("hat/device.jpg")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    plan = scan([path, write_zip(tmp_path / "e.zip", {"..\\..\\hat\\c.jpg": picture(3), "C:/dress/d.jpg": picture(4)})])
    assert [item.name for item in plan.items] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert {item.label for item in plan.items} <= {"hat", "etc", "dress"}


def test_bombs_end_early(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LEAST_BUDGET", 3 * 2**20)
    pad = b"\0" * 2**20
    bomb = {f"hat/{number}.bmp": picture(number, "BMP") + pad for number in range(40)}
    for path in (write_zip(tmp_path / "b.zip", bomb), write_tar(tmp_path / "b.tar.gz", bomb, "w:gz")):
        plan = scan([path])
        assert 0 < len(plan.items) < 5
        assert not plan.complete
        assert "unpacks to far more" in plan.notes[0]
    for opener, name in ((gzip.open, "x.gz"), (bz2.open, "x.bz2"), (lzma.open, "x.xz")):
        with opener(tmp_path / name, "wb") as file:
            file.write(b"\0" * 300 + b"ustar" + b"\0" * (40 * 2**20))
        assert not scan([tmp_path / name]).sending()


def test_members_that_are_too_large_encrypted_or_damaged_are_named(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {"hat/1.jpg": picture(1), "hat/2.jpg": picture(2)}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(picture(2)) + 20] ^= 0xFF
    path.write_bytes(data)
    plan = scan([path])
    assert plan.items[0].problem is None
    assert "cannot be unpacked" in plan.items[1].problem
    huge = write_zip(tmp_path / "h.zip", {"hat/1.bmp": b"BM" + b"\0" * (33 * 2**20)})
    assert "33.0 MiB" in scan([huge]).items[0].problem
    lying = bytearray(huge.read_bytes())
    where = lying.rindex(b"PK\x01\x02") + 24
    lying[where : where + 4] = struct.pack("<I", 100)
    assert scan([put(tmp_path / "l.zip", bytes(lying))]).items[0].problem
    for name, content in {
        "half.zip": path.read_bytes()[:300],
        "half.tar.gz": gzip.compress(b"\0" * 257 + b"ustar" * 99),
    }.items():
        plan = scan([put(tmp_path / name, content)], default_label="x")
        assert not plan.sending()
        assert plan.notes or plan.items[0].problem


# --- the scan itself


def test_progress_is_told_and_cancelling_keeps_what_was_found(tmp_path):
    for number in range(30):
        put(tmp_path / f"hat/{number}.jpg", picture(number))
    seen = []
    plan = scan([tmp_path], progress=seen.append)
    assert seen[-1].read == seen[-1].total == 30
    assert plan.complete
    calls = iter([False] * 12 + [True] * 1000)
    stopped = scan([tmp_path], cancelled=lambda: next(calls))
    assert not stopped.complete
    assert len(stopped.sending()) < 30


def test_names_sort_as_people_do():
    assert sorted(["a10.jpg", "a2.jpg", "B1.jpg", "²"], key=natural)[:3] == ["a2.jpg", "a10.jpg", "B1.jpg"]


def test_ten_thousand_items_are_judged_at_once():
    from time import thread_time

    items = [
        PlanItem("hat", "hat", ImageFile(Path(f"{n}.jpg")), f"{n}.jpg", 1, None, f"{n % 9000:064}")
        for n in range(10_000)
    ]
    begun = thread_time()
    plan = Plan(items)
    plan.set_label(items[:5], "dress")
    assert thread_time() - begun < 2
    assert plan.counts()[ItemStatus.TWICE] > 900


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), max_size=12))
def test_no_label_ever_gets_the_same_bytes_twice(rows):
    items = [
        PlanItem(label, label, ImageFile(Path("f")), "f", 1, None, digest, included=kept)
        for label, digest, kept in rows
    ]
    sent = [(item.label, item.sha256) for item in Plan(items, existing={"x": {"a"}}).sending()]
    assert len(sent) == len(set(sent))
    assert ("a", "x") not in sent
    assert set(sent) == {(label, digest) for label, digest, kept in rows if kept} - {("a", "x")}
