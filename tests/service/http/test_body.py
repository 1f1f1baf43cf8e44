"""The parts that take bodies in: memory shared out, what goes to disk, fields of forms and JSON."""

import asyncio
import random
from contextlib import nullcontext

import pytest

from apitorch_desktop.service.config import Limits
from apitorch_desktop.service.http import form_data, schemas
from apitorch_desktop.service.http.body import MultipartReader
from apitorch_desktop.service.http.errors import HttpError
from apitorch_desktop.service.http.resources import MemoryBudget, Spool
from apitorch_desktop.service.http.routing import Operation, Routes
from apitorch_desktop.service.storage.errors import DiskFull


def test_memory_is_given_in_turn_and_never_more_than_there_is():
    async def run():
        memory, most, order = MemoryBudget(100), 0, []

        async def acquire(number, size):
            nonlocal most
            async with memory.acquire(size):
                order.append(number)
                most = max(most, memory.used)
                await asyncio.sleep(0)

        sizes = [60, 60, 30, 100, 10, 500, 1]
        await asyncio.gather(*(acquire(number, size) for number, size in enumerate(sizes)))
        assert order == list(range(len(sizes)))
        assert most == 500  # one that wants more than there is gets it alone
        assert memory.used == 0

    asyncio.run(run())


def test_one_who_gives_up_waiting_blocks_nobody():
    async def run():
        memory = MemoryBudget(100)
        assert memory.try_acquire(80)
        large = asyncio.create_task(_hold(memory, 90))
        small = asyncio.create_task(_hold(memory, 20))
        await asyncio.sleep(0)
        assert memory.contended
        assert not memory.try_acquire(1)
        large.cancel()
        await asyncio.gather(large, return_exceptions=True)
        await small
        memory.release(80)
        assert memory.used == 0

    async def _hold(memory, size):
        async with memory.acquire(size):
            pass

    asyncio.run(run())


def test_a_body_goes_to_disk_where_memory_has_no_room_and_leaves_nothing(tmp_path):
    memory = MemoryBudget(1000)
    data = random.Random(1).randbytes(5000)
    first, second = Spool(memory, tmp_path), Spool(memory, tmp_path)
    first.write(data[:900])
    for start in range(0, 5000, 70):
        second.write(data[start : start + 70])
    assert (first.on_disk, second.on_disk) == (False, True)
    assert memory.used == 900
    assert (first.read(), second.read()) == (data[:900], data)
    first.close()
    second.close()
    assert memory.used == 0
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_fits_nowhere_is_a_full_disk(tmp_path):
    spool = Spool(MemoryBudget(10), tmp_path / "gone")
    spool.write(b"x" * 10)
    with pytest.raises(DiskFull, match="Free some disk space"):
        spool.write(b"x")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (b"classifiers=a", ["a"]),
        (b"classifiers[]=a&classifiers[]=b", ["a", "b"]),
        (b"classifiers%5B%5D=a&classifiers%5B%5D=b", ["a", "b"]),
        (b"classifiers=a&classifiers=b", ["a", "b"]),
        (b"classifiers[0]=a&classifiers[1]=b", ["a", "b"]),
    ],
)
def test_a_list_in_a_form_is_written_in_many_ways(query, wanted):
    assert form_data.decode_pairs(schemas.Classify, form_data.parse_pairs(query)).classifiers == wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("true", True), ("1", True), ("false", False), ("0", False), ("TRUE", True)]
)
def test_options_in_a_form_are_fields_within_a_field(text, wanted):
    pairs = [("classifiers", "a"), ("options[show_confidence_value]", text)]
    assert form_data.decode_pairs(schemas.Classify, pairs).options.show_confidence_value is wanted


@pytest.mark.parametrize(
    ("pairs", "word"),
    [
        ([], "“classifiers” is missing"),
        ([("classifiers", "a"), ("options[show_confidence_value]", "maybe")], "“options.show_confidence_value”"),
        ([("classifiers", "a"), ("options", "x")], "“options”"),
        ([("classifiers[]", "a")] * 11, "“classifiers”"),
    ],
)
def test_what_does_not_fit_is_named(pairs, word):
    with pytest.raises(HttpError, match=word.replace("[", r"\[")) as caught:
        form_data.decode_pairs(schemas.Classify, pairs)
    assert caught.value.status == 400
    assert "`" not in caught.value.message


