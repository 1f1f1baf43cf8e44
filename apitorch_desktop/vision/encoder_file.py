"""ONNX files that users bring as encoders: what they refer to, their sidecar, and a dry run in a process of its own.

A file may come from anywhere. ONNX is Protocol Buffers, so that nothing in it is ever unpickled; what it can do is refer to
other files, take memory and time, or crash the runtime. So its references are followed within its folder only, loops are
refused, sizes are bounded, and it is first run in a process with limits.
"""

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from PIL import Image

from apitorch_desktop.utils.decoding import prepared
from apitorch_desktop.vision.encoder import Encoder, UnusableEncoder

LARGEST: Final = 2**30
"""Bytes of a model with its external data."""
TIME_LIMIT: Final = 20.0
"""Seconds that one run of a model may take."""
_DRY_RUN: Final = 40.0
"""Seconds that loading and some runs may take."""
_MEMORY: Final = 6 * 2**30
"""Bytes of address space of the dry run."""
_SIDECAR: Final = 2**20
_LOOPS: Final = frozenset({"Loop", "Scan"})
_ROUNDS: Final = 5
_HUGGING_FACE: Final = "preprocessor_config.json"
_RESAMPLING: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


class EncoderFile(msgspec.Struct, frozen=True):
    """A model with what belongs to it: `files` are the model, its external data and its sidecar; `digest` is of them all."""

    path: Path
    files: tuple[Path, ...]
    sidecar: dict[str, str]
    digest: str

    def load(self, threads: int = 0) -> Encoder:
        """Load the encoder. Raises UnusableEncoder, also where the files have changed since."""
        if _digest(self.files) != self.digest:
            raise UnusableEncoder(f"The encoder's model “{self.path}” has changed since it was looked at.")
        return Encoder(self.path, threads, sidecar=self.sidecar, digest=self.digest, time_limit=TIME_LIMIT)


class DryRun(msgspec.Struct, frozen=True):
    """Result of a dry run: `problem` is a sentence, or ""; `milliseconds` of processor time an image on one thread."""

    problem: str = ""
    name: str = ""
    dimensions: int = 0
    milliseconds: float = 0.0


def inspect(path: Path) -> EncoderFile:
    """Check what a model refers to, without running it. Raises UnusableEncoder."""
    import onnx

    folder = path.parent.resolve()
    try:
        if path.stat().st_size > LARGEST:
            raise _unusable(path, "it is larger than 1 GiB")
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise UnusableEncoder(f"The encoder's model “{path}” cannot be read ({error.strerror}).") from error
    except UnusableEncoder:
        raise
    except Exception as error:  # protobuf has several kinds
        raise UnusableEncoder(f"The encoder's model “{path}” is not an ONNX file.") from error
    if not model.graph.node:
        raise UnusableEncoder(f"The encoder's model “{path}” is not an ONNX file.")
    external: dict[Path, None] = {}
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto) and message.op_type in _LOOPS:
            raise _unusable(path, f"it has a loop ({message.op_type}), whose time has no limit")
        if isinstance(message, onnx.TensorProto):
            for entry in message.external_data:
                if entry.key == "location":
                    external[_within(path, folder, entry.value)] = None
    sidecar, described = _sidecar(path)
    files = (path, *external, *([described] if described else []))
    if sum(file.stat().st_size for file in files) > LARGEST:
        raise _unusable(path, "with its external data it is larger than 1 GiB")
    return EncoderFile(path, files, sidecar, _digest(files))


def dry_run(file: EncoderFile, seconds: float = _DRY_RUN) -> DryRun:
    """Load and run a model in a process of its own with limits of memory and time; blocks."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, file), name="encoder", daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return DryRun(str(_unusable(file.path, f"it takes more than {seconds:g} s for a few images")))
        return msgspec.json.decode(receiver.recv_bytes(), type=prepared(DryRun))
    except (EOFError, OSError):
        process.join(5)
        return DryRun(str(_unusable(file.path, "it ends the process that runs it, or needs more memory than 6 GiB")))
    finally:
        process.kill()
        process.join()
        receiver.close()


def hugging_face(config: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata as `vision.encoder` describes it of a `preprocessor_config.json`. Raises ValueError."""
    size, crop = _sides(config.get("size")), _sides(config.get("crop_size"))
    centered = bool(config.get("do_center_crop")) and crop is not None
    resized = config.get("do_resize", True) and size is not None
    wanted = crop if centered else size
    found: dict[str, str] = {}
    if wanted is not None:
        if wanted[0] != wanted[1]:
            raise ValueError(f"its images are {wanted[1]} × {wanted[0]}, not square")
        found["size"] = str(wanted[0])
        if config.get("crop_pct") and not centered:
            found["resize"] = str(round(wanted[0] / float(config["crop_pct"])))
        else:
            found["resize"] = str(max(size[0], wanted[0]) if size is not None and resized else wanted[0])
    shortest = isinstance(config.get("size"), Mapping) and "shortest_edge" in config["size"]
    # Height and width alone squash the image
    found["crop"] = "1" if centered or shortest or config.get("crop_pct") else "0"
    scale = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    found["scale"] = repr(scale)
    if config.get("do_normalize", True) and "image_mean" in config:
        found["mean"] = _joined(config["image_mean"], 1 / scale)
        found["std"] = _joined(config["image_std"])
    if config.get("do_flip_channel_order"):
        found["channels"] = "BGR"
    found["interpolation"] = _RESAMPLING.get(config.get("resample", 2), "bilinear")
    return found


