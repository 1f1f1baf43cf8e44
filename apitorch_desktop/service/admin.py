"""Keys made, listed and revoked by this machine's own commands: on an open store, or through the service that runs."""

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
_LONGEST = 4096

Action = dict[str, str]
"""`{"action": "make", "name": …}`, `{"action": "list"}` or `{"action": "revoke", "id": …}`."""


class AdminError(UserError):
    """`str()` is one sentence for the person."""


def perform(owners: "OwnerRepository", action: Action) -> dict[str, Any]:
    """Do one thing with the keys; the new key is in the answer to "make" and nowhere else. Raises StoreError."""
    if action["action"] == "make":
        name = action["name"].strip()
        owner = next((owner for owner in owners.all() if owner.name == name), None) or owners.make(name)
        row, key = owners.make_key(owner.id)
        return {"id": row.id, "name": row.owner, "key": key}
    if action["action"] == "revoke":
        row = owners.revoke_key(action["id"])
        return {"id": row.id, "name": row.owner}
    stored = owners.keys()
    names = ("id", "owner", "hint", "created_at")
    return {"keys": [{name: getattr(row, name) for name in names} for row in stored]}


class AdminEndpoint:
    """The service's application, with the one call that only the attach key opens."""

    def __init__(self, app: "ASGIApp", owners: "OwnerRepository", attach_key: str) -> None:
        self._app = app
        self._owners = owners
        self._authorization = b"Basic " + b64encode(f"{attach_key}:".encode())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer the one call, and pass on all others."""
        begun = False

        async def watched(message: "Message") -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if scope["type"] == "http" and scope["path"] == PATH and self._admits(scope):
                await self._answer(receive, watched)
            else:
                await self._app(scope, receive, watched)
        except asyncio.CancelledError:  # the service ends, and this request has had its time
            if begun:
                raise
            message = "The service is ending. Send it again when it is back."
            await _send(send, 503, {"object": "error", "message": message, "type": "busy"})

    def _admits(self, scope: "Scope") -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return scope["method"] == "POST" and hmac.compare_digest(given, self._authorization)

    async def _answer(self, receive: "Receive", send: "Send") -> None:
        body, more = b"", True
        while more and len(body) <= _LONGEST:
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


def ask(folder: Path, action: Action, attach: Callable[[Path], tuple[str, str] | None]) -> dict[str, Any]:
    """Do it on a data folder, through the service that runs there if there is one. Raises ControlFailed."""
    if running := attach(folder):
        return _call(*running, action)
    from apitorch_desktop.service.config import InvalidConfig, storage_urls
    from apitorch_desktop.service.storage.store import Store

    try:
        with Store.open(folder, **storage_urls()) as store:
            return perform(store.owners, action)
    except InUse as error:
        if running := attach(folder):  # it has just come up
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
