"""Image encoders: the built-in network, or any ONNX file, run by onnxruntime; maps of the evidence for a label.

Preprocessing is described by the file's metadata (all optional, shown with their defaults):
    layout            NCHW or NHWC            from the input's shape
    channels          RGB or BGR              RGB
    size              side in pixels          from the input's shape, else 224
    resize            shorter side before the center of `size` is cropped; default `size` · 8 / 7
    crop              how much of an image's elongation is cropped, 0…1, the rest is squashed: shorter · (longer /
                      shorter) ^ (1 − crop) of the longer side is kept; default 1, the center square
    mean, std, scale  x = (pixel − mean) · scale / std, a number or one for each channel in the order of `channels`;
                      0, 1, 1 / 255
    interpolation     nearest, bilinear, bicubic, lanczos   bilinear
    embedding_output  name of an output                     the first of _OUTPUTS, else the first
    name              for people                            the file's name

What the metadata does not say is taken from a sidecar, `model.json` beside `model.onnx` with the same keys, or Hugging Face's
`preprocessor_config.json` in its folder. An output of maps (n, d, h, w), or (n, h, w, d) of NHWC models, or of tokens
(n, t, d) is averaged to (n, d).
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from apitorch_desktop.utils.errors import UserError
from apitorch_desktop.utils.memory import return_free_memory
from apitorch_desktop.utils.paths import resources
from apitorch_desktop.vision.head import Head

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

PREPARATION: Final = 1
"""Part of an encoder's name: raise it when the result of `prepare` changes, so that no old embedding is used."""
_OVERSAMPLING: Final = 1.75
"""Oversampling of reduced decodes, so that embeddings hardly depend on them: within 0.03 of a full one, at 1.0 0.12."""
_OUTPUTS: Final = ("image_embeds", "embedding", "embeddings", "pooler_output")
_MOST_DIMENSIONS: Final = 16_384
RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_BATCH: Final = 2
"""Images in one run of the network: 4 or 8 take 4 % or 20 % longer per image, and 50 or 160 MB more memory."""
CELLS: Final = 24
"""Cells of a map on each side; the encoder's own are 9 and, for the image at half size, 5."""
_ALIKE: Final = 0.999
"""Cosine from which a block of the embedding is that of a feature map."""
Floats = NDArray[np.float64]


class UnusableEncoder(UserError):  # noqa: N818 - named for the condition
    """The model file cannot be used as an encoder; `str()` is a sentence with the reason."""


class Preprocessing(msgspec.Struct, frozen=True):
    """Preprocessing of images, see the module's docstring. `mean` and `std` have one value or three."""

    layout: str
    channels: str
    size: int
    resize: int
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    interpolation: str = "bilinear"

    def prepare(self, image: Image.Image) -> NDArray[np.float32]:
        """Convert an RGB image of any size to float32 (size, size, 3) or, for NCHW, (3, size, size)."""
        shorter = min(image.size)
        # Scaling only the part that the crop keeps equals scaling everything and cropping, in less time.
        width, height = (shorter * (side / shorter) ** (1 - self.crop) * self.size / self.resize for side in image.size)
        left, top = (image.width - width) / 2, (image.height - height) / 2
        square = image.resize(
            (self.size, self.size),
            RESAMPLING[self.interpolation],
            box=(left, top, left + width, top + height),
            reducing_gap=None if self.interpolation == "nearest" else 3.0,
        )
        pixels = np.asarray(square, np.float32)
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        pixels = (pixels - mean) * (np.float32(self.scale) / std)
        return pixels if self.layout == "NHWC" else pixels.transpose(2, 0, 1)


