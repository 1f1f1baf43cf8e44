"""Export of a trained classifier to one ONNX file: prepared pixels in, probabilities out, the rest in its metadata.

The file holds the encoder, the head's linear part, its memory of exact images and its novelty detector, so it answers as the
service does. Input: as `vision.encoder` describes under the same metadata keys (layout, channels, size, resize, crop, mean,
std, scale, interpolation): of the longer side keep shorter · (longer / shorter) ^ (1 − crop), in the middle, of both sides the
middle size / resize, and scale that to `size` × `size`, with antialiasing. Output `probabilities` (n, k), calibrated, in the
order of the metadata's `labels` (a JSON list); `temperature` is included in them. Output `familiarity` (n,): below the
metadata's `unknown_threshold` an image is none of the labels. Further keys: kind, classifier, encoder, input, output,
unknown_output, calibration_error (out of fold, where known), and usage: Python lines that classify a photo with this file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.files import atomic_write
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder
from apitorch_desktop.vision.folds import SAME, SKETCH, projection
from apitorch_desktop.vision.head import NONE_OF_THESE, REMEMBERED, Head
from apitorch_desktop.vision.novelty import CROWDING_WEIGHT, LOUDEST, NEIGHBOR, NoveltyDetector

KIND: Final = "apitorch-desktop classifier 1"
OUTPUT: Final = "probabilities"
UNKNOWN_OUTPUT: Final = "familiarity"
TOLERANCE: Final = 1e-4
"""Largest difference of probabilities that counts as equal."""
_OLDEST_OPSET: Final = 9


class ExportFailed(UserError):  # noqa: N818 - named for the condition
    """No file was made; `str()` is a sentence with the reason."""


def write_onnx(
    path: Path, head: Head, encoder: Encoder, classifier: str = "", calibration_error: float | None = None
) -> None:
    """Write `head` on top of `encoder` to `path`, whole or not at all; `classifier` is its slug.

    Raises ExportFailed, OSError.
    """
    import onnx

    if head.dimensions != encoder.dimensions:
        raise ExportFailed(
            f"The classifier was trained on another encoder ({head.dimensions} numbers an image, not {encoder.dimensions}): "
            "train it again, then export."
        )
    try:
        model = onnx.load(encoder.path)
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if opset < _OLDEST_OPSET:
            raise ExportFailed(
                f"The encoder is of ONNX operator set {opset}; {_OLDEST_OPSET} is the oldest that can be extended."
            )
        _Extension(model, head, encoder, opset).write()
        _describe(model, head, encoder, classifier, calibration_error)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
    except (onnx.checker.ValidationError, ValueError) as error:  # ValueError: more than 2 GiB
        raise ExportFailed(f"The encoder's model cannot be extended ({' '.join(str(error).split())[:200]}).") from error
    with atomic_write(path) as part:
        part.write_bytes(data)


def check_export(path: Path, head: Head, encoder: Encoder, images: Sequence[Image.Image]) -> float:
    """Return the largest difference between the file's probabilities and the service's own for upright RGB `images`.

    An image that is none of the labels to one but not to the other counts as 1, except very near the threshold.

    The file is loaded anew and prepares the images by nothing but its own metadata. The classifier is the same where the
    result is below TOLERANCE. Raises ExportFailed when it cannot be run or has other labels.
    """
    try:
        exported = Encoder(path)  # for an exported classifier the "embedding" is its probabilities
    except UnusableEncoder as error:
        raise ExportFailed(f"The exported file cannot be run: {error}") from error
    session, metadata = _opened(path)
    if _labels(metadata) != head.labels or exported.dimensions != len(head.labels):
        raise ExportFailed("The exported file has other labels than the classifier.")
    if head.novelty and "unknown_threshold" not in metadata:
        raise ExportFailed("The exported file does not know what is none of the labels.")
    if not images:
        return 0.0
    kind = np.float16 if exported.half_precision else np.float32
    outputs = [metadata["output"], *([metadata["unknown_output"]] if head.novelty else [])]
    found = []
    for image in images:
        pixels = exported.preparation.prepare(image)[None].astype(kind, copy=False)
        found.append(session.run(outputs, {metadata["input"]: pixels}))
    probabilities, *scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    embeddings = encoder.encode(images)
    difference = float(np.abs(probabilities - head.predict(embeddings)).max())
    if scores:
        threshold = float(metadata["unknown_threshold"])
        none = scores[0] < threshold
        if NONE_OF_THESE in head.labels:
            none |= probabilities.argmax(axis=1) == head.labels.index(NONE_OF_THESE)
        sure = np.abs(scores[0] - threshold) > 1e-2  # single precision
        difference = max(difference, float((none != head.is_none(embeddings))[sure].any()))
    return difference


def labels_of(path: Path) -> tuple[str, ...]:
    """Return the labels of an exported classifier, in the order of its output. Raises ExportFailed."""
    return _labels(metadata_of(path))


def metadata_of(path: Path) -> dict[str, str]:
    """Return the metadata of an exported classifier. Raises ExportFailed."""
    return _opened(path)[1]


def _labels(metadata: dict[str, str]) -> tuple[str, ...]:
    return tuple(json.loads(metadata["labels"]))


def _opened(path: Path) -> tuple[Any, dict[str, str]]:
    """Return a session and the metadata of an exported classifier. Raises ExportFailed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        if metadata.get("kind") == KIND:
            return session, metadata
    except Exception as error:  # onnxruntime has a dozen kinds, all of them plain Exceptions
        raise ExportFailed(f"“{path}” is not an ONNX file that can be run.") from error
    raise ExportFailed(f"“{path}” is not a classifier exported by this program.")


