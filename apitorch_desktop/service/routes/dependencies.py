"""Container for the objects that the route handlers receive."""

from dataclasses import dataclass

from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.embeddings import SimilarityIndex
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.image_input import ImageInputReader
from apitorch_desktop.service.http.resources import WorkerPools
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.storage.store import Store


@dataclass(frozen=True)
class Dependencies:
    """Store, classification, worker pools and configuration, made once in `service.app`."""

    store: Store
    trainer: Trainer
    classification: ClassificationService
    similarity: SimilarityIndex
    workers: WorkerPools
    image_inputs: ImageInputReader
    signer: Signer
    config: Config