class Encoder:
    """A loaded model; thread-safe.

    `name` identifies the computation (cache embeddings under it), `dimensions` is d, `shorter_side` the `at_least` for
    `images.open_upright`, `path` the model file.
    """

    def __init__(
        self,
        path: Path | None = None,
        threads: int = 0,
        output: str | None = None,
        *,
        sidecar: Mapping[str, str] | None = None,
        digest: str | None = None,
        time_limit: float | None = None,
        at_once: int = 1,
    ) -> None:
        """Load `path`, or the built-in model; `threads` 0 is one per core. Raises UnusableEncoder.

        `output` is used as the embedding in place of the one named in the metadata. `sidecar` completes the metadata;
        `digest` (of all files) replaces that of the file in the name. A run that takes `time_limit` seconds fails. Where
        up to `at_once` runs of the built-in model are made at a time, one beside others has its share of the threads:
        runs that wait for each other's threads cost a tenth of the throughput on two cores.
        """
        import onnxruntime

        self.path = path or model_file("encoder.onnx")
        self._time_limit = time_limit
        self._shared_threads = (
            max(1, (threads or os.cpu_count() or 1) // at_once) if path is None and at_once > 1 else 0
        )
        self._shared_session: InferenceSession | None = None
        self._loading, self._counting, self._runs = threading.Lock(), threading.Lock(), 0
        try:
            self._digest = digest or hashlib.sha256(self.path.read_bytes()).hexdigest()
            self._session = onnxruntime.InferenceSession(
                self.path, _session_options(threads), providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise UnusableEncoder(f"The encoder's model “{self.path}” cannot be read ({error.strerror}).") from error
        except Exception as error:  # onnxruntime has a dozen kinds, all of them plain Exceptions
            raise UnusableEncoder(f"The encoder's model “{self.path}” is not an ONNX file that can be run.") from error
        metadata = {**(sidecar or {}), **self._session.get_modelmeta().custom_metadata_map}
        self.preparation = self._preparation(metadata)
        outputs = [entry.name for entry in self._session.get_outputs()]
        usual = next((name for name in _OUTPUTS if name in outputs), outputs[0])
        self.embedding_output: str = output or metadata.get("embedding_output") or usual
        if self.embedding_output not in outputs:
            raise self._unusable(f"it has no output “{self.embedding_output}”")
        self.name = f"{metadata.get('name') or self.path.stem}-{self._digest[:12]}-{PREPARATION}"
        self.shorter_side = round(self.preparation.resize * _OVERSAMPLING)
        self.dimensions = self._probe()

    @property
    def input_name(self) -> str:
        """Name of the model's only input."""
        return str(self._session.get_inputs()[0].name)

    def encode(self, images: Iterable[Image.Image]) -> NDArray[np.float32]:
        """Return the embeddings, float32 (n, d), of upright RGB images of any size, which are taken one at a time."""
        prepared = map(self.preparation.prepare, images)
        parts = []
        while batch := list(islice(prepared, _BATCH)):
            parts.append(self._run(batch))
        return np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)

    def _run(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        batch: NDArray[Any] = np.stack(prepared).astype(self._type, copy=False)
        groups = [batch] if self._any_batch else batch[:, None]
        found = np.concatenate([self._run_session(group) for group in groups])
        self.output_rank = found.ndim
        if found.ndim > 1 and len(found) != len(batch):
            raise self._unusable("it does not make one row of numbers of each image")
        if found.ndim > 2:
            found = found.mean(axis=self.pooled_axes, dtype=np.float32)
        return found.reshape(len(batch), -1).astype(np.float32, copy=False)

    def _run_session(self, group: NDArray[Any]) -> NDArray[Any]:
        if self._time_limit is None:
            with self._counted() as beside_others:
                session = self._session_beside_others() if beside_others and self._shared_threads else self._session
                return np.asarray(session.run([self.embedding_output], {self.input_name: group})[0])
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        timer = threading.Timer(self._time_limit, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            return np.asarray(self._session.run([self.embedding_output], {self.input_name: group}, options)[0])
        except Exception as error:
            raise self._unusable(f"it failed on a photo, or took more than {self._time_limit:g} s for it") from error
        finally:
            timer.cancel()

    @contextmanager
    def _counted(self) -> Iterator[bool]:
        """Count a run, and tell whether it is made beside others."""
        with self._counting:
            beside_others = self._runs > 0
            self._runs += 1
        try:
            yield beside_others
        finally:
            with self._counting:
                self._runs -= 1

    def _session_beside_others(self) -> "InferenceSession":
        """Return the session with a share of the threads, loaded when first needed; the usual one if it cannot be loaded."""
        import onnxruntime

        with self._loading:
            if self._shared_session is None:
                self._shared_session = self._session
                with suppress(Exception):  # the file went, or was replaced; onnxruntime raises plain Exceptions
                    model = self.path.read_bytes()
                    if hashlib.sha256(model).hexdigest() == self._digest:
                        options = _session_options(self._shared_threads)
                        self._shared_session = onnxruntime.InferenceSession(
                            model, options, providers=["CPUExecutionProvider"]
                        )
                        del model
                return_free_memory()  # 30 MB that the loading took
            return self._shared_session

    @property
    def pooled_axes(self) -> tuple[int, ...]:
        """Axes of the output that are averaged."""
        if self.output_rank == 4:
            return (1, 2) if self.preparation.layout == "NHWC" else (2, 3)
        return (1,) if self.output_rank == 3 else ()

    @property
    def half_precision(self) -> bool:
        """True for a model whose input is of float16."""
        return self._type is np.float16

    @property
    def _type(self) -> type:
        return _TYPES[self._session.get_inputs()[0].type]

    @property
    def _any_batch(self) -> bool:
        return not isinstance(self._session.get_inputs()[0].shape[0], int)

    def _preparation(self, metadata: Mapping[str, str]) -> Preprocessing:
        inputs = self._session.get_inputs()
        shape: list[Any] = list(inputs[0].shape) if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in _TYPES or 3 not in (shape[1], shape[3]):
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
                crop=float(metadata.get("crop") or 1),
                mean=_numbers(metadata.get("mean") or "0"),
                std=_numbers(metadata.get("std") or "1"),
                scale=float(metadata.get("scale") or 1 / 255),
                interpolation=metadata.get("interpolation") or "bilinear",
            )
        except ValueError as error:
            raise self._unusable(f"its metadata cannot be understood ({error})") from error
        if preparation.channels not in ("RGB", "BGR") or layout not in ("NHWC", "NCHW") or not 1 <= size <= 2048:
            raise self._unusable("its metadata names a layout, channels or size that are not known here")
        if not size <= preparation.resize <= 4096 or 0 in preparation.std:
            raise self._unusable("its metadata names a resize or std that cannot be")
        if isinstance(shape[0], int) and shape[0] != 1:
            raise self._unusable(f"it takes {shape[0]} images at a time: one, or any number, is needed")
        if preparation.interpolation not in RESAMPLING:
            raise self._unusable(
                f"its metadata names an interpolation, “{preparation.interpolation[:40]}”, that is not known"
            )
        if not 0 <= preparation.crop <= 1:
            raise self._unusable("its metadata names a crop that is not within 0…1")
        return preparation

    def _probe(self) -> int:
        """Run on one gray image to find the dimensions, and to fail early where the model cannot run."""
        gray = Image.new("RGB", (self.preparation.resize,) * 2, (128, 128, 128))
        try:
            embeddings = self._run([self.preparation.prepare(gray)])
        except UnusableEncoder:
            raise
        except Exception as error:
            raise self._unusable("it fails on a plain picture") from error
        if self.output_rank > 4 or embeddings.shape[1] > _MOST_DIMENSIONS:
            raise self._unusable(f"its output “{self.embedding_output}” is not some thousand numbers an image at most")
        if embeddings.shape[1] < 2 or not np.isfinite(embeddings).all():
            raise self._unusable("what it makes of a plain picture is not a row of numbers")
        return int(embeddings.shape[1])

    def _unusable(self, why: str) -> UnusableEncoder:
        return UnusableEncoder(f"The model “{self.path}” cannot be used as an encoder: {why}.")


def _session_options(threads: int) -> "SessionOptions":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Threads that spin while they wait win 2 ms on an idle machine, and triple the time on a busy one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def earlier_encoder(name: str) -> Encoder | None:
    """Load the built-in encoder of an earlier version by its name; None where `name` is another's or it cannot be loaded.

    Classifiers that were trained with it answer with it until they are trained again.
    """
    if not name.startswith("opennsfw-resnet50-thin-"):  # of version 0.1.0
        return None
    try:
        encoder = Encoder(model_file("safe_for_work.onnx"))
    except UnusableEncoder:
        return None
    return encoder if encoder.name == name else None


def model_file(name: str) -> Path:
    """Return the path of a built-in model file; packaging/build_hook.py makes them."""
    return resources() / "models" / name


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(float(part) for part in text.split(","))
    if len(numbers) not in (1, 3):
        raise ValueError(f"“{text}” is not one number or three")
    return numbers


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
    """Makes maps of the evidence for a label: its logit taken apart over the cells of an encoder's last feature maps.

    A block of the built-in embedding is the signed square roots of channel averages, scaled to one length. An average is
    the sum of its cells, so that a channel's part in a logit, weight · embedding, is divided among the cells in proportion
    to their values, exactly: the cells of a map add up to the block's part in the logit. That needs values without a sign,
    which the last stage has (ReLU6); the pools of earlier, linear stages are left out, and `EvidenceMap.share` says how much
    remains. Class activation maps (Zhou et al. 2016) do the same for plain averages. The encoder is run a second time, loaded
    at the first call. Thread-safe.
    """

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
