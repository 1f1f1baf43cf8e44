"""The subcommands serve, keys and service: the service alone, its keys, and the care of its data."""

from __future__ import annotations

import errno
import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from apitorch_desktop.cli import output
from apitorch_desktop.cli.connect import CommandError
from apitorch_desktop.dataset.connections.store import KEY_VARIABLE
from apitorch_desktop.service.launcher import attach
from apitorch_desktop.utils import paths
from apitorch_desktop.utils.text import decoded, lowered, reason, shown


def add_serve_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `serve`."""
    parser.set_defaults(command=run_service)
    parser.add_argument(
        "--host", type=_address, default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=8765, help="port; 0 picks a free one (default: %(default)s)")
    parser.add_argument("--data", type=output.path, metavar="DIR", help="data folder (default: the embedded service's)")
    parser.add_argument("--tls-cert", type=output.path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=output.path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--hostname",
        type=_hostname,
        action="append",
        default=[],
        metavar="NAME",
        help="a name that others call it by, beside this machine's own; may be given more than once",
    )
    parser.add_argument(
        "--forwarded-allow-ips",
        default="",
        metavar="ADDRESSES",
        help="proxies in front, with commas between them: their X-Forwarded-Proto and X-Forwarded-Host are believed",
    )
    parser.add_argument(
        "--allow-private-urls",
        action="store_true",
        help="let image_url reach this machine and private networks",
    )
    parser.add_argument(
        "--threads", type=_count, default=0, metavar="N", help="processor cores to use (default: 0, all of them)"
    )
    parser.add_argument(
        "--encoder",
        type=output.path,
        action="append",
        default=[],
        metavar="FILE",
        help="an image encoder of your own, ONNX, that training sets can then be learned with; may be given more than once",
    )
    parser.add_argument(
        "--scheduler",
        metavar="URL",
        help="a Dask scheduler, tcp://host:8786, whose workers embed and train (default: APITORCH_SCHEDULER_URL, else here)",
    )
    parser.epilog = (
        f"{KEY_VARIABLE} is the key to call it with (42 characters); without it one is made at the first start and shown "
        "once. For a team: APITORCH_DATABASE_URL (postgresql://user:password@host/name) keeps the rows in PostgreSQL and "
        "APITORCH_BLOB_URL (s3://bucket/prefix) the images in a bucket that is there, in place of the data folder, which "
        "then holds caches, and classified images on their way there; any number of services, each with a --data of its own, "
        "use them together. "
        "A bucket takes AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY and AWS_REGION, and one that is not Amazon's AWS_ENDPOINT_URL (and AWS_ALLOW_HTTP=true where "
        "that begins with http://). "
        "They are variables since a command line is no place for a password. “keys” reads them too."
    )


def add_keys_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `keys make`, `keys list` and `keys revoke`."""
    parser.set_defaults(command=manage_keys)
    parser.add_argument("--data", type=output.path, metavar="DIR", help="data folder (default: the embedded service's)")
    actions = parser.add_subparsers(dest="action", metavar="make|list|revoke", required=True)
    make = actions.add_parser("make", help="make a key for somebody; it is printed once")
    make.add_argument("name", metavar="NAME", help="whose it is")
    actions.add_parser("list", help="ids, names and dates; never the keys")
    revoke = actions.add_parser("revoke", help="refuse a key from now on; its owner's training sets stay")
    revoke.add_argument("id", metavar="ID", help="as `keys list` shows it")


