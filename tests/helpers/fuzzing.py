"""Hooks for schemathesis: values of custom formats, and requests for existing records."""

import base64
import json
import os
import zlib
from collections import Counter
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

from apitorch_desktop.api.slugs import snake_case

THERE = json.loads(os.environ["FUZZ_THERE"])
"""The records made by the test: the `key`; `named`, values for each path parameter and for `image_url`; `kept`,
training sets that must not change; `doomed`, those to delete; `calls`, by operation, requests that the service can
grant.
"""
SEEN = Path(os.environ["FUZZ_SEEN"])
"""A file that gets a line for each response: operation and status."""

GIF = b"GIF87a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
"""An image in seven-bit bytes: schemathesis takes other bytes for a violation of any schema when it checks them again.
"""
TAKES_FILE = {"uploadImage", "classifyImage", "listSimilar"}
LABELS = {"label", "correct_label_id"}
IN_BODY_TOO = {"correctClassification": {"classification_id", "correct_label_id"}, "sendMessage": {"message"}}
"""Fields that are described in the query, where the documentation has them, and are accepted in the body as well."""

_AT_FIRST = 4
"""Valid requests of an operation that are replaced whatever they are; else chance may leave one without any granted."""
_replaced: Counter[str] = Counter()

_words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
_other = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)

schemathesis.openapi.format("label", st.builds(lambda a, b, c: a + b + c, _other, _words, _other))
schemathesis.openapi.format("slug", st.sampled_from(THERE["named"]["slug"]) | _words)
schemathesis.openapi.format("image-id", st.sampled_from(THERE["named"]["image_id"]))
schemathesis.openapi.format("training-set-id", st.sampled_from(THERE["named"]["id"]))
schemathesis.openapi.format("uri", st.sampled_from(THERE["named"]["image_url"]))
schemathesis.openapi.format(
    "base64-utf8",
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    .filter(str.strip)
    .map(lambda text: base64.b64encode(text.encode()).decode()),
)
schemathesis.openapi.format("image-file", st.just(GIF.decode("ascii")))


@schemathesis.auth()
class Key:
    """The API key, except in cases about a wrong or a missing key.

    Given as `--auth` it would be sent in those as well, and the service would rightly grant what schemathesis takes for
    a violation.
    """

    def get(self, case, context):
        return "Basic " + base64.b64encode(f"{THERE['key']}:".encode()).decode()

    def set(self, case, data, context):
        case.headers["Authorization"] = data


def _chance(value):
    """Return a number that is the same whenever schemathesis tries a value again."""
    return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Replace every other path parameter by that of an existing record."""
    named, held = THERE["named"], set(THERE["kept"])
    if context.operation.method == "delete":
        named, held = {**named, "id": THERE["doomed"]}, held | set(named["id"])
    for name, value in (path_parameters or {}).items():
        there = named.get(name, [])
        right = isinstance(value, str) if there and isinstance(there[0], str) else isinstance(value, int) and value > 0
        chance = _chance(value)
        if there and right and (chance % 2 or (name == "id" and value in held)):
            path_parameters[name] = there[chance // 2 % len(there)]
    return path_parameters


@schemathesis.hook
def filter_case(context, case):
    """Drop cases that are not the violation, or the valid request, that schemathesis takes them for."""
    after_all = _files_after_all(case) or _label_after_all(case) or _in_body_after_all(case)
    return not (_neither_file_nor_url(case) or _as_file(case) or after_all)


def _neither_file_nor_url(case):
    """Return whether a case violates `oneOf`, which the test removes from the description: exactly one of `image` and
    `image_url`.
    """
    if case.media_type != "multipart/form-data" or case.operation.definition.raw["operationId"] not in TAKES_FILE:
        return False
    return not isinstance(case.body, dict) or ("image" in case.body) == ("image_url" in case.body)


def _as_file(case):
    """Return whether base64 text would be sent as a file in multipart, as no client does."""
    sends_text = case.operation.definition.raw["operationId"] == "sendMessage"
    multipart = case.media_type == "multipart/form-data" and isinstance(case.body, dict)
    return sends_text and multipart and "message" in case.body


def _files_after_all(case):
    """Return whether supposed violations of `images[]` are files: in multipart everything is bytes, and has an answer."""
    several = case.operation.definition.raw["operationId"] == "uploadImages"
    negative = case.meta is not None and case.meta.generation.mode.is_negative
    return several and negative and isinstance(case.body, dict) and case.body.get("images[]", []) != []


def _in_body_after_all(case):
    """Return whether fields missing in the query are in the body, which OpenAPI cannot express."""
    fields = IN_BODY_TOO.get(case.operation.definition.raw["operationId"])
    negative = case.meta is not None and case.meta.generation.mode.is_negative
    return bool(fields and negative and isinstance(case.body, dict) and fields <= case.body.keys())


def _label_after_all(case):
    """Return whether a supposed violation of the format `label`, of which schemathesis knows only the name, is a label."""
    for mutation in getattr(case.meta.phase.data, "mutations", ()) if case.meta else ():
        if "format" in mutation.keywords and mutation.path and mutation.path[-1] in LABELS:
            held = case.get_container(mutation.parameter_location)
            value = held.get(mutation.path[-1]) if isinstance(held, dict) else None
            if isinstance(value, str) and snake_case(value):
                return True
    return False


@schemathesis.hook
def map_case(context, case):
    """Replace an operation's first valid requests, and then every other one, by one that the service can grant."""
    operation = case.operation.definition.raw["operationId"]
    calls = THERE["calls"].get(operation)
    if not calls or (case.meta and case.meta.generation.mode.is_negative):
        return case
    chance = _chance((case.path_parameters, dict(case.query or {}), case.body))
    _replaced[operation] += 1
    if _replaced[operation] > _AT_FIRST and not chance % 2:
        return case
    call = calls[chance // 2 % len(calls)]
    case.path_parameters = {**case.path_parameters, **call.get("path", {})}
    case.query = {**case.query, **call.get("query", {})}
    if isinstance(case.body, dict):
        json_body = case.media_type == "application/json"
        for name, value in call.get("body", {}).items():
            case.body[f"{name}[]" if isinstance(value, list) and not json_body else name] = value
    return case


@schemathesis.hook
def after_call(context, case, response):
    """Record the status of a response."""
    with SEEN.open("a") as seen:
        seen.write(f"{case.operation.definition.raw['operationId']} {response.status_code}\n")
