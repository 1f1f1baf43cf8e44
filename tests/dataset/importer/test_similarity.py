import io
import zipfile

from PIL import Image, ImageEnhance

from apitorch_desktop.dataset.importer.plan import ItemStatus, KnownImage, find_similar, scan
from apitorch_desktop.vision import images, near_duplicates


def changed(data, scale=1.0, brighter=1.0, quality=70):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(brighter).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def test_what_looks_nearly_the_same_is_said_with_where_it_is(tmp_path, photos):
    there, other, third = (path.read_bytes() for path in sorted((photos / "train" / "hat").glob("*.jpg"))[:3])
    known = [KnownImage("old.jpg", "hat", near_duplicates.pattern(images.shrunk(data, 96))) for data in (other, there)]
    (tmp_path / "cap").mkdir()
    (tmp_path / "cap" / "a.jpg").write_bytes(changed(there, 0.7))
    (tmp_path / "cap" / "b.jpg").write_bytes(third)
    with zipfile.ZipFile(tmp_path / "cap.zip", "w") as archive:
        archive.writestr("cap/c.jpg", changed(third, 1.0, 1.15))
    plan = scan([tmp_path / "cap", tmp_path / "cap.zip", "https://e.org/x.jpg"], default_label="cap")
    seen = []
    found = find_similar(plan, known, progress=lambda *state: seen.append(state))
    assert found == {0: "“old.jpg” under “hat”", 2: "“b.jpg” of this import"}
    assert seen[-1] == (4, 4)
    plan.set_similar(found)
    assert [item.standing for item in plan.items] == [
        ItemStatus.SIMILAR,
        ItemStatus.NEW,
        ItemStatus.SIMILAR,
        ItemStatus.NEW,
    ]
    assert plan.items[0].note == "Looks nearly the same as “old.jpg” under “hat”."
    assert len(plan.uploads()) == 4


def test_a_picture_that_is_damaged_behind_its_header_does_not_stop_it(tmp_path, photos):
    data = next((photos / "train" / "hat").glob("*.jpg")).read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "b.jpg").write_bytes(data)
    assert find_similar(scan([tmp_path]), []) == {}


def test_it_can_be_cancelled(tmp_path, photos):
    assert find_similar(scan([photos / "test" / "hat"]), [], cancelled=lambda: True) == {}
