"""ApiClient: a method for every documented endpoint; the extensions' calls are in `extensions.py`.

Every method may raise any `errors.ApiError`. Nothing else comes out, except for a bug.
"""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from apitorch_desktop.api import types
from apitorch_desktop.api.errors import BadRequest, NotApiTorch
from apitorch_desktop.api.extensions import Extensions, label_of, query, segment
from apitorch_desktop.api.multipart import Multipart
from apitorch_desktop.api.transport import Transport

_LONGEST_QUERY = 4000
"""Characters of a message that still go in the URL, as documented; servers refuse lines of more than 8,000."""

_PATIENCE = 2.0


class ApiClient(Extensions):
    """The API Torch interface at one base URL with one key. Synchronous and thread-safe; `repr` shows the URL only.

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
        """The same service with the same key, but every call is made once: for who repeats and paces by himself."""
        other = ApiClient.__new__(ApiClient)
        other._transport = self._transport.without_retries()
        return other

    def close(self) -> None:
        """Close the connections that are kept alive. The client can still be used."""
        self._transport.close()

    def ping(self) -> types.Ping:
        """Whether the service is there and knows the key, and which extensions it lists."""
        answer = self._transport.call("GET", "ping", dict[str, Any])
        if answer.get("object") != "ping":  # all fields of a Ping have a default: any JSON would do
            raise NotApiTorch(f"What answers at {self.base_url} is not API Torch.")
        return msgspec.convert(answer, types.Ping, strict=False)

    def training_sets(self) -> list[types.TrainingSet]:
        """The training sets of this key."""
        return self._transport.call("GET", "training-sets", types.TrainingSets).data

    def upload_image(
        self,
        training_set_id: types.Id,
        label: str,
        *,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "image",
        on_sent: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        repeat: bool = True,
    ) -> types.ImageAnswer:
        """Add an image from disk (`path`) or memory (`data` with `filename`) to a label; a new label is made.

        The file is streamed. `on_sent` is called with the bytes sent so far, from 0 again when the upload is retried.
        The same image to the same label gives the first id, so a retry is harmless; without `repeat` it is sent again
        only where the service cannot have seen it. One that is all sent when it is cancelled has two seconds to be answered.
        """
        body = _image_body([], path, data, filename, on_sent)
        if cancelled is not None:
            cancelled = _patient(cancelled, body)
        route = f"training-set/{segment(training_set_id)}/{segment(label_of(label))}/image"
        return self._transport.call(
            "POST", route, types.ImageAnswer, multipart=body, repeatable=repeat, cancelled=cancelled
        )

    def upload_image_url(self, training_set_id: types.Id, label: str, image_url: str) -> types.ImageAnswer:
        """Have the service fetch an image and add it to a label."""
        route = f"training-set/{segment(training_set_id)}/{segment(label_of(label))}/image"
        return self._transport.call("POST", route, types.ImageAnswer, json={"image_url": image_url}, repeatable=True)

    def delete_image(self, image_id: str) -> types.ImageAnswer:
        """Delete an image; its id is given with or without `ti_`. Gone already after a retry counts as done."""
        gone = types.ImageAnswer(id=image_id, message="Image deleted.")
        return self._transport.call("DELETE", f"training-image/{segment(image_id)}", types.ImageAnswer, gone=gone)

    def images(self, training_set_id: types.Id, *, cancelled: Callable[[], bool] | None = None) -> types.TrainingImages:
        """All labels and images of a training set; the URLs hold for the current UTC day."""
        route = f"training-set/{segment(training_set_id)}/images"
        return self._transport.call("GET", route, types.TrainingImages, cancelled=cancelled)

    def download(
        self,
        url: str,
        *,
        cancelled: Callable[[], bool] | None = None,
        limit: int = 256 * 2**20,
    ) -> bytes:
        """The bytes at a (signed) URL, at most `limit` of them. The key goes to the base URL's own origin only.

        An address that has run out (403) or is gone is a NotFound: list again, and go on.
        """
        chunks: list[bytes] = []
        self._transport.download(url, chunks, limit=limit, cancelled=cancelled)
        return b"".join(chunks)

    def classifiers(self) -> list[types.Classifier]:
        """The classifiers that may be used in `classify`."""
        return self._transport.call("GET", "classifiers", types.Classifiers).data

    def classify(
        self,
        classifiers: Sequence[str],
        *,
        image_url: str | None = None,
        path: Path | None = None,
        data: bytes | None = None,
        filename: str = "image",
        show_confidence_value: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[types.Classification]:
        """What 1 to 10 classifiers, named by slug, say about one image.

        By URL as documented; from disk or memory where the service lists `classify.upload`. Never sent twice
        once the service may have seen it: each call is remembered and may be paid for.
        """
        if not 1 <= len(classifiers) <= types.MAX_CLASSIFIERS:
            raise BadRequest(f"Choose 1 to {types.MAX_CLASSIFIERS} classifiers, not {len(classifiers)}.")
        if image_url is not None:
            if path is not None or data is not None:
                raise ValueError("one of image_url, path and data")
            json: dict[str, object] = {"classifiers": list(classifiers), "image_url": image_url}
            if show_confidence_value:
                json["options"] = {"show_confidence_value": True}
            return self._transport.call("POST", "classify", types.Classifications, json=json, cancelled=cancelled).data
        fields = [("classifiers[]", slug) for slug in classifiers]
        if show_confidence_value:
            fields.append(("options[show_confidence_value]", "true"))
        body = _image_body(fields, path, data, filename, None)
        return self._transport.call("POST", "classify", types.Classifications, multipart=body, cancelled=cancelled).data

    def feedback_classification(self, classification_id: str, correct_label_id: types.Id) -> types.FeedbackAnswer:
        """Correct a classification: its image joins the training images of the correct label.

        `correct_label_id` is the label's id where the service gives one, else the label itself.
        """
        parameters = query(classification_id=classification_id, correct_label_id=correct_label_id)
        return self._transport.call("POST", f"feedback/classification?{parameters}", types.FeedbackAnswer)

    def feedback_freeform(self, message: str) -> types.FeedbackAnswer:
        """Send a message; it travels as base64 of UTF-8, in the URL as documented, in a form when it is long."""
        coded = base64.b64encode(message.encode("utf-8", "replace")).decode("ascii")
        if len(coded) <= _LONGEST_QUERY:
            return self._transport.call("POST", f"feedback/freeform?{query(message=coded)}", types.FeedbackAnswer)
        return self._transport.call("POST", "feedback/freeform", types.FeedbackAnswer, form={"message": coded})


def _patient(cancelled: Callable[[], bool], body: Multipart) -> Callable[[], bool]:
    """`cancelled`, heeded late once all is sent: cut then, nobody would know whether the image is there."""
    last: list[float] = []

    def heeded() -> bool:
        if not cancelled():
            return False
        if not last:
            last.append(monotonic() + _PATIENCE)
        return not body.through or monotonic() >= last[0]

    return heeded


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
    return Multipart(fields, source, path.name if path is not None else filename, on_sent)
