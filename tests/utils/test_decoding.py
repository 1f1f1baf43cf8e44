"""Types that are decoded into on several threads at once."""

import ast
import subprocess
import sys
from pathlib import Path

import apitorch_desktop

PACKAGE = Path(apitorch_desktop.__file__).parent

_TWO_THREADS = """
import threading

from msgspec import Struct

from apitorch_desktop.api.types import decode_json

inside, other = threading.Event(), threading.Event()


def slowly():
    inside.set()
    other.wait(1)  # the other thread decodes meanwhile, or waits for this one
    return int


class Inner(Struct):
    number: "slowly()"


class Middle(Struct):
    inner: Inner
    name: str


class Outer(Struct):
    middle: Middle


found = []
first = threading.Thread(target=lambda: found.append(decode_json(b'{"middle": {"inner": {"number": 1}, "name": "a"}}', Outer)))
first.start()
inside.wait()
found.append(decode_json(b'{"inner": {"number": 2}, "name": "b"}', Middle))
other.set()
first.join()
assert sorted(getattr(one, "middle", one).name for one in found) == ["a", "b"]
"""


def test_two_threads_decode_a_type_for_the_first_time():
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _TWO_THREADS], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def _kinds_given(tree: ast.Module):
    """Yield each type that is handed to msgspec, and the line."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"msgspec.json.decode", "msgspec.msgpack.decode"}:
            yield from ((each.value, node.lineno) for each in node.keywords if each.arg == "type")
        elif called == "msgspec.convert":
            yield node.args[1], node.lineno
        elif called in {"msgspec.json.Decoder", "msgspec.msgpack.Decoder"} and node.args:
            yield node.args[0], node.lineno


def test_every_type_that_is_decoded_into_is_prepared():
    found = 0
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "utils" / "decoding.py":
            continue
        for kind, line in _kinds_given(ast.parse(path.read_text("utf-8"))):
            found += 1
            assert ast.unparse(kind).startswith("prepared("), f"{path}:{line}"
    assert found > 10