def usage(encoder: Encoder, classifier: str, *, unknown: bool) -> str:
    """Return the Python lines that classify “photo.jpg” with an exported file: imports, then three lines.

    They need onnxruntime, NumPy and Pillow.
    """
    its = encoder.preparation
    shorter = "min(image.size)" + (f" * (side / min(image.size)) ** {1 - its.crop:g}" if its.crop < 1 else "")
    kept = shorter + (f" * {its.size} / {its.resize}" if its.size != its.resize else "")
    resized = (
        f"image.resize(({its.size}, {its.size}), Image.Resampling.{its.interpolation.upper()}, "
        "(*edges, image.width - edges[0], image.height - edges[1]))"
    )
    values = f'np.asarray({resized}, "float32")' + ("[..., ::-1]" if its.channels == "BGR" else "")
    mean, std = (json.dumps(list(numbers)) for numbers in (its.mean, its.std))
    kind = "float16" if encoder.half_precision else "float32"
    scaled = f'(({values} - {mean}) * {its.scale!r} / {std}).astype("{kind}")'
    pixels = scaled + ("" if its.layout == "NHWC" else ".transpose(2, 0, 1)")
    return "\n".join(
        [
            "import numpy as np; from onnxruntime import InferenceSession; from PIL import Image, ImageOps",
            'image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"); '
            f"edges = [(side - {kept}) / 2 for side in image.size]",
            f"pixels = {pixels}",
            f"probabilities{', familiarity' if unknown else ','} = InferenceSession("
            f'"{classifier or "classifier"}.onnx").run(None, {{"{encoder.input_name}": pixels[None]}})',
        ]
    )


def _describe(
    model: Any, head: Head, encoder: Encoder, classifier: str, calibration_error: float | None = None
) -> None:
    """Replace the metadata by what is needed to run the file."""
    from onnx import helper

    preparation = encoder.preparation
    del model.metadata_props[:]
    helper.set_model_props(
        model,
        {
            "kind": KIND,
            "classifier": classifier,
            "name": classifier or "classifier",
            "labels": json.dumps(head.labels, ensure_ascii=False),
            "encoder": encoder.name,
            "input": encoder.input_name,
            "output": OUTPUT,
            "layout": preparation.layout,
            "channels": preparation.channels,
            "size": str(preparation.size),
            "resize": str(preparation.resize),
            "crop": repr(preparation.crop),
            "mean": ",".join(map(repr, preparation.mean)),
            "std": ",".join(map(repr, preparation.std)),
            "scale": repr(preparation.scale),
            "interpolation": preparation.interpolation,
            "usage": usage(encoder, classifier, unknown=head.novelty is not None),
            **({"calibration_error": repr(calibration_error)} if calibration_error is not None else {}),
            **({"temperature": repr(head.temperature)} if head.temperature else {}),
            **(
                {"unknown_output": UNKNOWN_OUTPUT, "unknown_threshold": repr(head.novelty.threshold)}
                if head.novelty
                else {}
            ),
        },
    )


