"""A trained classifier as one ONNX file: prepared pixels in, probabilities out, the rest in its metadata.

The file holds the encoder, the head's smooth part and its memory of exact images, so it answers as the service does.
Input: as `vision.encoder` describes under the same metadata keys (layout, channels, size, resize, mean, std, scale): scale
the shorter side to `resize`, bilinear with antialiasing, crop the centre to `size`. Output `probabilities` (n, k), in the order
of the metadata's `labels` (a JSON list). Further keys: kind, classifier, encoder, input, output.
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
from apitorch_desktop.vision.head import REMEMBERED, Head

KIND: Final = "apitorch-desktop classifier 1"
OUTPUT: Final = "probabilities"
TOLERANCE: Final = 1e-4
"""Largest difference of a probability that counts as the same answer."""
_OLDEST_OPSET: Final = 9


class ExportFailed(UserError):  # noqa: N818 - named for the condition
    """No file was made; `str()` is one sentence that says why."""


def write_onnx(path: Path, head: Head, encoder: Encoder, classifier: str = "") -> None:
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
        _describe(model, head, encoder, classifier)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
    except (onnx.checker.ValidationError, ValueError) as error:  # ValueError: more than 2 GiB
        raise ExportFailed(f"The encoder's model cannot be extended ({' '.join(str(error).split())[:200]}).") from error
    with atomic_write(path) as part:
        part.write_bytes(data)


def check_export(path: Path, head: Head, encoder: Encoder, images: Sequence[Image.Image]) -> float:
    """Largest difference between the file's probabilities and the service's own, over upright RGB `images`.

    The file is loaded anew and prepares the images by nothing but its own metadata. It is the same classifier where the
    result is below TOLERANCE. Raises ExportFailed when it cannot be run or has other labels.
    """
    try:
        exported = Encoder(path)  # for an exported classifier the "embedding" is its probabilities
    except UnusableEncoder as error:
        raise ExportFailed(f"The exported file cannot be run: {error}") from error
    if labels_of(path) != head.labels or exported.dimensions != len(head.labels):
        raise ExportFailed("The exported file has other labels than the classifier.")
    if not images:
        return 0.0
    ours = head.predict(encoder.encode(images).embeddings)
    return float(np.abs(exported.encode(images).embeddings - ours).max())


def labels_of(path: Path) -> tuple[str, ...]:
    """Labels of an exported classifier, in the order of its output. Raises ExportFailed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        if metadata.get("kind") == KIND:
            return tuple(json.loads(metadata["labels"]))
    except Exception as error:  # onnxruntime has a dozen kinds, all of them plain Exceptions
        raise ExportFailed(f"“{path}” is not an ONNX file that can be run.") from error
    raise ExportFailed(f"“{path}” is not a classifier exported by this program.")


def _describe(model: Any, head: Head, encoder: Encoder, classifier: str) -> None:
    """Replace the metadata by what someone needs to run the file."""
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
            "mean": ",".join(map(repr, preparation.mean)),
            "std": ",".join(map(repr, preparation.std)),
            "scale": repr(preparation.scale),
        },
    )


class _Extension:
    """The nodes of a head, added behind an encoder's embedding, by operators that mean the same in every opset since 9."""

    def __init__(self, model: Any, head: Head, encoder: Encoder, opset: int) -> None:
        self._graph = model.graph
        self._opset = opset
        self._head = head
        self._embedding = encoder.embedding_output
        self._count = 0

    def write(self) -> None:
        """Add the nodes; the probabilities become the only output."""
        from onnx import TensorProto, helper

        head, labels = self._head, len(self._head.labels)
        flat = self._node("Reshape", self._embedding, self._constant(np.array([-1, head.dimensions], np.int64)))
        logits = self._node("MatMul", flat, self._constant(head.weights.T))
        smooth = self._node("Softmax", self._node("Add", logits, self._constant(head.bias)), axis=1)
        answer = self._recalled(flat, smooth) if len(head.remembered) else smooth
        self._graph.node.append(helper.make_node("Identity", [answer], [OUTPUT]))
        del self._graph.output[:]
        batch = self._graph.input[0].type.tensor_type.shape.dim[0]
        shape = [batch.dim_value or batch.dim_param or "n", labels]
        self._graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))

    def _recalled(self, flat: str, smooth: str) -> str:
        """What `Head._recall` does, for all rows at once."""
        head, labels = self._head, len(self._head.labels)
        seen = self._node("MatMul", flat, self._constant(projection(head.dimensions)))
        length = self._node("MatMul", self._node("Mul", seen, seen), self._constant(np.ones((SKETCH, 1))))
        cross = self._node("MatMul", seen, self._constant(-2 * head.sketches.T))
        squares = self._constant(np.einsum("ij,ij->i", head.sketches, head.sketches)[None])
        distance = self._node("Add", self._node("Add", cross, squares), length)
        nearest = self._node("ArgMin", distance, axis=1, keepdims=1)
        if self._opset < 18:
            least = self._node("ReduceMin", distance, axes=[1], keepdims=1)
        else:
            least = self._node("ReduceMin", distance, self._constant(np.array([1], np.int64)), keepdims=1)
        known = self._node("Less", least, self._node("Mul", length, self._constant(np.array(SAME**2))))
        marks = np.eye(labels)[head.remembered]
        gathered = self._node("Gather", self._constant(marks), nearest, axis=0)
        mark = self._node("Reshape", gathered, self._constant(np.array([-1, labels], np.int64)))
        own = self._node("MatMul", self._node("Mul", smooth, mark), self._constant(np.ones((labels, 1))))
        one, remembered = self._constant(np.array(1)), self._constant(np.array(REMEMBERED))
        others = self._node("Mul", smooth, self._node("Sub", one, mark))
        share = self._node("Div", self._constant(np.array(1 - REMEMBERED)), self._node("Sub", one, own))
        raised = self._node("Add", self._node("Mul", others, share), self._node("Mul", mark, remembered))
        changes = self._node("And", known, self._node("Less", own, remembered))
        return self._node("Where", changes, raised, smooth)

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
