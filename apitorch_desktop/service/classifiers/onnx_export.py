"""Exports a trained classifier as one ONNX file, verified against the service's own results."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.storage.errors import RecordConflict, RecordNotFound, StorageFault
from apitorch_desktop.service.storage.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

    from apitorch_desktop.vision.encoder import Encoder

_SAMPLE = 8


class OnnxExporter:
    """Exports classifiers. Blocking and thread-safe."""

    def __init__(self, store: "Store", trainer: "Trainer", classification: "ClassificationService") -> None:
        self._store = store
        self._trainer = trainer
        self._classification = classification

    def onnx(self, owner: int, slug: str) -> bytes:
        """Return the current version of a training set's classifier as an ONNX file.

        Raises RecordNotFound, RecordConflict if nothing has been trained yet, StorageFault if the file's results differ
        from those of the service.
        """
        from apitorch_desktop.vision import onnx_export

        row = self._store.training_sets.by_slug(owner, slug)
        found = self._trainer.current_head(row.id)
        if found is None:
            raise RecordConflict(
                f"The classifier “{slug}” has not been trained yet: add images, and wait until it is ready."
            )
        encoder = self._classification.encoder_named(found.encoder)
        if encoder is None:
            raise RecordConflict(
                f"The classifier “{slug}” was trained with another encoder, which is not there any more."
            )
        calibration_error = (found.metrics and found.metrics.calibration_error) or None
        with tempfile.TemporaryDirectory(prefix="apitorch-export-") as folder:
            path = Path(folder) / f"{slug[:80]}.onnx"
            try:
                onnx_export.write_onnx(path, found.head, encoder, slug, calibration_error)
                difference = onnx_export.check_export(path, found.head, encoder, self._sample(owner, row.id, encoder))
            except onnx_export.ExportFailed as error:
                raise RecordConflict(str(error)) from error
            if difference > onnx_export.TOLERANCE:
                raise StorageFault(f"The exported file differs by {difference:.5f} from the service's own answers.")
            return path.read_bytes()

    def _sample(self, owner: int, set_id: int, encoder: "Encoder") -> list["Image"]:
        """Return stored photos that can be read, and two drawn images, so that no file is exported unverified."""
        from apitorch_desktop.vision import images

        found = [_drawn(encoder.shorter_side, over) for over in (1, 3)]
        for row in self._store.images.page(owner, set_id, limit=_SAMPLE).images:
            try:
                found.append(images.open_upright(self._store.read(row.sha256), encoder.shorter_side))
            except (RecordNotFound, StorageFault, images.UnreadableImage):
                continue
        return found


def _drawn(side: int, over: int) -> "Image":
    from PIL import Image

    ramp = Image.linear_gradient("L").resize((side * over, side))
    return Image.merge("RGB", (ramp, ramp.rotate(180), Image.radial_gradient("L").resize(ramp.size)))
