"""What lies among the photos of phones, cameras, programs and clouds: it is no photo, no list and no label."""

import gzip
import io
import json
import os
import zipfile

import pytest
from PIL import Image

from apitorch_desktop.dataset.importer.companions import companion_kind, folders_of_user
from apitorch_desktop.dataset.importer.plan import ItemStatus, scan
from apitorch_desktop.dataset.importer.scanner import FileSelection
from tests.helpers.image_samples import raw_photo, saved, scene

MOV = b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0\0\x08wide" + bytes(64)
AAE = b'<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict/></plist>'
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"><dc:subject>'
    b"<rdf:Bag><rdf:li>red</rdf:li></rdf:Bag></dc:subject><lr:hierarchicalSubject><rdf:Bag><rdf:li>clothes|red</rdf:li>"
    b"</rdf:Bag></lr:hierarchicalSubject></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.fixture
def made(tmp_path):
    """`made({path: bytes or None for a photo})`: a folder of these files."""
    count = iter(range(1000))

    def make(files, name="set"):
        for place, data in files.items():
            path = tmp_path / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(next(count)) if data is None else data)
        return tmp_path / name

    return make


def photo(seed, size=(24, 16)):
    return saved(Image.new("RGB", size, (seed * 16 % 256, seed // 16 * 16 % 256, 99)), "JPEG")


def sent(plan):
    return {(item.label, item.name) for item in plan.sending()}


def test_films_and_sidecars_of_phones_and_cameras_stay_out_and_are_counted(made):
    folder = made({
        "hat/IMG_1.JPG": None, "hat/IMG_1.MOV": MOV, "hat/IMG_1.AAE": AAE, "hat/IMG_1.xmp": XMP, "hat/IMG_1.JPG.xmp": XMP,
        "coat/PXL_2.MP.jpg": None, "coat/PXL_2.MP": MOV, "coat/GOPR3.THM": photo(500), "coat/a.dng.cot": photo(501),
        "coat/b.jpg.part": photo(502)[:80], "coat/c.jpg.lnk": b"L\0\0\0", "coat/Picasa.ini": b"[a.jpg]\nkeywords=red",
        "coat/._PXL_2.MP.jpg": b"\0\x05\x16\x07", "coat/.DS_Store": b"\0\0\0\1Bud1", "coat/@eaDir/a.jpg/T.jpg": None,
        "coat/.@__thumb/d.jpg": None,
    })  # fmt: skip
    plan = scan([folder])
    assert sent(plan) == {("hat", "IMG_1.JPG"), ("coat", "PXL_2.MP.jpg")}
    assert plan.complete and len(plan.items) == 2
    assert plan.notes == [
        "2 films (MOV, MP), 1 shortcut (LNK), 5 sidecars (AAE, COT, THM, XMP) and 1 unfinished download (PART) are no photos "
        "and stay out. The keywords in XMP files are not read."
    ]
    assert len(plan.ignored) == 9
    assert scan([folder / "coat/GOPR3.THM"]).counts()[ItemStatus.WAITING] == 1  # asked for by name


def test_what_a_program_kept_of_a_photo_that_it_wrote_anew_stays_out(made):
    before = photo(600)
    folder = made({
        "hat/IMG_1.jpg": None, "hat/IMG_1.jpg_original": before, "hat/IMG_2.jpg": None, "hat/IMG_2.jpg~": before,
        "hat/IMG_3.JPG": None, "hat/IMG_3.JPG.bak": before, "coat/IMG_1.jpg": None, "coat/IMG_4.jpg_original": before,
        "coat/IMG_5.jpg": None, "coat/IMG_5.jpg.1": photo(601),
    })  # fmt: skip
    for plan in (scan([folder]), scan([FileSelection(tuple(sorted(folder.rglob("*.*"))))])):
        assert {name for label, name in sent(plan) if label == "hat"} == {"IMG_1.jpg", "IMG_2.jpg", "IMG_3.JPG"}
        assert {name for label, name in sent(plan) if label == "coat"} == {
            "IMG_1.jpg", "IMG_4.jpg_original", "IMG_5.jpg", "IMG_5.jpg.1",
        }  # fmt: skip
        assert "3 files are what a program kept of the photos beside them (“IMG_1.jpg_original”, " in plan.notes[0]
        assert len(plan.ignored) == 3


def test_files_that_were_picked_together_are_passed_over_as_in_a_folder(made):
    folder = made({
        "hat/IMG_1.jpg": None, "hat/IMG_1.MOV": MOV, "hat/IMG_1.AAE": AAE, "hat/IMG_1.jpg.json": b'{"title": "IMG_1.jpg"}',
        "hat/._IMG_1.jpg": b"\0\x05\x16\x07", "hat/Thumbs.db": b"\xd0\xcf\x11\xe0", "hat/.IMG_2.HEIC.icloud": b"bplist00",
        "coat/@eaDir/IMG_3.jpg/THUMB.jpg": None, "coat/IMG_3.jpg": None, "coat/Cat.lrdata/x.dng": raw_photo(dng=True),
    })  # fmt: skip
    files = tuple(path for path in sorted(folder.rglob("*")) if path.is_file())
    plan = scan([FileSelection(files)])
    assert sent(plan) == {("hat", "IMG_1.jpg"), ("coat", "IMG_3.jpg")} and len(plan.items) == 2
    assert "1 description (JSON), 1 film (MOV) and 1 sidecar (AAE) are no photos and stay out." in plan.notes
    assert not plan.complete and "1 photo is in iCloud" in plan.notes[-1]
    plan = scan([folder / "hat/IMG_1.jpg", folder / "hat/IMG_1.MOV"])
    assert [item.name for item in plan.items] == ["IMG_1.jpg"]
    assert [item.standing for item in scan([folder / "hat/IMG_1.MOV"]).items] == [ItemStatus.PROBLEM]


def test_a_live_photo_is_its_still_and_its_folder_no_label(made, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("IMG_3.JPG", photo(300))
        archive.writestr("IMG_3.MOV", MOV)
    files = {
        "IMG_1.pvt/IMG_1.JPG": None,
        "IMG_1.pvt/IMG_1.MOV": MOV,
        "IMG_2.live/IMG_2.JPG": None,
        "IMG_3.livp": packed.getvalue(),
    }
    stills = {("holiday", f"IMG_{number}.JPG") for number in (1, 2, 3)}
    assert sent(scan([made(files, "Holiday")])) == stills
    assert sent(scan([tmp_path / "Holiday/IMG_3.livp"])) == {("", "IMG_3.JPG")}
    assert sent(scan([tmp_path / "Holiday/IMG_1.pvt"])) == {("", "IMG_1.JPG")}


def test_a_shot_that_was_saved_raw_and_as_a_jpeg_is_one_photo(made):
    large = saved(scene(640, 480), "JPEG")
    plan = scan([made({
        "hat/IMG_1.CR2": raw_photo(b"Canon"), "hat/IMG_1.JPG": large,
        "hat/DSC_2.NEF": raw_photo(b"NIKON", (80, 60)), "hat/DSC_2.jpg": saved(scene(800, 600), "JPEG"),
        "hat/PXL_3.RAW-01.COVER.jpg": saved(scene(700, 500), "JPEG"), "hat/PXL_3.RAW-02.ORIGINAL.dng": raw_photo(dng=True),
        "hat/small.ARW": raw_photo(b"SONY", (660, 480)), "hat/small.jpg": None,
        "hat/cut.ORF": raw_photo(b"OLYMPUS", (680, 480)), "hat/cut.jpg": large[:600],
        "coat/IMG_1.DNG": raw_photo(b"Leica", (690, 480), dng=True),
    })])  # fmt: skip
    assert sent(plan) == {
        ("hat", name)
        for name in ("IMG_1.JPG", "DSC_2.jpg", "PXL_3.RAW-01.COVER.jpg", "small.ARW", "small.jpg", "cut.ORF")
    } | {("coat", "IMG_1.DNG")}
    raws = [item for item in plan.items if item.standing is ItemStatus.LEFT_OUT]
    assert {item.name for item in raws} == {"IMG_1.CR2", "DSC_2.NEF", "PXL_3.RAW-02.ORIGINAL.dng"}
    assert "3 raw photos stay out: their shots lie beside them as JPEG." in plan.notes
    first = next(item for item in raws if item.name == "IMG_1.CR2")
    assert first.note == "The same shot as “IMG_1.JPG”."
    plan.set_included([first], True)  # whoever wants both has both
    assert first.standing is ItemStatus.NEW


def test_descriptions_by_google_photos_are_no_lists(made):
    def described(title):
        record = {
            "title": title, "description": "A red hat", "imageViews": "12", "photoTakenTime": {"timestamp": "1699990000"},
            "people": [{"name": "Anna"}], "url": "https://photos.google.com/photo/AF1QipN",
            "googlePhotosOrigin": {"mobileUpload": {"deviceType": "ANDROID_PHONE"}},
        }  # fmt: skip
        return json.dumps(record, indent=2).encode()

    plan = scan([made({
        "Google Photos/Hats/IMG_1.jpg": None, "Google Photos/Hats/IMG_1.jpg.json": described("IMG_1.jpg"),
        "Google Photos/Hats/IMG_2.jpg": None, "Google Photos/Hats/IMG_2.jpg.supplemental-metadata.json": described("IMG_2.jpg"),
        "Google Photos/Hats/metadata.json": b'{"title": "Hats", "description": "", "access": "protected"}',
        "Google Photos/Photos from 2023/IMG_3(1).jpg": None,
        "Google Photos/Photos from 2023/IMG_3.jpg(1).json": described("IMG_3.jpg"),
        "Google Photos/Photos from 2023/PXL_20230101_123456789.jpg": None,
        "Google Photos/Photos from 2023/PXL_20230101_123456789.jpg.supplemental-me.json": described("PXL_20230101_123456789.jpg"),
    }, "Takeout")])  # fmt: skip
    assert {label for label, _ in sent(plan)} == {"hats", ""} and len(plan.sending()) == 4
    assert plan.complete and not any(item.problem for item in plan.items)
    assert "5 descriptions (JSON) are no photos and stay out." in plan.notes


LIBRARY = {
    "originals/0/00A1.jpg": None, "originals/F/F0A1.jpg": None, "originals/F/F0A1_3.mov": MOV,
    "resources/derivatives/masters/0/00A1_4_5005_c.jpeg": None, "resources/renders/0/00A1_1_201_a.jpeg": None,
    "database/Photos.sqlite": b"SQLite format 3\0", "scopes/cloudsharing/data/x.JPG": None,
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_of_the_libraries_of_programs_the_originals_come_and_their_folders_are_no_labels(made, tmp_path, packed):
    name = "Photos.photoslibrary"
    folder = made({
        **{f"{name}/{place}": data for place, data in LIBRARY.items()}, "hat/a.jpg": None, "coat/b.jpg": None,
        "Cat Smart Previews.lrdata/A/x.dng": raw_photo(dng=True), "Cat.lrcat": b"SQLite format 3\0",
        "hat/Old.aplibrary/Masters/2012/01/c.jpg": None, "hat/Old.aplibrary/Previews/2012/01/c.jpg": None,
        "coat/X.lrlibrary/1f3a/originals/2020/d.jpg": None, "coat/X.lrlibrary/1f3a/previews/d.jpg": None,
    })  # fmt: skip
    whole = {
        ("", "00A1.jpg"),
        ("", "F0A1.jpg"),
        ("hat", "a.jpg"),
        ("hat", "c.jpg"),
        ("coat", "b.jpg"),
        ("coat", "d.jpg"),
    }
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in folder.rglob("*"):
                archive.write(path, path.relative_to(folder))
        assert sent(scan([tmp_path / "set.zip"])) == whole
        return
    plan = scan([folder])
    assert sent(plan) == whole and len(plan.items) == len(whole)
    assert any(f"“{name}” is the library of a program" in note for note in plan.notes)
    assert "“Cat Smart Previews.lrdata” belongs to a program: what is in it stays out." in plan.notes
    alone = scan([folder / name])
    assert sent(alone) == {("", "00A1.jpg"), ("", "F0A1.jpg")} and len(alone.items) == 2


def test_photos_that_are_in_a_cloud_alone_are_named_and_missed(made):
    files = {
        "hat/a.jpg": None,
        "hat/.b.jpg.icloud": b"bplist00",
        "coat/.c.HEIC.icloud": b"bplist00",
        "coat/.d.mov.icloud": b"",
    }
    plan = scan([made(files)])
    assert sent(plan) == {("hat", "a.jpg")} and not plan.complete
    assert "2 photos are in iCloud and not on this disk: “b.jpg” and “c.HEIC”. Download them first." in plan.notes


@pytest.mark.parametrize("packed", [False, True])
def test_hidden_photos_are_counted_and_hidden_folders_named_once(made, tmp_path, packed):
    hidden = [".IMG_2.jpg", ".pending-1-IMG_3.HEIC", ".trashed-1-IMG_4.jpg"]
    files = {
        f"cat/{name}": None
        for name in ("IMG_1.jpg", *hidden, "._IMG_1.jpg", ".DS_Store", ".nomedia", ".thumbnails/a.jpg")
    }
    folder = made(files)
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in folder.rglob("*.*"):
                archive.write(path, path.relative_to(folder))
    plan = scan([tmp_path / "set.zip" if packed else folder])
    assert sent(plan) == {("cat", "IMG_1.jpg")} and plan.complete
    names = ", ".join(f"“{name}”" for name in hidden)
    assert plan.notes == [f"3 photos are hidden, as their names begin with a dot ({names}): they stay out."]
    assert sorted(plan.ignored) == [f"cat/{name}" for name in hidden]
    assert len(scan([folder / "cat/.IMG_2.jpg"]).sending()) == 1  # asked for by name


def test_folders_that_a_program_marks_as_its_own_are_not_entered(made):
    plan = scan(
        [made({"library/anna/1.jpg": None, "thumbs/.immich": b"1", "thumbs/a/1.webp": None, "profile/a/me.png": None})]
    )
    assert [item.name for item in plan.items] == ["1.jpg"]
    assert "“profile” and “thumbs” belong to programs: what is in them stays out." in plan.notes
    assert len(scan([made({"library/1.jpg": None, "thumbs/2.jpg": None, "profile/3.png": None}, "pets")]).items) == 3


def test_files_of_numbers_that_may_be_pixels_are_named_where_no_photo_comes(made):
    files = {f"{name}-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\3") for name in ("t10k", "train")}
    files |= {
        "a.npz": b"PK",
        "b.h5": b"\x89HDF",
        "c.mat": b"MATLAB",
        "train-0.parquet": b"PAR1",
        "train-1.parquet": b"PAR1",
    }
    plan = scan([made(files)])
    assert plan.notes == [
        "“train-0.parquet” is a Parquet file, which is not read: save its table as CSV. So is 1 more file.",
        "“a.npz” is a NumPy array, which is not read: export the images in it as files.",
        "“b.h5” is an HDF5 file, which is not read: export the images in it as files.",
        "“c.mat” is a MATLAB file, which is not read: export the images in it as files.",
        "“t10k-images-idx3-ubyte.gz” is an IDX file, which is not read: export the images in it as files. So is 1 more file.",
    ]
    assert [note[:17] for note in scan([made({**files, "1.jpg": None})]).notes] == ["“train-0.parquet”"]


def test_an_alias_is_said_to_lead_elsewhere(made):
    (item,) = scan([made({"cat/1.jpg": b"book\0\0\0\0mark\0\0\0\0" + bytes(600)})]).items
    assert item.problem == "It is an alias of macOS: the photo is elsewhere, so import that."


def test_hidden_folders_of_photos_are_named_once(made):
    plan = scan([made({".photos/cat/1.jpg": None})])
    assert not plan.items
    assert plan.notes == ["“.photos” is hidden, as its name begins with a dot: its photos stay out."]
    plan = scan(
        [made({f"{label}/{place}1.jpg": None for label in ("cat", "dog") for place in ("", ".xvpics/")}, "pets")]
    )
    assert plan.notes == ["2 folders “.xvpics” are hidden, as their name begins with a dot: their photos stay out."]


@pytest.mark.parametrize("name", ["iPhoto Library", "iPhoto-Mediathek", "Photothèque iPhoto"])
def test_of_a_library_that_is_a_plain_folder_the_originals_come(made, name):
    day = "2012/01/01/20120101-1"
    plan = scan([made({
        f"{name}/Masters/{day}/IMG_1.jpg": None, f"{name}/Previews/{day}/x/IMG_1.jpg": None,
        f"{name}/Thumbnails/{day}/x/IMG_1.jpg": None, "hat/a.jpg": None,
    })])  # fmt: skip
    assert sent(plan) == {("", "IMG_1.jpg"), ("hat", "a.jpg")}
    assert any(f"“{name}” is the library of a program" in note for note in plan.notes)
    assert sent(scan([made({"iPhoto export/cat/a.jpg": None, "iPhoto export/dog/b.jpg": None}, "other")])) == {
        ("cat", "a.jpg"), ("dog", "b.jpg"),
    }  # fmt: skip


def test_nothing_but_a_plain_file_is_opened_whatever_it_is_called(made):
    folder = made({"hat/a.jpg": None, "coat/b.jpg": None})
    for name in ("labels.csv", "classes.txt", "data.yaml", "photos.zip", "metadata.jsonl", "c.jpg", "film.mov"):
        os.mkfifo(folder / "hat" / name)  # whoever opens one waits for ever
    plan = scan([folder])
    assert sent(plan) == {("hat", "a.jpg"), ("coat", "b.jpg")}
    assert [item.name for item in plan.items if item.problem] == ["c.jpg"]


def test_a_text_or_a_file_of_zeros_called_like_a_list_is_none(made):
    files = {"hat/a.jpg": None, "coat/b.jpg": None, "hat/notes.txt": b"word " * 200_000, "hat/labels.csv": bytes(2**20)}
    plan = scan([made(files)])
    assert sent(plan) == {("hat", "a.jpg"), ("coat", "b.jpg")}
    assert "“labels.csv” is not understood: it is no text." in plan.notes


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("IMG_1.HEIC", ""),
        ("a.txt", ""),
        ("labels.json", ""),
        ("annotations.json", ""),
        ("IMG_1.MOV", "film"),
        ("IMG_1.jpg.json", "description"),
        ("IMG_1.MP4.supplemental-metadata(2).json", "description"),
        ("IMG_1(1).jpg.json", "description"),
        ("IMG_1.jpg.s.json", "description"),
        ("Metadaten.json", "description"),
    ],
)
def test_kinds_are_known_by_name(name, kind):
    assert companion_kind(name) == kind


def test_folders_of_the_user_are_those_around_what_programs_made():
    assert folders_of_user(("a", "X.photoslibrary", "originals", "0")) == ("a",)
    assert folders_of_user(("a", "X.photoslibrary", "resources", "masters")) is None
    assert folders_of_user(("a", "X.photoslibrary")) == ("a",)
    assert folders_of_user(("X.lrlibrary", "1f", "originals")) == ()
    assert folders_of_user(("a", "IMG.pvt", "b")) == ("a", "b")
    assert folders_of_user(("X.lrdata", "X.photoslibrary", "originals")) is None


SERVICES = {
    "iCloud": {
        "Photo Details.csv": "imgName,fileChecksum,favorite,hidden,deleted,originalCreationDate,viewCount\n"
        'a.jpg,AbC=,no,no,no,"Monday January 2,2023 10:00 AM GMT",5\n'
        'b.jpg,AbD=,yes,no,no,"Monday January 2,2023 10:00 AM GMT",1\n',
        "Albums/Hats.csv": "Images\na.jpg\n",
    },
    "Facebook": {
        "album/0.json": [
            {
                "uri": "a.jpg", "creation_timestamp": 1, "title": "Summer",
                "media_metadata": {"photo_metadata": {"exif_data": [{"upload_ip": "1.2.3.4"}]}},
            }
        ],
        "your_posts_1.json": [
            {"timestamp": 1, "title": "A photo", "attachments": [{"data": [{"media": {"uri": name, "title": name * 2}}]}]}
            for name in ("a.jpg", "b.jpg")
        ],
    },
    "Telegram": {
        "result.json": {
            "name": "Anna", "type": "personal_chat",
            "messages": [
                {"id": 1, "type": "message", "from": "Anna", "from_id": "user1", "photo": "a.jpg", "text": ""},
                {"id": 2, "type": "message", "from": "Ben", "from_id": "user2", "photo": "b.jpg", "text": "hat"},
                {"id": 3, "type": "service", "action": "x", "text": "y"},
            ],
        },
    },
    "WhatsApp": {
        "_chat.txt": "[01.01.23, 12:00:00] Anna: \u200e<attached: a.jpg>\n[01.01.23, 12:00:01] Ben: \u200e<attached: b.jpg>\n",
        "Chat with Ben.txt": "01/01/23, 12:00 - Anna: a.jpg (file attached)\n01/01/23, 12:01 - Ben: b.jpg (file attached)\n",
    },
    "Discord": {"chat.csv": "AuthorID,Author,Date,Content,Attachments,Reactions\n1,anna,2023,hi,a.jpg,\n2,ben,2023,yo,b.jpg,\n"},
    "ExifTool": {
        "exif.json": [
            {"SourceFile": name, "FileType": "JPEG", "MIMEType": "image/jpeg", "Keywords": [word], "Quality": "Fine"}
            for name, word in (("a.jpg", "red"), ("b.jpg", "blue"))
        ],
    },
    "checksums": {
        "sha256sums.txt": f"{'e3b0c442' * 8}  a.jpg\n{'f3b0c442' * 8}  b.jpg\n",
        "ls.txt": "-rw-r--r-- 1 anna anna 1234 Jan  1 12:00 a.jpg\n-rw-r--r-- 1 anna anna 1234 Jan  1 12:00 b.jpg\n",
        "log.txt": "2023-01-01 12:00 Anna: a.jpg\n2023-01-01 12:01 Ben: b.jpg\n",
        "dir.txt": " Volume in drive C is X\n\n 01.01.2023  12:00             1.234 a.jpg\n 01.01.2023  12:00      1.234 b.jpg\n",
    },
}  # fmt: skip
"""Files that services, chats and tools put beside photos: they name photos, and nothing in them is a label."""


@pytest.mark.parametrize("service", SERVICES)
def test_what_services_and_tools_write_of_photos_is_no_list_of_labels(made, service):
    files = {
        name: (content if isinstance(content, str) else json.dumps(content)).encode()
        for name, content in SERVICES[service].items()
    }
    plan = scan([made({"hat/a.jpg": None, "coat/b.jpg": None, **files})])
    assert sent(plan) == {("hat", "a.jpg"), ("coat", "b.jpg")}
    assert plan.complete and len(plan.items) == 2 and len(plan.ignored) == len(files)


def test_an_archive_of_takeout_with_one_album_has_its_label(made, tmp_path):
    folder = made({"Google Photos/Photos from 2023/a.jpg": None, "archive_browser.html": b"<html>"}, "Takeout")
    with zipfile.ZipFile(tmp_path / "takeout-20230101T000000Z-001.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path))
    for dropped in (folder, tmp_path / "takeout-20230101T000000Z-001.zip"):
        assert sent(scan([dropped])) == {("photos_from_2023", "a.jpg")}


def test_who_sent_a_photo_is_no_label_where_no_folder_has_one(made):
    chat = (
        json.dumps(SERVICES["Telegram"]["result.json"])
        .replace("a.jpg", "photos/a.jpg")
        .replace("b.jpg", "photos/b.jpg")
    )
    plan = scan([made({"photos/a.jpg": None, "photos/b.jpg": None, "result.json": chat.encode()}, "chat")])
    assert sent(plan) == {("chat", "a.jpg"), ("chat", "b.jpg")}
