"""Context: what the handlers are handed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apitorch_desktop.service.config import Config
from apitorch_desktop.service.http.image_input import Pictures
from apitorch_desktop.service.http.signed_urls import Signer
from apitorch_desktop.service.http.work import Work

if TYPE_CHECKING:
    from apitorch_desktop.service.classifiers.classification import Answers
    from apitorch_desktop.service.classifiers.trainer import Trainer
    from apitorch_desktop.service.storage.store import Store


@dataclass(frozen=True)
class Context:
    """The parts of a service."""

    store: "Store"
    trainer: "Trainer"
    answers: "Answers"
    work: Work
    pictures: Pictures
    signer: Signer
    config: Config
