"""Evidence for a label by its place in an image: the logit taken apart over the cells of the encoder's last feature maps.

A block of the built-in embedding is the signed square roots of channel averages, scaled to one length. An average is the
sum of its cells, so that a channel's part in a logit, weight · embedding, is divided among the cells in proportion to their
values, exactly: the cells of a map add up to the block's part in the logit. That needs values without a sign, which the
last stage has (ReLU6); the pools of earlier, linear stages are left out, and `EvidenceMap.share` says how much remains.
Class activation maps (Zhou et al. 2016) do the same for plain averages.
"""

import threading
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.head import Head

CELLS: Final = 24
"""Cells of a map on each side; the encoder's own are 9 and, for the image at half size, 5."""
_ALIKE: Final = 0.999
"""Cosine from which a block of the embedding is that of a feature map."""

Floats = NDArray[np.float64]


class NoEvidence(UserError):  # noqa: N818 - named for what is missing
    """There is no map; `str()` is a sentence with the reason."""


@dataclass(frozen=True, slots=True)
class EvidenceMap:
    """Evidence for `label` against the average of the others.

    `values` (CELLS, CELLS) add up to the part of the logit, less the others' average, that lies in the last stage; above 0 speaks
    for the label. `box`: left, top, right and bottom of the map as shares of the upright image's sides. `share`: part of all
    evidence, for or against, that is in the map, 0…1.
    """

    label: str
    values: Floats
    box: tuple[float, float, float, float]
    share: float


class EvidenceMapper:
    """Makes maps with the feature maps of an encoder, which it runs a second time, loaded at the first call. Thread-safe."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._lock = threading.Lock()
        self._session: Any = None
        self._outputs: list[str] = []

    def map(self, image: Image.Image, head: Head, label: str | None = None) -> EvidenceMap:
        """Return the evidence for a label of the head, by default its answer, in an upright RGB image. Raises NoEvidence."""
        if label is not None and label not in head.labels:
            raise NoEvidence(f"The classifier has not learned “{label}”.")
        if head.dimensions != self.encoder.dimensions:
            raise NoEvidence("The classifier was trained with another encoder: it is trained anew in the background.")
        preparation = self.encoder.preparation
        outputs = self._run(preparation.prepare(image)[None])
        embedding, maps = (
            outputs[0].reshape(-1).astype(np.float64),
            [each[0].astype(np.float64) for each in outputs[1:]],
        )
        own = int(head.predict(embedding)[0].argmax()) if label is None else head.labels.index(label)
        weights = head.weights[own] - np.delete(head.weights, own, axis=0).mean(axis=0)
        parts = weights * embedding
        total = np.zeros((CELLS, CELLS))
        shown = everything = 0.0
        start = 0
        for features in maps:
            block = slice(start, start + len(features))
            start += len(features)
            self._check(features, embedding[block])
            everything += abs(float(parts[block].sum()))
            if features.min() < 0:
                continue
            shown += abs(float(parts[block].sum()))
            sums = features.sum(axis=(1, 2))
            total += _spread(np.einsum("c,chw->hw", parts[block] / np.maximum(sums, 1e-12), features), preparation.size)
        if start != len(embedding) or not shown:
            raise NoEvidence("This encoder has no feature maps that its numbers are averages of.")
        box = _box(image, preparation.crop, preparation.size / preparation.resize)
        return EvidenceMap(head.labels[own], total, box, shown / everything)

    @staticmethod
    def _check(features: Floats, block: Floats) -> None:
        """Raise NoEvidence unless a block of the embedding is the scaled signed roots of the averages of these maps."""
        means = features.mean(axis=(1, 2))
        roots = np.sign(means) * np.sqrt(np.abs(means))
        lengths = np.linalg.norm(roots) * np.linalg.norm(block) if roots.shape == block.shape else 0.0
        if not lengths or float(roots @ block) / lengths < _ALIKE:
            raise NoEvidence("This encoder has no feature maps that its numbers are averages of.")

    def _run(self, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        with self._lock:
            if self._session is None:
                self._load()
        found: list[NDArray[Any]] = self._session.run(self._outputs, {self.encoder.input_name: batch})
        return found

    def _load(self) -> None:
        """Load the encoder once more, with what its pools average as further outputs: the encoder itself stays as fast."""
        import onnx
        import onnxruntime

        model = onnx.load(self.encoder.path)
        pooled = list(dict.fromkeys(node.input[0] for node in model.graph.node if node.op_type == "GlobalAveragePool"))
        if not pooled:
            raise NoEvidence("This encoder has no feature maps that its numbers are averages of.")
        for name in pooled:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [self.encoder.embedding_output, *pooled]


def _spread(cells: Floats, size: int) -> Floats:
    """Return the map of a square input of side `size` on CELLS × CELLS, bilinear, with the same sum.

    A cell is as wide as the stride of its stage, a power of two; the cells lie around the middle and reach over the edges.
    """
    place = (np.arange(CELLS) + 0.5) / CELLS
    sides = []
    for count in cells.shape:
        stride = 2 ** round(np.log2(size / count)) / size
        at = np.clip((place - 0.5) / stride + (count - 1) / 2, 0, count - 1)
        sides.append(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count)[None])))
        sides[-1] /= sides[-1].sum(axis=0, keepdims=True)  # each cell keeps its sum
    spread: Floats = sides[0] @ cells @ sides[1].T
    return spread


def _box(image: Image.Image, crop: float, kept: float) -> tuple[float, float, float, float]:
    """Return the part of an image that `Preprocessing.prepare` takes, as shares of its sides."""
    shorter = min(image.size)
    width, height = (shorter * (side / shorter) ** (1 - crop) * kept / side for side in image.size)
    return (1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2