def _sides(value: Any) -> tuple[int, int] | None:
    """(height, width)."""
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return int(value["shortest_edge"]), int(value["shortest_edge"])
        return int(value["height"]), int(value["width"])
    return None if value is None else (int(value), int(value))


def _joined(numbers: Any, factor: float = 1.0) -> str:
    return ",".join(repr(float(number) * factor) for number in (numbers if isinstance(numbers, list) else [numbers]))


def _sidecar(path: Path) -> tuple[dict[str, str], Path | None]:
    """Return the metadata of the sidecar and its path, if there is one."""
    for file in (path.with_suffix(".json"), path.parent / _HUGGING_FACE):
        try:
            if not file.is_file() or file == path:
                continue
            if file.stat().st_size > _SIDECAR:
                raise ValueError("it is larger than 1 MiB")
            content = json.loads(file.read_text("utf-8"))
            if not isinstance(content, dict):
                raise ValueError("it is no JSON object")
            if file.name == _HUGGING_FACE or "image_mean" in content or "do_resize" in content:
                return hugging_face(content), file
            return {
                str(key): ",".join(map(str, value)) if isinstance(value, list) else str(value)
                for key, value in content.items()
            }, file
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
            raise _unusable(path, f"its “{file.name}” cannot be understood ({error})") from error
    return {}, None


def _messages(message: Any) -> Iterator[Any]:
    """All messages within a message, and it; a model nests graphs in attributes."""
    stack = [message]
    while stack:
        current = stack.pop()
        yield current
        for descriptor, value in current.ListFields():
            if descriptor.message_type is not None:
                stack.extend(value if hasattr(value, "append") or hasattr(value, "add") else [value])


def _within(path: Path, folder: Path, location: str) -> Path:
    """Return the file of external data at `location`. Raises UnusableEncoder for one outside the model's folder."""
    target = folder / location
    if not location or "\0" in location or not target.resolve().is_relative_to(folder):
        raise _unusable(path, f"it refers to a file outside its folder, “{location[:80]}”")
    if not target.is_file():
        raise _unusable(path, f"the file with its weights, “{location[:80]}”, is not beside it")
    return target


def _digest(files: tuple[Path, ...]) -> str:
    """Raises UnusableEncoder."""
    total = hashlib.sha256()
    try:
        for path in files:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest() if len(files) > 1 else file.read())
    except OSError as error:
        raise UnusableEncoder(f"The encoder's model “{files[0]}” cannot be read ({error.strerror}).") from error
    return total.hexdigest()


def _unusable(path: Path, why: str) -> UnusableEncoder:
    return UnusableEncoder(f"The model “{path}” cannot be used as an encoder: {why}.")


def _run(sender: Connection, file: EncoderFile) -> None:
    """Body of the process of a dry run."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(_DRY_RUN) * 2,) * 2)
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the runtime's own messages
    sender.send_bytes(msgspec.json.encode(_measure(file)))


def _measure(file: EncoderFile) -> DryRun:
    try:
        encoder = file.load(threads=1)
        ramp = Image.linear_gradient("L").resize((320, 240))
        drawn = Image.merge("RGB", (ramp, ramp.rotate(180), Image.radial_gradient("L").resize(ramp.size)))
        images = [drawn, Image.effect_noise((240, 320), 80).convert("RGB"), drawn.rotate(90, expand=True)]
        together = encoder.encode(images)
        alone = np.concatenate([encoder.encode([image]) for image in images])
        if not np.isfinite(together).all():
            raise _unusable(file.path, "what it makes of a drawn picture is not a row of numbers")
        if np.abs(together - together[0]).max() <= 1e-6 * np.abs(together).max():
            raise _unusable(file.path, "it makes the same of different pictures")
        if np.abs(together - alone).max() > 0.01 * np.abs(alone).max():
            raise _unusable(file.path, "what it makes of a picture depends on the other pictures beside it")
        times = []
        for _ in range(_ROUNDS):
            start = time.process_time()
            encoder.encode([drawn])
            times.append(1000 * (time.process_time() - start))
    except UnusableEncoder as error:
        return DryRun(str(error))
    except MemoryError:  # before what else NumPy and Pillow may raise
        return DryRun(str(_unusable(file.path, "it needs more memory than 6 GiB")))
    except Exception as error:  # noqa: BLE001 - whatever the file makes of it
        return DryRun(str(_unusable(file.path, f"it fails on a drawn picture ({type(error).__name__})")))
    return DryRun("", encoder.name, encoder.dimensions, float(np.median(times)))
