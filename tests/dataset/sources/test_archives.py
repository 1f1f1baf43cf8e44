"""Archives as other programs write them: names in old encodings, the same name twice, old and rare kinds."""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import sys
import tarfile
import zipfile
import zlib
from contextlib import closing

import pytest
from PIL import Image

from apitorch_desktop.dataset.importer.plan import ItemStatus, scan
from apitorch_desktop.dataset.sources.archives import Archives, read
from apitorch_desktop.dataset.sources.image_source import ImageFile
from apitorch_desktop.dataset.sources.name_encoding import decode_names
from tests.dataset.importer.test_plan import by_label, picture, put, write_zip


def old_zip(path, members, extra=b""):
    """A zip whose names are bytes without the mark of Unicode."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, data) in enumerate(members):
            info = zipfile.ZipInfo(str(number) * len(name))  # as long as the name, which takes its place below
            info.extra = extra
            archive.writestr(info, data)
    raw = path.read_bytes()
    for number, (name, _) in enumerate(members):
        raw = raw.replace(str(number).encode() * len(name), name)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["Äpfel", "Birnen"]),
        ("gbk", ["猫", "狗"]),
        ("gbk", ["照片", "老虎的样子"]),
        ("cp932", ["ねこ", "犬の写真"]),
        ("cp949", ["고양이", "강아지"]),
        ("big5", ["貓咪", "大象"]),
        ("cp866", ["кошки", "Собаки"]),
        ("cp850", ["Äpfel", "Größe"]),
        ("cp1252", ["Äpfel", "Käse"]),
        ("cp1250", ["Kočka", "Příklad"]),
        ("cp852", ["Kočka", "Žlutý"]),
        ("cp1254", ["Köpek", "Ağaç"]),
        ("cp1253", ["Γάτα", "Σκύλος"]),
        ("cp1251", ["Кошка", "Собака"]),
        ("koi8-r", ["Кошка", "Собака"]),
        ("cp932", ["ネコ", "イヌ"]),
    ],
)
def test_names_in_old_encodings_are_read_and_told(tmp_path, encoding, names):
    members = [(f"{name}/1.jpg".encode(encoding), picture(number)) for number, name in enumerate(names)]
    path = old_zip(tmp_path / "a.zip", members)
    plan = scan([path])
    assert [item.label for item in plan.items] == [name.lower() for name in names]
    assert bool(plan.notes) == (encoding != "utf-8")
    archives = Archives()
    for item, (_, data) in zip(plan.items, members, strict=True):
        assert read(item.source, archives, 2**20) == data
    archives.close()


def test_a_second_name_in_unicode_is_taken(tmp_path):
    name, better = b"K\x84se/1.jpg", "Käse/1.jpg"
    field = b"\x01" + struct.pack("<I", zlib.crc32(name)) + better.encode()
    path = old_zip(tmp_path / "a.zip", [(name, picture(1))], struct.pack("<HH", 0x7075, len(field)) + field)
    plan = scan([path])
    assert plan.items[0].source.name == better
    assert not plan.notes


def test_names_that_are_marked_as_unicode_and_are_not_are_read(tmp_path):
    path = old_zip(tmp_path / "a.zip", [(f"狗/{number}.jpg".encode("gbk"), picture(number)) for number in (1, 2)])
    data = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        at = -1
        while (at := data.find(magic, at + 1)) >= 0:
            data[at + flags] |= 8
    path.write_bytes(data)
    plan = scan([path])
    assert [(item.label, item.name) for item in plan.items] == [("狗", "1.jpg"), ("狗", "2.jpg")]
    assert "not in Unicode" in plan.notes[0]
    with closing(Archives()) as archives:
        assert read(plan.items[1].source, archives, 2**20) == picture(2)


@pytest.mark.parametrize("names", [["Bei 20 °C", "Käse"], ["Käse – gut", "Brot"], ["cat’s"], ["Lego™"]])
def test_names_with_signs_are_read(names):
    assert decode_names([name.encode("cp1252") for name in names], archive=True) == (names, "cp1252")


def test_names_in_no_known_encoding_are_told():
    names, encoding = decode_names([b"\xb2 \xb2"], archive=True)
    assert encoding == "?"
    assert "\N{REPLACEMENT CHARACTER}" in names[0]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_of_one_name_are_each_their_own(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    photos = [picture(number) for number in range(3)]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for data in photos:
                archive.writestr("cat/1.jpg", data)
    else:
        with tarfile.open(path, "w") as archive:
            for data in photos:
                info = tarfile.TarInfo("cat/1.jpg")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    plan = scan([path])
    assert plan.counts()[ItemStatus.NEW] == 3
    assert {item.name for item in plan.items} == {"1.jpg"}
    archives = Archives()
    for item, data in zip(reversed(plan.items), reversed(photos), strict=True):
        assert read(item.source, archives, 2**20) == data
    archives.close()


@pytest.mark.parametrize(("name", "prefix"), [("pets.exe", b"MZ" + bytes(999)), ("pets.zip", b"#!/bin/sh\nexit\n")])
def test_an_archive_that_unpacks_itself_is_read(tmp_path, name, prefix):
    file = write_zip(tmp_path / name, {"cat/1.jpg": picture(1), "dog/2.jpg": picture(2)})
    file.write_bytes(prefix + file.read_bytes())
    assert by_label(scan([file])) == {"cat": ["1.jpg"], "dog": ["2.jpg"]}


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)])
def test_a_photo_packed_alone_is_read(tmp_path, suffix, pack):
    put(tmp_path / f"set/cat/1.jpg.{suffix}", pack(picture(1)))
    put(tmp_path / "set/dog/2.jpg", picture(2))
    assert by_label(scan([tmp_path / "set"])) == {"cat": ["1.jpg"], "dog": ["2.jpg"]}
    (item,) = scan([tmp_path / f"set/cat/1.jpg.{suffix}"]).items
    with closing(Archives()) as archives:
        assert read(item.source, archives, 10**6) == picture(1)
    put(tmp_path / f"3.jpg.{suffix}", pack(picture(3))[:-20])
    plan = scan([tmp_path / f"3.jpg.{suffix}"])
    assert "damaged" in " ".join([*plan.notes, *(item.problem or "" for item in plan.items)])


def test_a_tar_in_lzma_is_read(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("cat/1.jpg")
        info.size = len(picture(1))
        tar.addfile(info, io.BytesIO(picture(1)))
    file = put(tmp_path / "pets.tar.lzma", lzma.compress(stream.getvalue(), format=lzma.FORMAT_ALONE))
    assert by_label(scan([file])) == {"cat": ["1.jpg"]}


def write_links(path, photos, links, hard=()):
    """An archive of photos and links; those of the names in `hard` are hard ones."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, target in links.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16
                archive.writestr(info, target)
            for name, data in photos.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w") as archive:
        for name, data in photos.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE if name in hard else tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


