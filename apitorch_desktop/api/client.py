"""Client with a method for every documented endpoint; those of the extensions are in `extensions.py`.

Every method may raise any `errors.ApiError`, and nothing else.
"""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from apitorch_desktop.api import types
from apitorch_desktop.api.errors import BadRequest, NotApiTorch
from apitorch_desktop.api.extensions import Extensions, label_of, query, segment
from apitorch_desktop.api.multipart import Multipart, SentFile
from apitorch_desktop.api.transport import Transport
from apitorch_desktop.utils.decoding import prepared

_LONGEST_QUERY = 4000
"""Characters of a message that are sent in the URL, as documented; servers refuse lines of more than 8,000."""

_ANSWER_WAIT = 2.0
"""Seconds that a cancelled upload waits for its answer."""


class ApiClient(Extensions):
    """API Torch service at one base URL with one key. Synchronous and thread-safe; `repr` shows the URL only.

    `base_url` is a host, a URL, with or without `api/`; see `transport.normalize_url`. `timeout` is (connect, read) in
    seconds, `total` bounds one attempt as a whole, `attempts` counts the first.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout: tuple[float, float] = (5, 60),
        total: float = 300,
        attempts: int = 4,
    ) -> None:
        self._transport = Transport(base_url, key, timeout=timeout, total=total, attempts=attempts)

    @property
    def base_url(self) -> str:
        """The address every path is added to; ends in a slash."""
        return self._transport.base_url

    def __repr__(self) -> str:
        return f"ApiClient({self.base_url!r})"

    def without_retries(self) -> "ApiClient":
        """Return a client of the same service that makes every call once, for callers with retries of their own."""
        other = ApiClient.__new__(ApiClient)
        other._transport = self._transport.without_retries()
        other._takes_packed = self._takes_packed
        return other

    def close(self) -> None:
        """Close the idle connections. The client can still be used."""
        self._transport.close()

    def ping(self) -> types.Ping:
        """Check that the service is there and knows the key; the answer lists its extensions."""
        answer = self._transport.call("GET", "ping", dict[str, Any])
        if answer.get("object") != "ping":  # all fields of a Ping have a default: any JSON would do
            raise NotApiTorch(f"What answers at {self.base_url} is not API Torch.")
        ping = msgspec.convert(answer, prepared(types.Ping), strict=False)
        self._takes_packed = "images.msgpack" in (ping.extensions or ())
        return ping

    def training_sets(self) -> list[types.TrainingSet]:
        """Return the training sets of this key."""
        return self._transport.call("GET", "training-sets", types.TrainingSets).data

    def upload_image(
        self,
        training_set_id: types.Id,
        label: str,
        *,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "",
        split: str = "",
        on_sent: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        repeat: bool = True,
    ) -> types.ImageAnswer:
        """Add an image from disk (`path`) or memory (`data`) to a label, which is created if missing.

        `filename` is the name that it is sent under, by default its own.

        `split` is one of types.SPLITS or empty; the extension `splits`, which other services ignore.

        `on_sent` receives the bytes sent so far, from 0 again when the upload is retried. The same image for the same
        label gives the first id, so a retry is harmless; without `repeat` it is sent again only where the service cannot
        have seen it. A cancelled upload whose body was sent already waits up to two seconds for its answer.
        """
        body = _image_body([("split", split)] if split else [], path, data, filename, on_sent)
        if cancelled is not None:
            cancelled = body.delayed(cancelled)
        route = f"training-set/{segment(training_set_id)}/{segment(label_of(label))}/image"
        return self._transport.call(
            "POST", route, types.ImageAnswer, multipart=body, repeatable=repeat, cancelled=cancelled
        )

    def as_sent(self, data: bytes) -> bytes:
        """Return the bytes that `upload_image` sends for an image: its own."""
        return data

    def upload_image_url(
        self, training_set_id: types.Id, label: str, image_url: str, *, split: str = ""
    ) -> types.ImageAnswer:
        """Let the service fetch an image from a URL and add it to a label; `split` as in `upload_image`."""
        route = f"training-set/{segment(training_set_id)}/{segment(label_of(label))}/image"
        json = {"image_url": image_url, **({"split": split} if split else {})}
        return self._transport.call("POST", route, types.ImageAnswer, json=json, repeatable=True)

    def delete_image(self, image_id: str) -> types.ImageAnswer:
        """Delete an image, given by its id with or without `ti_`. One that a retry finds missing counts as deleted."""
        deleted = types.ImageAnswer(id=image_id, message="Image deleted.")
        return self._transport.call("DELETE", f"training-image/{segment(image_id)}", types.ImageAnswer, missing=deleted)

    def images(self, training_set_id: types.Id, *, cancelled: Callable[[], bool] | None = None) -> types.TrainingImages:
        """Return all labels and images of a training set; the URLs are valid for the current UTC day."""
        route = f"training-set/{segment(training_set_id)}/images"
        return self._listing(route, cancelled)

    def download(
        self,
        url: str,
        *,
        cancelled: Callable[[], bool] | None = None,
        limit: int = 256 * 2**20,
    ) -> bytes:
        """Return the bytes at a (signed) URL, at most `limit`. The key is sent to the base URL's own origin only.

        Raises NotFound for a URL that has expired or whose image is gone: list again for a fresh one.
        """
        return self._transport.download(url, limit=limit, cancelled=cancelled)

    def is_own(self, url: str) -> bool:
        """Return whether a URL is at the base URL's own origin."""
        return self._transport.is_own(url)

    def classifiers(self) -> list[types.Classifier]:
        """Return the classifiers that may be used in `classify`."""
        return self._transport.call("GET", "classifiers", types.Classifiers).data

    def classify(
        self,
        classifiers: Sequence[str],
        *,
        image_url: str | None = None,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "",
        show_confidence_value: bool = True,
        keep: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[types.Classification]:
        """Classify one image with 1 to 10 classifiers, given by slug.

        By URL as documented; from disk or memory where the service lists `classify.upload`. Never sent again once the
        service may have seen it: each call is recorded there and may be paid for. Unless `keep`, a service with
        `classify.unkept` records nothing, and the answer has no id: it cannot be corrected.
        """
        if not 1 <= len(classifiers) <= types.MAX_CLASSIFIERS:
            raise BadRequest(f"Choose 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(classifiers)}.")
        if image_url is not None:
            if path is not None or data is not None:
                raise ValueError("one of image_url, path and data")
            json: dict[str, object] = {"classifiers": list(classifiers), "image_url": image_url}
            options = {"show_confidence_value": True} if show_confidence_value else {}
            if not keep:
                options["keep"] = False
            if options:
                json["options"] = options
            return self._transport.call("POST", "classify", types.Classifications, json=json, cancelled=cancelled).data
        fields = [("classifiers[]", slug) for slug in classifiers]
        if show_confidence_value:
            fields.append(("options[show_confidence_value]", "true"))
        if not keep:
            fields.append(("options[keep]", "false"))
        body = _image_body(fields, path, data, filename, None)
        return self._transport.call("POST", "classify", types.Classifications, multipart=body, cancelled=cancelled).data

    def feedback_classification(self, classification_id: str, correct_label_id: str) -> types.FeedbackAnswer:
        """Correct a classification: its image becomes a training image of the correct label.

        `correct_label_id` is the label's id where the service gives one, else the label itself.
        """
        parameters = query(classification_id=classification_id, correct_label_id=correct_label_id)
        return self._transport.call("POST", f"feedback/classification?{parameters}", types.FeedbackAnswer)

    def feedback_freeform(self, message: str) -> types.FeedbackAnswer:
        """Send a message as base64 of UTF-8: in the URL as documented, in a form where it is long."""
        coded = base64.b64encode(message.encode("utf-8", "replace")).decode("ascii")
        if len(coded) <= _LONGEST_QUERY:
            return self._transport.call("POST", f"feedback/freeform?{query(message=coded)}", types.FeedbackAnswer)
        return self._transport.call("POST", "feedback/freeform", types.FeedbackAnswer, form={"message": coded})


def _image_body(
    fields: list[tuple[str, str]],
    path: Path | None,
    data: bytes | None,
    filename: str,
    on_sent: Callable[[int], None] | None,
) -> Multipart:
    if (path is None) == (data is None):
        raise ValueError("one of path and data")
    source = path if path is not None else data
    assert source is not None  # noqa: S101 - for mypy; checked above
    name = filename or (path.name if path is not None else "image")
    return Multipart(fields, [SentFile(source, name)], on_sent=on_sent)
