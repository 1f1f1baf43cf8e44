"""The sample training set: photos of zebra coats, one folder a label, in an archive among the resources."""

from apitorch_desktop.dataset.importer.plan import scan
from apitorch_desktop.dataset.sources.image_source import UploadItem
from apitorch_desktop.utils import paths

NAME = "Zebra coats"


def uploads() -> list[UploadItem]:
    """Return the images of the sample training set, ready to upload. Blocking."""
    return scan([paths.resources() / "sample" / "zebra_coats.zip"]).uploads()
