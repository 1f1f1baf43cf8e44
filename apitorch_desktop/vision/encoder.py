"""Image → embedding: the built-in network, or an ONNX file of the person's own, run by onnxruntime.

How pictures are prepared stands in the file's metadata (all optional, shown with their defaults):
    layout            NCHW or NHWC            from the input's shape
    channels          RGB or BGR              RGB
    size              pixels of a side        from the input's shape, else 224
    resize            shorter side before the centre crop of `size`; default `size` · 8 / 7
    mean, std, scale  x = (pixel − mean) · scale / std, a number or one for each channel in the order of `channels`;
                      0, 1, 1 / 255
    embedding_output  name of an output (n, d)              the first
    unsafe_output     name of an output (n, 1) or (n, 2), the last column of which is the unsafe score; none
    name              for people                            the file's name
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.paths import resources

PREPARATION: Final = 1
"""Part of an encoder's name: raise it when `prepare` changes what it makes, so that no old embedding is used."""
_OVERSAMPLING: Final = 1.75
"""Asked of a reduced decode, so that an embedding hardly depends on it: within 0.03 of a full one, at 1.0 0.12."""
_BATCH: Final = 8
"""Images that go through the network together: more gain nothing on a CPU, and cost memory."""


class UnusableEncoder(UserError):  # noqa: N818 - named for the condition
    """The model file cannot be used as an encoder; `str()` is one sentence that says why."""


class Preprocessing(msgspec.Struct, frozen=True):
    """What is done to a picture before the network sees it; see the module's docstring. `mean` and `std` have 1 or 3."""

    layout: str
    channels: str
    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def prepare(self, image: Image.Image) -> NDArray[np.float32]:
        """RGB image of any size → float32 (size, size, 3) or, for NCHW, (3, size, size)."""
        side = min(image.size) * self.size / self.resize
        left, top = (image.width - side) / 2, (image.height - side) / 2
        # Scaling only what the centre crop keeps is the same as scaling all and cropping, in less time.
        square = image.resize(
            (self.size, self.size),
            Image.Resampling.BILINEAR,
            box=(left, top, left + side, top + side),
            reducing_gap=3.0,
        )
        pixels = np.asarray(square, np.float32)
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        pixels = (pixels - mean) * (np.float32(self.scale) / std)
        return pixels if self.layout == "NHWC" else pixels.transpose(2, 0, 1)


class EncodedBatch(NamedTuple):
    """`embeddings` float32 (n, d); `unsafe` float32 (n,) in 0…1, None where the model has no such output."""

    embeddings: NDArray[np.float32]
    unsafe: NDArray[np.float32] | None