LINKS = {
    "pets/dog/2.jpg": "../all/2.jpg",
    "pets/cat/first.jpg": "../cat/1.jpg",
    "pets/out.jpg": "../../etc/1.jpg",
    "pets/root.jpg": "/pets/all/1.jpg",
    "pets/none.jpg": "all/3.jpg",
    "pets/one.jpg": "other.jpg",
    "pets/other.jpg": "one.jpg",
    "pets/fox": "all",
}


@pytest.mark.parametrize(
    ("name", "target", "hard"),
    [
        ("a.tar", "pets/all/1.jpg", ["pets/cat/1.jpg"]),
        ("a.tar", "../all/1.jpg", []),
        ("a.zip", "../all/1.jpg", []),
    ],
)
def test_a_link_in_an_archive_is_the_photo_it_leads_to_under_its_own_name(tmp_path, name, target, hard):
    photos = {"pets/all/1.jpg": picture(1), "./pets/all/2.jpg": picture(2)}
    path = write_links(tmp_path / name, photos, {**LINKS, "pets/cat/1.jpg": target}, hard)
    plan = scan([path])
    assert {label: sorted(names) for label, names in by_label(plan).items()} == {
        "all": ["1.jpg", "2.jpg"],
        "cat": ["1.jpg", "first.jpg"],
        "dog": ["2.jpg"],
    }
    assert sorted(note for note in plan.notes if "stay out" in note) == [
        f"Links in “{name}” that lead back to themselves stay out: “pets/one.jpg” and “pets/other.jpg”.",
        f"Links in “{name}” that lead out of it stay out: “pets/out.jpg” and “pets/root.jpg”.",
        f"Links in “{name}” that lead to folders of it, whose photos come once, stay out: “pets/fox”.",
        f"Links in “{name}” that lead to nothing in it stay out: “pets/none.jpg”.",
    ]
    for order in (plan.items, plan.items[::-1]):
        with closing(Archives()) as archives:
            for item in order:
                assert hashlib.sha256(read(item.source, archives, 2**20)).hexdigest() == item.sha256


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_many_links_to_a_large_photo_end_early(tmp_path, name, monkeypatch):
    monkeypatch.setattr("apitorch_desktop.dataset.sources.archives.LEAST_BUDGET", 20_000)
    monkeypatch.setattr("apitorch_desktop.dataset.sources.archives.MAX_GROWTH", 0)
    plan = scan(
        [write_links(tmp_path / name, {"a.jpg": picture(1) + bytes(9_000)}, {"1.jpg": "a.jpg", "2.jpg": "a.jpg"})]
    )
    assert "unpacks to far more" in plan.notes[0] and len(plan.items) < 3


