"""The services that route handlers depend on."""

from dataclasses import dataclass

from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.image_input import ImageInputReader
from apitorch_desktop.service.http.resources import WorkerPools
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.storage.store import Store


@dataclass(frozen=True)
class Dependencies:
    """The services that route handlers depend on."""

    store: "Store"
    trainer: "Trainer"
    classification: "ClassificationService"
    workers: WorkerPools
    image_inputs: ImageInputReader
    signer: Signer
    config: Config