class _Extension:
    """Adds the nodes of a head to an encoder's graph, with operators that are the same in every opset since 9."""

    def __init__(self, model: Any, head: Head, encoder: Encoder, opset: int) -> None:
        self._graph = model.graph
        self._opset = opset
        self._head = head
        self._embedding = encoder.embedding_output
        self._encoder = encoder
        self._count = 0

    def write(self) -> None:
        """Add the nodes; the graph's outputs become the probabilities and the familiarity."""
        from onnx import TensorProto, helper

        head, labels = self._head, len(self._head.labels)
        embedding = self._embedding
        if self._encoder.half_precision:
            embedding = self._node("Cast", embedding, to=TensorProto.FLOAT)
        if axes := self._encoder.pooled_axes:
            embedding = self._reduce("ReduceMean", embedding, axes)
        flat = self._node("Reshape", embedding, self._constant(np.array([-1, head.dimensions], np.int64)))
        product = self._node("MatMul", flat, self._constant(head.weights.T))
        logits = self._node("Add", product, self._constant(head.bias))
        answer, recalled = self._node("Softmax", logits, axis=1), ""
        if len(head.remembered):
            answer, recalled = self._recalled(flat, answer)
        outputs = {OUTPUT: (answer, [labels])}
        if head.novelty:
            outputs[UNKNOWN_OUTPUT] = self._familiarity(flat, logits, recalled, head.novelty), []
        del self._graph.output[:]
        batch = self._graph.input[0].type.tensor_type.shape.dim[0]
        for name, (tensor, shape) in outputs.items():
            self._graph.node.append(helper.make_node("Identity", [tensor], [name]))
            sizes = [batch.dim_value or batch.dim_param or "n", *shape]
            self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))

    def _recalled(self, flat: str, smooth: str) -> tuple[str, str]:
        """Add `Head.recall`; return the probabilities, and which images are remembered (n, 1)."""
        head, labels = self._head, len(self._head.labels)
        seen = self._node("MatMul", flat, self._constant(projection(head.dimensions)))
        length = self._sum(self._node("Mul", seen, seen), SKETCH)
        cross = self._node("MatMul", seen, self._constant(-2 * head.sketches.T))
        squares = self._constant(np.einsum("ij,ij->i", head.sketches, head.sketches)[None])
        distance = self._node("Add", self._node("Add", cross, squares), length)
        nearest = self._node("ArgMin", distance, axis=1, keepdims=1)
        known = self._node("Less", self._reduce("ReduceMin", distance), self._scaled(length, head.same**2))
        marks = np.eye(labels)[head.remembered]
        gathered = self._node("Gather", self._constant(marks), nearest, axis=0)
        mark = self._node("Reshape", gathered, self._constant(np.array([-1, labels], np.int64)))
        own = self._sum(self._node("Mul", smooth, mark), labels)
        one, remembered = self._constant(np.array(1)), self._constant(np.array(REMEMBERED))
        others = self._node("Mul", smooth, self._node("Sub", one, mark))
        share = self._node("Div", self._constant(np.array(1 - REMEMBERED)), self._node("Sub", one, own))
        raised = self._node("Add", self._node("Mul", others, share), self._node("Mul", mark, remembered))
        changes = self._node("And", known, self._node("Less", own, remembered))
        return self._node("Where", changes, raised, smooth), known

    def _familiarity(self, flat: str, logits: str, recalled: str, novelty: NoveltyDetector) -> str:
        """Add `NoveltyDetector.scores`, very large for remembered images and those of the training set."""
        apart = self._scaled(self._node("Sub", flat, self._constant(novelty.mean)), 1 / novelty.unit)
        place = self._node("MatMul", apart, self._constant(novelty.axes))
        inner = self._sum(self._node("Mul", place, place), novelty.axes.shape[1])
        all_squares = self._sum(self._node("Mul", apart, apart), len(novelty.mean))
        rest = self._node("Max", self._node("Sub", all_squares, inner), self._constant(np.array(0)))
        cross = self._node("MatMul", place, self._constant(-2 * novelty.known.T))
        lengths = self._constant(np.einsum("ij,ij->i", novelty.known, novelty.known)[None])
        within = self._node("Add", self._node("Add", cross, lengths), inner)
        outside = self._node("Add", rest, self._constant(novelty.rests[None]))
        negated = self._scaled(self._node("Add", within, outside), -1)
        nearness, around = self._smallest(negated, min(NEIGHBOR, len(novelty.known)))
        faint = self._standardized(self._reduce("ReduceMax", logits), *novelty.logit)
        faint = self._node("Min", faint, self._constant(np.array(LOUDEST)))
        near = self._scaled(self._standardized(nearness, *novelty.nearness), novelty.distance_weight)
        score = self._node("Add", faint, near)
        if novelty.spacings is not None:
            spacings = self._node("Gather", self._constant(novelty.spacings), around, axis=0)
            mean = self._node("Max", self._reduce("ReduceMean", spacings), self._constant(np.array(1e-6)))
            crowding = self._standardized(self._node("Div", nearness, mean), *novelty.crowding)
            score = self._node("Add", score, self._scaled(crowding, CROWDING_WEIGHT))
        gap = self._node("Sub", self._node("Sqrt", rest), self._constant(np.sqrt(novelty.rests)[None]))
        bound = self._reduce("ReduceMin", self._node("Add", within, self._node("Mul", gap, gap)))
        length = self._sum(self._node("Mul", flat, flat), len(novelty.mean))
        limit = self._node("Max", self._scaled(length, SAME**2 / novelty.unit**2), self._constant(np.array(1e-4)))
        known = self._node("Less", bound, limit)
        if recalled:
            known = self._node("Or", known, recalled)
        score = self._node("Where", known, self._constant(np.array(1e30)), score)
        return self._node("Reshape", score, self._constant(np.array([-1], np.int64)))

    def _smallest(self, negated: str, number: int) -> tuple[str, str]:
        """(n, m) → the `number`-th largest (n, 1), and the places of those up to it (n, number)."""
        from onnx import helper

        values, places = self._name(), self._name()
        if self._opset < 10:
            node = helper.make_node("TopK", [negated], [values, places], axis=1, k=number)
        else:
            node = helper.make_node(
                "TopK", [negated, self._constant(np.array([number], np.int64))], [values, places], axis=1
            )
        self._graph.node.append(node)
        return self._node("Gather", values, self._constant(np.array([number - 1], np.int64)), axis=1), places

    def _standardized(self, tensor: str, center: float, spread: float) -> str:
        return self._scaled(self._node("Sub", tensor, self._constant(np.array(center))), 1 / spread)

    def _scaled(self, tensor: str, factor: float) -> str:
        return self._node("Mul", tensor, self._constant(np.array(factor)))

    def _sum(self, tensor: str, width: int) -> str:
        """(n, width) → (n, 1)."""
        return self._node("MatMul", tensor, self._constant(np.ones((width, 1))))

    def _reduce(self, operator: str, tensor: str, axes: Sequence[int] = (1,)) -> str:
        """(n, m) → (n, 1)."""
        if self._opset < 18:
            return self._node(operator, tensor, axes=list(axes), keepdims=1)
        return self._node(operator, tensor, self._constant(np.array(axes, np.int64)), keepdims=1)

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = self._name()
        self._graph.node.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def _constant(self, values: Any) -> str:
        """float32, unless it is a shape."""
        from onnx import numpy_helper

        name = self._name()
        array = values if values.dtype == np.int64 and values.ndim else np.asarray(values, np.float32)
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"apitorch_head_{self._count}"
