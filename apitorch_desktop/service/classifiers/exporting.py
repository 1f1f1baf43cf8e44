"""Export of a trained classifier as ONNX, by the service or a worker of its cluster."""

import tempfile
from pathlib import Path

from PIL import Image

from apitorch_desktop.service.classifiers.head_cache import CurrentHead
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.records import TrainingSetRow
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import Encoder
from apitorch_desktop.vision.images import UnreadableImage, open_upright

_SAMPLE = 8
"""Images for which the exported file has to answer as the service does."""


def export_onnx(store: Store, row: TrainingSetRow, found: CurrentHead, encoder: Encoder) -> bytes:
    """Return a head with its encoder as an ONNX file, checked with the training set's images.

    Raises RecordConflict for an encoder that cannot be exported, StorageFault if the file's results differ from those of the
    service.
    """
    from apitorch_desktop.vision import onnx_export

    calibration_error = (found.metrics and found.metrics.calibration_error) or None
    with tempfile.TemporaryDirectory(prefix="apitorch-export-") as folder:
        path = Path(folder) / f"{row.slug[:80]}.onnx"
        try:
            onnx_export.write_onnx(path, found.head, encoder, row.slug, calibration_error)
            difference = onnx_export.check_export(path, found.head, encoder, _sample(store, row, encoder))
        except onnx_export.ExportFailed as error:
            raise RecordConflict(str(error)) from error
        if difference > onnx_export.TOLERANCE:
            raise StorageFault(f"The exported file differs by {difference:.5f} from the service's own answers.")
        return path.read_bytes()


def _sample(store: Store, row: TrainingSetRow, encoder: Encoder) -> list[Image.Image]:
    """Return stored photos that can be read, and two drawn images, so that no file is exported unverified."""
    found = [_drawn(encoder.shorter_side, over) for over in (1, 3)]
    for image in store.images.page(row.owner_id, row.id, limit=_SAMPLE).images:
        try:
            found.append(open_upright(store.read(image.sha256), encoder.shorter_side))
        except (RecordNotFound, StorageFault, UnreadableImage):
            continue
    return found


def _drawn(side: int, over: int) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((side * over, side))
    return Image.merge("RGB", (ramp, ramp.rotate(180), Image.radial_gradient("L").resize(ramp.size)))
