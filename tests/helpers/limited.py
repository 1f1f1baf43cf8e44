"""A service with limits given as JSON, in a process of its own: `python limited.py FOLDER '{"silence": 1}' [OPTION…]`."""

import contextlib
import json
import logging
import os
import sys
from pathlib import Path

import uvicorn

from apitorch_desktop.service.app import build_app
from apitorch_desktop.service.classifiers.classification import ClassificationService
from apitorch_desktop.service.classifiers.trainer import Trainer
from apitorch_desktop.service.config import Config, Limits
from apitorch_desktop.service.http.protocol import server_config
from apitorch_desktop.service.http.server import base_url, bind
from apitorch_desktop.service.storage.store import Store
from apitorch_desktop.vision.encoder import Encoder


class _Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(json.dumps({"object": "service", "url": base_url(sockets[0], "127.0.0.1", tls=False)}), flush=True)


logging.basicConfig(level=logging.WARNING)
config = Config(limits=Limits(**json.loads(sys.argv[2])), allow_private_urls="--allow-private-urls" in sys.argv)
with Store.open(Path(sys.argv[1])) as store, contextlib.closing(bind("127.0.0.1", 0)) as bound:
    store.owners.add_temporary_key(os.environ["APITORCH_API_KEY"])
    if other := os.environ.get("OTHER_KEY"):
        store.owners.add_temporary_key(other, store.owners.create("other").id)
    trainer = Trainer(store, Encoder)
    store.on_change(trainer.notify_changed)
    with contextlib.closing(build_app(store, trainer, ClassificationService(store, trainer, Encoder), config)) as app:
        _Server(server_config(app, config.limits)).run([bound])