@pytest.mark.parametrize("kept", [0, 200, 512 + 100])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_that_is_cut_is_named_and_what_came_is_taken(tmp_path, kept, suffix):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for number in range(4):
            info = tarfile.TarInfo(f"{'cat' if number < 2 else 'dog'}/{number}.jpg")
            info.size, start = len(picture(number)), tar.offset
            tar.addfile(info, io.BytesIO(picture(number)))
    pack = gzip.compress if suffix == "tar.gz" else bytes
    plan = scan([put(tmp_path / f"a.{suffix}", pack(stream.getvalue()[: start + kept]))])
    assert by_label(plan) == {"cat": ["0.jpg", "1.jpg"], "dog": ["2.jpg"]}
    assert not plan.complete
    assert f"“a.{suffix}” is" in plan.notes[0] and "damaged" in plan.notes[0]
    assert scan([put(tmp_path / f"b.{suffix}", pack(stream.getvalue()))]).complete


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "tar.xz", "7z"])
def test_an_archive_that_came_in_part_is_to_be_downloaded_again(tmp_path, suffix):
    photos = {}
    for number in range(4):
        Image.effect_noise((30, 30), 99).save(tmp_path / "1.png")
        photos[f"cat/{number}.png"] = (tmp_path / "1.png").read_bytes()
    path = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(path, photos)
    elif suffix == "7z":
        with pytest.importorskip("py7zr").SevenZipFile(path, "w") as archive:
            for name, data in photos.items():
                archive.writestr(data, name)
    else:
        with tarfile.open(path, f"w:{suffix[4:]}") as tar:
            for name, data in photos.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    plan = scan([path])
    assert not plan.complete
    assert "download it again" in plan.notes[0].lower() and f"“a.{suffix}”" in plan.notes[0]
    assert plan.items or suffix != "tar.gz"