def test_json_is_taken_as_it_is_described_and_no_looser():
    assert form_data.decode_json(schemas.CurrentVersion, b'{"version": 2.0}').version == 2
    for body in (
        b'{"version": "2"}',
        b'{"version": 2.5}',
        b'{"version": 0}',
        b'{"version": true}',
        b'{"version": 1e30}',
    ):
        with pytest.raises(HttpError):
            form_data.decode_json(schemas.CurrentVersion, body)


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"\n", b"A preamble.\r\n\r\n", b"--x\r\n--xy\r\n- --xyz\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_what_lies_before_the_first_boundary_is_skipped(preamble, size):
    """RFC 2046, 5.1.1."""
    part = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xyz--\r\n'
    for body, wanted in (
        (preamble + part, None),
        ((preamble + part).replace(b"\r\n", b"\n"), "LF alone"),
        (preamble + b"--xyz", "too early"),
        (preamble + b"nothing", "no line with the boundary"),
    ):
        reader = MultipartReader(b"xyz", Limits(), None)
        with pytest.raises(HttpError, match=wanted) if wanted else nullcontext():
            for start in range(0, len(body), size):
                reader.write(body[start : start + size])
            reader.finish()
        assert reader.fields == ([] if wanted else [("a", "1")])


@pytest.mark.parametrize(
    ("text", "half"),
    [("\\ud800", "ud800"), ("\\uDC00 a", "uDC00"), ("\\ud83d\\ude00\\\\\\ud83d-", "ud83d"), ("\\\\ud800", "")],
)
def test_half_of_a_surrogate_pair_is_named(text, half):
    said = f"“.{half}”, half of a surrogate pair" if half else "not valid JSON"
    with pytest.raises(HttpError, match=said):
        form_data.decode_json(schemas.CurrentVersion, f'{{"name": "{text}"{"}" * bool(half)}'.encode())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_multipart_is_read_the_same_in_pieces_of_any_size(tmp_path, size):
    content = b"\r\n--x\r\n--xy\r\n-" + random.Random(2).randbytes(500)
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xc3\xa9\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="\xc3\xa9 \\"1\\".jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + content + b"\r\n--xyz--\r\nepilogue"
    )
    spool = Spool(MemoryBudget(10_000), tmp_path)
    reader = MultipartReader(b"xyz", Limits(), spool)
    for start in range(0, len(body), size):
        reader.write(body[start : start + size])
    reader.finish()
    assert reader.fields == [("a", "é")]
    assert (reader.files, spool.read()) == ([('é "1".jpg', len(content))], content)
    spool.close()


@pytest.mark.parametrize("memory", [10_000, 100])
def test_several_files_are_told_apart_in_memory_and_on_disk(tmp_path, memory):
    contents = [b"", b"--xyz", b"\r\n" * 300, random.Random(3).randbytes(700)]
    body = b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="images[]"; filename="%d"\r\n\r\n%b\r\n' % (number, content)
        for number, content in enumerate(contents)
    )
    spool = Spool(MemoryBudget(memory), tmp_path)
    reader = MultipartReader(b"xyz", Limits(), spool, "images[]")
    for start in range(0, len(body), 50):
        reader.write(body[start : start + 50])
    reader.write(b"--xyz--\r\n")
    reader.finish()
    assert spool.on_disk == (memory == 100)
    assert [name for name, _ in reader.files] == ["0", "1", "2", "3"]
    assert spool.pieces([size for _, size in reader.files]) == contents
    spool.close()


def test_a_path_is_told_apart_by_its_method_too():
    async def handler(call):
        raise NotImplementedError

    def operation(name, method, path):
        return Operation(method, path, "text/plain", name=name, handler=handler)

    routes = Routes(
        [
            operation("upload", "POST", "/api/set/{id}/{label}/image"),
            operation("delete", "DELETE", "/api/set/{id}/labels/{label}"),
        ]
    )
    assert routes.find("POST", b"/api/set/1/labels/image")[0].name == "upload"
    found, values = routes.find("DELETE", b"/api/set/1/labels/a%2Fb%20c/")
    assert (found.name, values) == ("delete", {"id": "1", "label": "a/b c"})
    for method, path, status in [
        ("GET", b"/api/set/1/labels/image", 405),
        ("GET", b"/api/set/1", 404),
        ("GET", b"", 404),
    ]:
        with pytest.raises(HttpError) as caught:
            routes.find(method, path)
        assert caught.value.status == status
    with pytest.raises(ValueError, match="twice"):
        Routes([operation("a", "GET", "/a"), operation("b", "GET", "/a")])
    with pytest.raises(ValueError, match="flavor"):
        Routes([operation("c", "GET", "/c/{flavor}")])
