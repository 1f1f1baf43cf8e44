"""Context: what the handlers are handed."""

from dataclasses import dataclass

from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.image_input import ImageInputReader
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.http.work import WorkerPools
from apitorch_desktop.service.storage.store import Store


@dataclass(frozen=True)
class Dependencies:
    """The parts of a service."""

    store: "Store"
    trainer: "Trainer"
    answers: "ClassificationService"
    work: WorkerPools
    pictures: ImageInputReader
    signer: Signer
    config: Config