def test_tars_that_were_joined_are_all_read(tmp_path):
    packed = []
    for number, label in enumerate(("cat", "dog")):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            info = tarfile.TarInfo(f"{label}/1.jpg")
            info.size = len(picture(number))
            tar.addfile(info, io.BytesIO(picture(number)))
        packed.append(stream.getvalue())
    for name, data in (("a.tar", b"".join(packed)), ("b.tar.gz", b"".join(map(gzip.compress, packed)))):
        plan = scan([put(tmp_path / name, data)])
        assert by_label(plan) == {"cat": ["1.jpg"], "dog": ["1.jpg"]} and not plan.notes
    assert scan([put(tmp_path / "c.tar", packed[0] + b"behind the end" * 99)]).complete


def test_a_member_packed_in_a_way_that_is_not_read_is_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"hat/1.jpg": picture(1)}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 95
    (item,) = scan([put(path, bytes(data))]).items
    assert item.problem == "It is packed with XZ, which is not read here: unpack the archive."


@pytest.mark.parametrize(
    ("name", "member"),
    [("album.docx", "[Content_Types].xml"), ("album.odt", "mimetype"), ("project.tm", "manifest.json")],
)
def test_pictures_in_the_file_of_a_program_are_no_labeled_photos(tmp_path, name, member):
    file = write_zip(tmp_path / name, {member: b"x", "word/media/1.jpg": picture(1)})
    plan = scan([file])
    assert (plan.items, plan.complete) == ([], False)
    assert plan.notes[0].startswith(f"“{name}” is the file of a program and no archive of photos")
    file.rename(tmp_path / "pets.zip")
    assert by_label(scan([tmp_path / "pets.zip"])) == {"media": ["1.jpg"]}


def test_members_without_a_name_are_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        archive.writestr("cat/1.jpg", picture(1))
        archive.writestr("x", picture(3))
    raw = (tmp_path / "pets.zip").read_bytes()
    last = raw.rfind(b"PK\1\2")
    raw = raw[: last + 28] + b"\0\0" + raw[last + 30 : last + 46] + raw[last + 47 :]
    end = raw.rfind(b"PK\5\6")
    size = struct.unpack_from("<I", raw, end + 12)[0] - 1
    put(tmp_path / "pets.zip", raw[: end + 12] + struct.pack("<I", size) + raw[end + 16 :])
    assert by_label(scan([tmp_path / "pets.zip"])) == {"cat": ["1.jpg"]}


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("pets.z01", b"PK\7\x08" + bytes(99), "one of several parts"),
        ("pets.zip.001", b"PK\3\4" + bytes(99), "one of several parts"),
        ("pets.tar.gz.part-01", b"\1" + bytes(99), "one of several parts"),
        ("pets.tar.gz", gzip.compress(gzip.compress(bytes(99), mtime=0), mtime=0), "packed twice"),
        ("pets.zip", bytes(range(256)), "damaged, or only a part"),
        ("pets.zip", b"<!DOCTYPE html><html>404</html>", "is a web page and no archive"),
        ("pets.tar.gz", b"", "is empty"),
    ],
)
def test_what_is_called_an_archive_and_is_none_is_named(tmp_path, name, data, text):
    put(tmp_path / "cat/1.jpg", picture(1))
    put(tmp_path / name, data)
    alone, together = scan([tmp_path / name]), scan([tmp_path])
    assert not alone.items
    assert by_label(together) == {"cat": ["1.jpg"]}
    for plan in (alone, together):
        assert not plan.complete
        assert any(text in note and name in note for note in plan.notes), plan.notes


def test_a_packed_file_that_is_no_archive_is_passed_over_without_a_word(tmp_path):
    put(tmp_path / "cat/1.jpg", picture(1))
    for name, data in (("scan.nii.gz", bytes(9000)), ("rows.sql.bz2", b"CREATE"), ("log.xz", b"")):
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[name[name.rindex(".") :]]
        put(tmp_path / name, pack(data))
    plan = scan([tmp_path])
    assert by_label(plan) == {"cat": ["1.jpg"]} and plan.complete
    assert (plan.notes, sorted(plan.ignored)) == ([], ["log.xz", "rows.sql.bz2", "scan.nii.gz"])
    put(tmp_path / "scan.nii.gz", gzip.compress(bytes(9000))[:20])
    put(tmp_path / "photos.tar.gz", gzip.compress(b"no tar"))
    damaged = scan([tmp_path])
    assert not damaged.complete and [note.split("”")[0] for note in damaged.notes] == ["“photos.tar.gz", "“scan.nii.gz"]


