"""Hooks for schemathesis: values of the formats that OpenAPI has no words for, and ids of things that are there."""

import base64
import json
import os
import zlib

import schemathesis
from hypothesis import strategies as st

THERE = json.loads(os.environ["FUZZ_THERE"])
"""What the test has made: a list of values for each name in a path, and `image_url`."""

GIF = b"GIF87a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
"""An image in seven-bit bytes: what is not text schemathesis takes for a violation of any schema it has to check again."""
TAKES_FILE = {"uploadImage", "classifyImage"}

_words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
_other = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)

schemathesis.openapi.format("label", st.builds(lambda a, b, c: a + b + c, _other, _words, _other))
schemathesis.openapi.format("slug", st.sampled_from(THERE["slug"]) | _words)
schemathesis.openapi.format("image-id", st.sampled_from(THERE["image_id"]))
schemathesis.openapi.format("uri", st.sampled_from(THERE["image_url"]))
schemathesis.openapi.format(
    "base64-utf8",
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    .filter(str.strip)
    .map(lambda text: base64.b64encode(text.encode()).decode()),
)
schemathesis.openapi.format("image-file", st.just(GIF.decode("ascii")))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every other time the thing that is named is there."""
    for name, value in (path_parameters or {}).items():
        there = THERE.get(name, [])
        right = isinstance(value, str) if there and isinstance(there[0], str) else isinstance(value, int) and value > 0
        chance = zlib.crc32(str(value).encode())
        if there and right and chance % 2:
            path_parameters[name] = there[chance // 2 % len(there)]
    return path_parameters


@schemathesis.hook
def filter_case(context, case):
    """What `oneOf` says, which the test takes out of the description: exactly one of `image` and `image_url`."""
    if case.media_type != "multipart/form-data" or case.operation.definition.raw["operationId"] not in TAKES_FILE:
        return True
    return isinstance(case.body, dict) and ("image" in case.body) != ("image_url" in case.body)