class Encoder:
    """A loaded model; thread-safe.

    `name` identifies what it computes (cache embeddings under it), `dimensions` is d, `shorter_side` what
    `images.open_upright(data, at_least=…)` should be asked for, `path` the model file.
    """

    def __init__(self, path: Path | None = None, threads: int = 0) -> None:
        """Load `path`, or the built-in model; `threads` 0 = one a core. Raises UnusableEncoder."""
        import onnxruntime

        self.path = path or resources() / "models" / "encoder.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # Threads that spin while they wait win 2 ms on an idle machine, and triple the time on a busy one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
            self._session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise UnusableEncoder(f"The encoder's model “{self.path}” cannot be read ({error.strerror}).") from error
        except Exception as error:  # onnxruntime has a dozen kinds, all of them plain Exceptions
            raise UnusableEncoder(f"The encoder's model “{self.path}” is not an ONNX file that can be run.") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.preparation = self._preparation(metadata)
        self.embedding_output, self.unsafe_output = self._outputs(metadata)
        self.name = f"{metadata.get('name') or self.path.stem}-{digest[:12]}-{PREPARATION}"
        self.shorter_side = round(self.preparation.resize * _OVERSAMPLING)
        self.dimensions = self._probe()

    @property
    def input_name(self) -> str:
        """Name of the model's only input."""
        return str(self._session.get_inputs()[0].name)

    def encode(self, images: Sequence[Image.Image]) -> EncodedBatch:
        """Embed upright RGB images (any size; none is fine)."""
        parts = [self._run(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
        if not parts:
            empty = np.empty(0, np.float32)
            return EncodedBatch(np.empty((0, self.dimensions), np.float32), empty if self.unsafe_output else None)
        embeddings, unsafe = zip(*parts, strict=True)
        return EncodedBatch(np.concatenate(embeddings), np.concatenate(unsafe) if self.unsafe_output else None)

    def _run(self, images: Sequence[Image.Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = np.stack([self.preparation.prepare(image) for image in images])
        wanted = [self.embedding_output, *([self.unsafe_output] if self.unsafe_output else [])]
        groups = [batch] if self._any_batch else batch[:, None]
        parts = [self._session.run(wanted, {self.input_name: group}) for group in groups]
        outputs = [np.concatenate(column) for column in zip(*parts, strict=True)]
        embeddings = outputs[0].reshape(len(images), -1).astype(np.float32, copy=False)
        return embeddings, outputs[-1].reshape(len(images), -1)[:, -1].astype(np.float32, copy=False)

    @property
    def _any_batch(self) -> bool:
        return not isinstance(self._session.get_inputs()[0].shape[0], int)

    def _preparation(self, metadata: Mapping[str, str]) -> Preprocessing:
        inputs = self._session.get_inputs()
        shape: list[Any] = list(inputs[0].shape) if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)" or 3 not in (shape[1], shape[3]):
            raise self._unusable("it must take one input of floating-point images with three channels")
        layout = metadata.get("layout") or ("NHWC" if shape[3] == 3 else "NCHW")
        side = shape[1] if layout == "NHWC" else shape[2]
        try:
            size = int(metadata.get("size") or (side if isinstance(side, int) else 224))
            preparation = Preprocessing(
                layout=layout,
                channels=metadata.get("channels") or "RGB",
                size=size,
                resize=int(metadata.get("resize") or round(size * 8 / 7)),
                mean=_numbers(metadata.get("mean") or "0"),
                std=_numbers(metadata.get("std") or "1"),
                scale=float(metadata.get("scale") or 1 / 255),
            )
        except ValueError as error:
            raise self._unusable(f"its metadata cannot be understood ({error})") from error
        if preparation.channels not in ("RGB", "BGR") or layout not in ("NHWC", "NCHW") or not 1 <= size <= 2048:
            raise self._unusable("its metadata names a layout, channels or size that are not known here")
        if not size <= preparation.resize <= 4096 or 0 in preparation.std:
            raise self._unusable("its metadata names a resize or std that cannot be")
        return preparation

    def _outputs(self, metadata: Mapping[str, str]) -> tuple[str, str | None]:
        there = [output.name for output in self._session.get_outputs()]
        embedding, unsafe = metadata.get("embedding_output") or there[0], metadata.get("unsafe_output") or None
        if missing := {embedding, unsafe} - {*there, None}:
            raise self._unusable(f"it has no output “{missing.pop()}”")
        return embedding, unsafe

    def _probe(self) -> int:
        """Dimensions, from a run on one grey picture: a model that cannot do that would fail later and less clearly."""
        grey = Image.new("RGB", (self.preparation.resize,) * 2, (128, 128, 128))
        try:
            embeddings = self._run([grey])[0]
        except Exception as error:
            raise self._unusable("it fails on a plain picture") from error
        if embeddings.shape[1] < 2 or not np.isfinite(embeddings).all():
            raise self._unusable("what it makes of a plain picture is not a row of numbers")
        return int(embeddings.shape[1])

    def _unusable(self, why: str) -> UnusableEncoder:
        return UnusableEncoder(f"The model “{self.path}” cannot be used as an encoder: {why}.")


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(float(part) for part in text.split(","))
    if len(numbers) not in (1, 3):
        raise ValueError(f"“{text}” is not one number or three")
    return numbers