def test_an_archive_without_photos_and_a_hidden_folder_of_photos_are_named(tmp_path):
    file = write_zip(tmp_path / "texts.zip", {"readme.md": b"hello"})
    put(tmp_path / "cat/1.jpg", picture(1))
    put(tmp_path / ".old/2.jpg", picture(2))
    put(tmp_path / ".git/config", b"")
    assert "“texts.zip” holds no photo." in scan([file]).notes
    plan = scan([tmp_path])
    assert by_label(plan) == {"cat": ["1.jpg"]}
    assert plan.notes == [
        "“texts.zip” holds no photo.",
        "“.old” is hidden, as its name begins with a dot: its photos stay out.",
    ]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_an_old_tar_without_a_magic_number_is_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    blocks = b""
    for name, data in {"cat/1.jpg": picture(1), "dog/2.jpg": picture(2)}.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        head = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        head[257:265] = bytes(8)  # no magic
        head[148:156] = b" " * 8
        head[148:156] = f"{sum(head[:512]):06o}\0 ".encode()
        blocks += bytes(head) + data + bytes(-len(data) % 512)
    blocks += bytes(1024)
    if suffix == "tar.gz":
        import gzip

        blocks = gzip.compress(blocks)
    assert by_label(scan([put(path, blocks)])) == {"cat": ["1.jpg"], "dog": ["2.jpg"]}


def test_archives_in_a_folder_are_labels(tmp_path):
    write_zip(tmp_path / "cat.zip", {"1.jpg": picture(1), "2.jpg": picture(2)})
    write_zip(tmp_path / "dog.zip", {"1.jpg": picture(3)})
    assert by_label(scan([tmp_path])) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg"]}


def test_archives_of_labels_in_a_folder_are_no_labels(tmp_path):
    write_zip(tmp_path / "one.zip", {"cat/1.jpg": picture(1), "dog/2.jpg": picture(2)})
    write_zip(tmp_path / "two.zip", {"cat/3.jpg": picture(3), "dog/4.jpg": picture(4)})
    assert by_label(scan([tmp_path])) == {"cat": ["1.jpg", "3.jpg"], "dog": ["2.jpg", "4.jpg"]}


def test_archives_of_splits_are_splits(tmp_path):
    write_zip(tmp_path / "train.zip", {"train/cat/1.jpg": picture(1), "train/dog/2.jpg": picture(2)})
    write_zip(tmp_path / "test.zip", {"cat/1.jpg": picture(3)})
    plan = scan([tmp_path])
    assert by_label(plan) == {"cat": ["1.jpg", "1.jpg"], "dog": ["2.jpg"]}
    assert {item.split for item in plan.items} == {"train", "test"}


def test_archives_in_an_archive_are_named(tmp_path):
    inner = write_zip(tmp_path / "cat.zip", {"1.jpg": picture(1)}).read_bytes()
    plan = scan([write_zip(tmp_path / "all.zip", {"cat.zip": inner, "dog/2.jpg": picture(2)})])
    assert by_label(plan) == {"dog": ["2.jpg"]}
    assert "“cat.zip”" in plan.notes[0]
    assert not plan.complete


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.lzh", b"\x22\0-lh5-" + bytes(600), "LZH archive"),
        ("a.ace", b"1234567**ACE**" + bytes(600), "ACE archive"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00" + bytes(600), "RAR archive"),
        ("a.cbr", b"Rar!\x1a\x07\x00" + bytes(600), "RAR archive"),
        ("a.cpio", b"070701" + b"0" * 600, "cpio archive"),
        ("a.deb", b"!<arch>\n" + bytes(600), "Unix archive"),
        ("a.cab", b"MSCF\0\0\0\0" + bytes(600), "CAB archive"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(600), "“a.7z”"),
    ],
)
def test_archives_that_are_not_read_are_named(tmp_path, name, data, text):
    put(tmp_path / name, data)
    for dropped in (tmp_path / name, tmp_path):
        if dropped == tmp_path and name in {"a.cbr", "a.deb"}:
            continue
        plan = scan([dropped])
        assert not plan.items
        assert text in plan.notes[0]
        assert not plan.complete


