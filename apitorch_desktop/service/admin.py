"""API keys made, listed and revoked by local commands: in an open store, or through the running service."""

import asyncio
import hmac
import http.client
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apitorch_desktop.service.storage.errors import InUse, StoreError
from apitorch_desktop.service.storage.owners import OwnerRepository
from apitorch_desktop.utils.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/control/keys"
_MAX_BODY = 4096

Action = dict[str, str]
"""`{"action": "make", "name": …}`, `{"action": "list"}` or `{"action": "revoke", "id": …}`."""


class AdminError(UserError):
    """The action failed; `str()` is one sentence for the user."""


def perform(owners: "OwnerRepository", action: Action) -> dict[str, Any]:
    """Perform an action on the keys. Only the result of "make" contains the key. Raises StoreError."""
    if action["action"] == "make":
        name = action["name"].strip()
        owner = next((owner for owner in owners.all() if owner.name == name), None) or owners.create(name)
        row, key = owners.create_key(owner.id)
        return {"id": row.id, "name": row.owner, "key": key}
    if action["action"] == "revoke":
        row = owners.revoke_key(action["id"])
        return {"id": row.id, "name": row.owner}
    stored = owners.keys()
    names = ("id", "owner", "hint", "created_at")
    return {"keys": [{name: getattr(row, name) for name in names} for row in stored]}


class AdminEndpoint:
    """ASGI middleware that adds the admin call, which only the attach key opens."""

    def __init__(self, app: "ASGIApp", owners: "OwnerRepository", attach_key: str) -> None:
        self._app = app
        self._owners = owners
        self._authorization = b"Basic " + b64encode(f"{attach_key}:".encode())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle the admin call, and pass on all others."""
        started = False

        async def tracking_send(message: "Message") -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if scope["type"] == "http" and scope["path"] == PATH and self._is_authorized(scope):
                await self._answer(receive, tracking_send)
            else:
                await self._app(scope, receive, tracking_send)
        except asyncio.CancelledError:  # the service is ending and the grace period is over
            if started:
                raise
            message = "The service is ending. Send it again when it is back."
            await _send(send, 503, {"object": "error", "message": message, "type": "busy"})

    def _is_authorized(self, scope: "Scope") -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return scope["method"] == "POST" and hmac.compare_digest(given, self._authorization)

    async def _answer(self, receive: "Receive", send: "Send") -> None:
        body, more = b"", True
        while more and len(body) <= _MAX_BODY:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            done = await asyncio.to_thread(perform, self._owners, json.loads(body))
            status = 200
        except StoreError as error:
            done, status = {"object": "error", "message": str(error), "type": "refused"}, 400
        except (ValueError, KeyError, TypeError, AttributeError):
            done, status = {"object": "error", "message": "This is not an action.", "type": "bad_request"}, 400
        await _send(send, status, done)


async def _send(send: "Send", status: int, answer: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def run_action(folder: Path, action: Action, attach: Callable[[Path], tuple[str, str] | None]) -> dict[str, Any]:
    """Perform an action on a data folder, through the service that runs on it if there is one. Raises AdminError."""
    if running := attach(folder):
        return _call(*running, action)
    from apitorch_desktop.service.config import InvalidConfig, storage_urls
    from apitorch_desktop.service.storage.store import Store, check_data

    try:
        if action["action"] != "make":  # the first key may be made before the service is started
            check_data(folder, storage_urls()["database_url"])
        with Store.open(folder, **storage_urls()) as store:
            return perform(store.owners, action)
    except InUse as error:
        if running := attach(folder):  # started meanwhile
            return _call(*running, action)
        raise AdminError(str(error)) from error
    except (StoreError, InvalidConfig) as error:
        raise AdminError(str(error)) from error


def _call(url: str, key: str, action: Action) -> dict[str, Any]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    headers = {"Authorization": "Basic " + b64encode(f"{key}:".encode()).decode(), "Content-Type": "application/json"}
    try:
        connection.request("POST", PATH, json.dumps(action), headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AdminError("The service that runs on this data folder does not answer: try again.") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise AdminError(str(answer.get("message", "The service refused.")))
    return answer
