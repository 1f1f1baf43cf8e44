"""The command `apitorch-desktop`: no argument opens the window; serve, keys, import, export, classify for scripts."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apitorch_desktop import __version__
from apitorch_desktop.utils.errors import UserError

if TYPE_CHECKING:
    import argparse  # 5 ms that the window need not wait for
    from collections.abc import Callable, Iterator, Sequence

    from apitorch_desktop.api.client import ApiClient

    Command = Callable[[argparse.Namespace], int]

KEY_VARIABLE = "APITORCH_API_KEY"
URL_VARIABLE = "APITORCH_BASE_URL"
EXPORT_FORMATS = ("imagefolder", "zip", "csv", "jsonl", "createml", "croissant")

_REVIEW_WORKER = "review-worker"
"""Not for people: the window starts itself anew by this word, see `dataset/reviewing.py`."""


class CommandError(UserError):
    """A command cannot go on; `str()` is one sentence for the person, `status` the exit status."""

    def __init__(self, sentence: str, status: int = 1) -> None:
        super().__init__(sentence)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; answers its exit status: 0 all done, 1 some of it not, 2 a usage error."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) == 2 and words[0] == _REVIEW_WORKER:
        from apitorch_desktop.dataset.review.worker import run as work

        return work(Path(words[1]))
    if _is_for_the_window(words):
        from apitorch_desktop.ui.app import run

        return run(words)
    arguments = _parser().parse_args(words)
    command: Command = arguments.command
    try:
        return command(arguments)
    except CommandError as failure:
        print(f"apitorch-desktop: {failure}", file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains while it ends
        return 1


def _is_for_the_window(words: list[str]) -> bool:
    """No words, or pictures and folders to open: paths that exist, and URLs."""
    if not words:
        return True
    if words[0].startswith("-") or words[0] in _COMMANDS:
        return False
    return all(word.partition("://")[1] or Path(word).exists() for word in words)


@contextmanager
def connected() -> Iterator[ApiClient]:
    """The service a script's command talks to: APITORCH_BASE_URL with APITORCH_API_KEY where set, else the embedded one.

    The embedded service is attached to where it runs, else started for as long as the command takes.
    """
    from apitorch_desktop.api.client import ApiClient
    from apitorch_desktop.api.errors import ApiError

    url, key = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    try:
        if url and key:
            client = ApiClient(url, key)
            try:
                yield client
            finally:
                client.close()
            return
        if url:
            raise CommandError(f"{URL_VARIABLE} is set but {KEY_VARIABLE} is not: set both, or neither.", 2)
        with _embedded() as (url, key):
            client = ApiClient(url, key)
            try:
                yield client
            finally:
                client.close()
    except ApiError as error:
        raise CommandError(f"{error} {error.advice}".strip()) from error


@contextmanager
def _embedded() -> Iterator[tuple[str, str]]:
    from apitorch_desktop.service.launcher import ServiceFailed, attach_or_start
    from apitorch_desktop.utils import paths

    try:
        service = attach_or_start(paths.service_folder())
    except ServiceFailed as failure:
        raise CommandError(str(failure)) from failure
    try:
        yield service.url, service.key
    finally:
        service.stop()


def _serve(arguments: argparse.Namespace) -> int:
    from apitorch_desktop.service.main import ServiceOptions, run

    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise CommandError("Give both --tls-cert and --tls-key, or neither.", 2)
    return run(
        ServiceOptions(
            host=arguments.host,
            port=arguments.port,
            folder=arguments.data,
            tls_cert=arguments.tls_cert,
            tls_key=arguments.tls_key,
            allow_private_urls=arguments.allow_private_urls,
            hostnames=tuple(arguments.hostname),
        )
    )


def _keys(arguments: argparse.Namespace) -> int:
    from apitorch_desktop.service.admin import AdminError, ask
    from apitorch_desktop.service.launcher import attach
    from apitorch_desktop.utils import paths

    action = {"action": arguments.action}
    if arguments.action == "make":
        action["name"] = arguments.name
    if arguments.action == "revoke":
        action["id"] = arguments.id
    try:
        answer = ask(arguments.data or paths.service_folder(), action, attach)
    except AdminError as failure:
        raise CommandError(str(failure)) from failure
    if arguments.action == "make":
        print(f"Key {answer['id']} for {answer['name']}, shown only this once:", file=sys.stderr)
        print(answer["key"])
    elif arguments.action == "revoke":
        print(f"Key {answer['id']} of {answer['name']} is revoked.")
    else:
        print(f"{'ID':>4}  {'OWNER':24}  {'BEGINS':8}  MADE")
        for key in answer["keys"]:
            print(f"{key['id']:>4}  {key['owner']:24}  {key['hint'] + '…':8}  {key['created_at'][:10]}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from apitorch_desktop.cli import import_export

    with connected() as client:
        return import_export.import_folder(client, arguments.folder, arguments.name)


def _export(arguments: argparse.Namespace) -> int:
    from apitorch_desktop.cli import import_export

    with connected() as client:
        return import_export.export_training_set(client, arguments.training_set, arguments.folder, arguments.format)


def _classify(arguments: argparse.Namespace) -> int:
    from apitorch_desktop.cli import classify

    with connected() as client:
        return classify.classify_files(client, arguments.images, arguments.classifier, arguments.csv)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8765, help="port; 0 picks a free one (default: %(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the embedded service's)")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--hostname",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that others call it by, beside this machine's own; may be given more than once",
    )
    parser.add_argument(
        "--allow-private-urls",
        action="store_true",
        help="let image_url reach this machine and private networks",
    )
    parser.epilog = (
        f"{KEY_VARIABLE} is the key to call it with (42 characters); without it one is made at the first start and shown "
        "once. For a team: APITORCH_DATABASE_URL (postgresql://user:password@host/name) keeps the rows in PostgreSQL and "
        "APITORCH_BLOB_URL (s3://bucket/prefix) the images in a bucket that is there, in place of the data folder, which "
        "then holds caches only; one service at a time may use them. A bucket takes AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY and AWS_REGION, and one that is not Amazon's AWS_ENDPOINT_URL (and AWS_ALLOW_HTTP=true where "
        "that begins with http://). "
        "They are variables since a command line is no place for a password. “keys” reads them too."
    )


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the embedded service's)")
    actions = parser.add_subparsers(dest="action", metavar="make|list|revoke", required=True)
    make = actions.add_parser("make", help="make a key for somebody; it is printed once")
    make.add_argument("name", metavar="NAME", help="whose it is")
    actions.add_parser("list", help="ids, names and dates; never the keys")
    revoke = actions.add_parser("revoke", help="refuse a key from now on; its owner's training sets stay")
    revoke.add_argument("id", metavar="ID", help="as `keys list` shows it")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="one label a sub-folder")
    parser.add_argument("--name", required=True, metavar="NAME", help="the training set; made where it is new")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("training_set", metavar="TRAINING_SET", help="its id or its name")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to write")
    parser.add_argument("--format", choices=EXPORT_FORMATS, default=EXPORT_FORMATS[0], help="(default: %(default)s)")


def _add_classify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file, a folder or a web address")
    parser.add_argument("--classifier", required=True, metavar="SLUG", help="a training set's slug or a standard one")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the answers to FILE")


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Command]] = {
    "serve": ("run the service alone", _add_serve, _serve),
    "keys": ("make, list and revoke keys of a service that others use", _add_keys, _keys),
    "import": ("a folder of photos into a training set", _add_import, _import),
    "export": ("a training set into a folder", _add_export, _export),
    "classify": ("what a classifier says about photos", _add_classify, _classify),
}


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="apitorch-desktop",
        description="Curate images for a classifier, and classify by drag and drop. Without a command the window opens.",
        epilog=f"import, export and classify talk to {URL_VARIABLE} with {KEY_VARIABLE} where set, else to the embedded "
        "service. Exit status: 0 all was done, 1 some of it was not, 2 a usage error.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    import_export = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (about, add, command) in _COMMANDS.items():
        sub = import_export.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        add(sub)
        sub.set_defaults(command=command)
    return parser


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"“{text}” is not a port: give a number from 0 to 65535")
    return port