def test_an_encrypted_member_is_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"hat/1.jpg": picture(1)}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (item,) = scan([put(path, bytes(data))]).items
    assert item.problem == "It is encrypted: unpack it with its password first."


def test_of_a_list_in_an_archive_and_the_one_unpacked_beside_it_that_counts(tmp_path):
    for number in range(2):
        data = picture(number)
        put(tmp_path / f"pets{number}" / "a.png", data)
        put(tmp_path / f"pets{number}" / "labels.csv", b"file_name,label\na.png,cat\n")
        members = {"a.png": data, "labels.csv": b"file_name,label\na.png,dog\n"}
        write_zip(tmp_path / f"pets{number}.zip", members, zipfile.ZIP_STORED)
    plan = scan([tmp_path])
    assert {item.label for item in plan.items} == {"cat"}
    assert not any("dog" in note for note in plan.notes)


def test_a_7z_with_any_error_in_its_header_is_named(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(tmp_path / "whole.7z", "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(picture(1), "cat/1.jpg")
        archive.writestr(picture(2), "dog/2.jpg")
    data = (tmp_path / "whole.7z").read_bytes()
    start, size = struct.unpack_from("<QQ", data, 12)
    assert 32 + start + size == len(data)
    named = 0
    for place in range(size):
        header = bytearray(data[32 + start :])
        header[place] ^= 1
        facts = struct.pack("<QQI", start, size, zlib.crc32(header))  # right, as where a program wrote it so
        changed = data[:8] + struct.pack("<I", zlib.crc32(facts)) + facts + data[32 : 32 + start] + header
        plan = scan([put(tmp_path / "changed" / "a.7z", changed)])
        named += bool(plan.notes)
        assert plan.notes or plan.items
    assert named > size // 4


def test_a_7z_is_read_where_its_library_is_installed(tmp_path, monkeypatch):
    py7zr = pytest.importorskip("py7zr")
    members = {f"{label}/{number}.jpg": picture(number) for number, label in enumerate(["cat", "dog", "cat"])}
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        for name, data in members.items():
            archive.writestr(data, name)
    plan = scan([tmp_path / "a.7z"])
    assert by_label(plan) == {"cat": ["0.jpg", "2.jpg"], "dog": ["1.jpg"]}
    archives = Archives()
    for item in reversed(plan.items):
        assert read(item.source, archives, 2**20) == members[item.source.name]
    with py7zr.SevenZipFile(tmp_path / "e.7z", "w", password="secret") as archive:
        archive.writestr(picture(1), "cat/1.jpg")
    assert "is encrypted" in scan([tmp_path / "e.7z"]).notes[0]
    (tmp_path / "link.jpg").symlink_to(put(tmp_path / "1.jpg", picture(1)))
    with py7zr.SevenZipFile(tmp_path / "l.7z", "w") as archive:
        archive.write(tmp_path / "1.jpg", "cat/1.jpg")
        archive.write(tmp_path / "link.jpg", "dog/link.jpg")
    linked = scan([tmp_path / "l.7z"])
    assert by_label(linked) == {"cat": ["1.jpg"]}
    assert linked.notes == ["Links in “l.7z” that are not followed in a 7z archive stay out: “dog/link.jpg”."]
    monkeypatch.setitem(sys.modules, "py7zr", None)
    assert "7z archive, which is not read here" in scan([tmp_path / "a.7z"]).notes[0]


def test_a_tar_packed_with_zstandard_is_read_or_named(tmp_path, monkeypatch):
    path = put(tmp_path / "a.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(600))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert "Zstandard" in scan([path]).notes[0]
    monkeypatch.delitem(sys.modules, "zstandard")
    zstandard = pytest.importorskip("zstandard")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("cat/1.jpg")
        info.size = len(picture(1))
        archive.addfile(info, io.BytesIO(picture(1)))
        archive.addfile(tarfile.TarInfo("x"))
    plan = scan([put(tmp_path / "set.tar.zst", zstandard.compress(stream.getvalue()))])
    assert by_label(plan) == {"set": ["1.jpg"]} or by_label(plan) == {"cat": ["1.jpg"]}


def tar_of(*names):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = len(picture(number))
            archive.addfile(info, io.BytesIO(picture(number)))
    return stream.getvalue()


def test_frames_of_zstandard_that_are_skipped_many_or_of_a_long_window_are_read(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    data = tar_of("cat/1.jpg", "dog/2.jpg")
    half = len(data) // 2
    frames = (
        struct.pack("<II", 0x184D2A53, 3) + b"abc" + zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    )
    window = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    long = zstandard.ZstdCompressor(compression_params=window).compressobj()
    for packed in (frames, long.compress(data) + long.flush()):
        plan = scan([put(tmp_path / "set.tar.zst", packed)])
        assert (by_label(plan), plan.notes) == ({"cat": ["1.jpg"], "dog": ["2.jpg"]}, [])


def test_whatever_a_library_raises_is_a_sentence_about_the_archive(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    packed = bytearray(zstandard.compress(tar_of(*(f"cat/{number}.jpg" for number in range(20)))))
    for at in range(4, len(packed), len(packed) // 40):
        damaged = packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]
        plan = scan([put(tmp_path / "set.tar.zst", bytes(damaged))])
        assert plan.complete or any("“set.tar.zst”" in note for note in plan.notes)


@pytest.mark.parametrize(
    "parts",
    [
        ("set.tar.gz.aa", "set.tar.gz.ab", "set.tar.gz.ac"), ("set.tar.gz.part-00", "set.tar.gz.part-01"),
        ("set.tgz.partaa", "set.tgz.partab"), ("set.zip.001", "set.zip.002"), ("set.zip.part1", "set.zip.part2"),
    ],
)  # fmt: skip
def test_an_archive_that_was_cut_into_parts_is_read_as_one(tmp_path, parts):
    names = ("cat/1.jpg", "dog/2.jpg")
    data = gzip.compress(tar_of(*names))
    if ".zip" in parts[0]:
        data = write_zip(tmp_path / "whole", dict(zip(names, map(picture, (0, 1)), strict=True))).read_bytes()
    size = len(data) // len(parts) + 1
    files = [put(tmp_path / "in" / name, data[at * size :][:size]) for at, name in enumerate(parts)]
    for dropped in ([tmp_path / "in"], files[:1], files[1:], files):
        plan = scan(dropped)
        assert by_label(plan) == {"cat": ["1.jpg"], "dog": ["2.jpg"]}
        assert (plan.complete, plan.notes, plan.ignored) == (True, [], [])
    with closing(Archives()) as archives:
        assert read(plan.items[1].source, archives, 2**20) == picture(1)
    put(tmp_path / "in/1.jpg", picture(5))
    files[-1].unlink()
    plan = scan([tmp_path / "in"])
    assert not plan.complete and any(f"“{parts[0]}”" in note for note in plan.notes)


@pytest.mark.parametrize(
    "names", [("set.zip.1", "set.zip.2"), ("set.zip", "set.zip.bak"), ("set.tar.gz", "set.tar.xz")]
)
def test_files_that_are_called_much_as_parts_are_each_their_own(tmp_path, names):
    for number, name in enumerate(names):
        put(tmp_path / name, write_zip(tmp_path / "x", {f"cat/{number}.jpg": picture(number)}).read_bytes())
    plans = [scan([tmp_path / name]) for name in names]
    assert [by_label(plan) for plan in plans] == [{"cat": ["0.jpg"]}, {"cat": ["1.jpg"]}]


def test_a_list_that_is_too_long_or_encrypted_is_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.jpg": picture(1), "labels.csv": b"x" * (33 * 2**20)})
    assert "“labels.csv” cannot be read. It is too long." in scan([path]).notes


SET = {f"{label}/{number}.png": 2 * number + (label == "dog") for label in ("cat", "dog") for number in range(3)}


@pytest.mark.parametrize(
    ("folder", "archives"),
    [
        ("pets/", {"pets.zip": SET}),
        ("pets/", {"download.zip": {f"pets/{name}": seed for name, seed in SET.items()}}),
        ("pets/", {"backups/pets 2024.zip": {f"pets 2024/{name}": seed for name, seed in SET.items()}}),
        ("photos/", {"photos.zip": SET}),
        ("", {"pets.zip": {f"pets/{name}": seed for name, seed in SET.items()}}),
        (
            "",
            {
                f"{label}.zip": {name[4:]: seed for name, seed in SET.items() if label in name}
                for label in ("cat", "dog")
            },
        ),
    ],
)
def test_an_archive_beside_what_was_unpacked_from_it_is_no_label(tmp_path, folder, archives):
    for name, seed in SET.items():
        put(tmp_path / folder / name, picture(seed))
    for path, files in archives.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        write_zip(tmp_path / path, {name: picture(seed) for name, seed in files.items()})
    plan = scan([tmp_path])
    assert {label: len(names) for label, names in by_label(plan).items()} == {"cat": 6, "dog": 6}
    assert {item.name for item in plan.items if item.standing is ItemStatus.TWICE} == {"0.png", "1.png", "2.png"}
    assert all(isinstance(item.source, ImageFile) for item in plan.sending())
    assert sum("once more: a photo that lies in both comes once" in note for note in plan.notes) == len(archives)


def test_an_archive_that_was_unpacked_in_part_has_the_folders_of_the_rest(tmp_path):
    for name, seed in list(SET.items())[2:]:
        put(tmp_path / "pets" / name, picture(seed))
    write_zip(tmp_path / "download.zip", {f"pets/{name}": picture(seed) for name, seed in SET.items()})
    plan = scan([tmp_path])
    assert {label: len(names) for label, names in by_label(plan).items()} == {"cat": 4, "dog": 6}
    assert len(plan.sending()) == 6


@pytest.mark.parametrize("copy", ["backup", "z"])
def test_an_archive_beside_two_copies_belongs_to_the_one_of_its_name(copy, tmp_path):
    for place in (copy, "photos"):
        for name, seed in SET.items():
            put(tmp_path / place / name, picture(seed))
    write_zip(tmp_path / "photos.zip", {name: picture(seed) for name, seed in SET.items()})
    plan = scan([tmp_path])
    assert len(plan.sending()) == len(SET)
    [note] = [note for note in plan.notes if "“photos.zip”" in note]
    assert "“photos”" in note


def test_an_archive_of_other_photos_with_the_same_names_keeps_its_own(tmp_path):
    for name, seed in SET.items():
        put(tmp_path / "day 1" / name, picture(seed))
    write_zip(tmp_path / "day 2.zip", {f"day 2/{name}": picture(seed + 6) for name, seed in SET.items()})
    plan = scan([tmp_path])
    assert len(plan.sending()) == 12
    assert not any("once more" in note for note in plan.notes)


def test_the_archive_of_a_label_keeps_it_beside_photos_that_are_not_sorted(tmp_path):
    for number in range(6):
        put(tmp_path / f"unsorted/{number}.png", picture(number))
    write_zip(tmp_path / "cat.zip", {f"{number}.png": picture(number) for number in range(3)})
    assert set(by_label(scan([tmp_path]))) == {"cat", "unsorted"}