def add_service_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `service check`, `backup`, `restore` and `adopt`."""
    parser.set_defaults(command=maintain_service)
    parser.add_argument("--data", type=output.path, metavar="DIR", help="data folder (default: the embedded service's)")
    actions = parser.add_subparsers(dest="action", metavar="check|backup|restore|adopt", required=True)
    check = actions.add_parser("check", help="compare database and images, read every image, and say what to do")
    check.add_argument("--fast", action="store_true", help="do not read the images")
    backup = actions.add_parser("backup", help="copy database and images into a folder; a service may be running")
    backup.add_argument(
        "target", type=output.path, metavar="DIR", help="a new folder, or an earlier backup to bring up to date"
    )
    backup.add_argument(
        "--remove-images",
        action="store_true",
        help="remove what the database no longer has from an earlier backup, though it be most of its images",
    )
    restore = actions.add_parser("restore", help="put a backup back; the service has to be stopped")
    restore.add_argument("source", type=output.path, metavar="DIR", help="the folder that `service backup` made")
    actions.add_parser(
        "adopt",
        help="images without a row in the database into a training set of their own; the service has to be stopped",
    )
    parser.epilog = (
        "Images that the database does not know, as after an older copy of it was put back, are kept for 30 days before "
        "they are removed. Exit status of check: 0 all is well, 1 something is to be done."
    )


def run_service(arguments: Namespace) -> int:
    """Run the service until it is stopped; return its exit status."""
    from apitorch_desktop.service.main import ServiceOptions, run

    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise CommandError("Give both --tls-cert and --tls-key, or neither.", 2)
    return run(
        ServiceOptions(
            host=arguments.host,
            port=arguments.port,
            folder=arguments.data or paths.private(paths.service_folder()),
            tls_cert=arguments.tls_cert,
            tls_key=arguments.tls_key,
            allow_private_urls=arguments.allow_private_urls,
            hostnames=tuple(arguments.hostname),
            threads=arguments.threads,
            proxies=arguments.forwarded_allow_ips,
            encoders=tuple(arguments.encoder),
            scheduler=arguments.scheduler,
        )
    )


def manage_keys(arguments: Namespace) -> int:
    """Make, list or revoke keys of the service at a data folder."""
    from apitorch_desktop.service.admin import AdminError, run_action

    os.umask(0o077)
    action = {"action": arguments.action}
    if arguments.action == "make":
        action["name"] = decoded(arguments.name)
    if arguments.action == "revoke":
        action["id"] = arguments.id
    folder = arguments.data or paths.service_folder()
    try:
        answer = run_action(folder, action, attach)
        if arguments.action == "make" and (problem := _show_key(answer)) is not None:
            run_action(folder, {"action": "revoke", "id": answer["id"]}, attach)  # nobody knows it
            raise CommandError(
                f"Standard output cannot be written: {lowered(reason(problem))}. Key {answer['id']} is revoked again."
            )
    except AdminError as error:
        raise CommandError(str(error)) from error
    if arguments.action == "make":
        return 0
    if arguments.action == "revoke":
        output.write(f"Key {answer['id']} of {answer['name']} is revoked.")
    else:
        output.write(f"{'ID':>4}  {'OWNER':24}  {'BEGINS':8}  MADE")
        for key in answer["keys"]:
            output.write(f"{key['id']:>4}  {key['owner']:24}  {key['hint'] + '…':8}  {key['created_at'][:10]}")
    return 0


def _show_key(answer: dict[str, Any]) -> OSError | None:
    """Show a new key; return the reason why it cannot be shown."""
    output.write(f"Key {answer['id']} for {answer['name']}, shown only this once:", sys.stderr)
    try:
        if getattr(sys.stdout, "name", "") == os.devnull:  # in place of one that was closed
            return OSError(errno.EBADF, os.strerror(errno.EBADF))
        print(answer["key"], flush=True)
    except OSError as error:
        return error
    return None


def maintain_service(arguments: Namespace) -> int:
    """Check, back up or restore the data of a service; return the exit status."""
    from apitorch_desktop.service import maintenance

    os.umask(0o077)  # photos and keys are private to the user, as in the service
    folder = arguments.data or paths.service_folder()
    if arguments.action == "check":
        findings = maintenance.check(folder, hashes=not arguments.fast)
        for finding in findings:
            output.write(f"{finding.sentence} {finding.advice}".strip())
        return 1 if any(finding.advice for finding in findings) else 0
    if arguments.action == "backup":
        output.write(maintenance.backup(folder, arguments.target, may_shrink=arguments.remove_images))
    elif arguments.action == "restore":
        output.write(maintenance.restore(arguments.source, folder))
    else:
        output.write(maintenance.adopt(folder))
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 4:
        raise ArgumentTypeError(f"“{text}” is not a number of cores: give 0 for all of them, or a number")
    return int(text)


def _hostname(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", text):
        raise ArgumentTypeError(
            f"“{shown(text)}” is no name of a machine: give it as others call it, without http:// and port"
        )
    return text


def _address(text: str) -> str:
    """Return an address to listen on; one of IPv6 may be in brackets, as in a URL."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise ArgumentTypeError(f"“{text}” is not a port: give a number from 0 to 65535")
    return port
