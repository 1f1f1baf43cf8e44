"""Puts what a desktop wants to know of the program into a tree such as /usr: python packaging/linux/install.py TREE.

Desktop entry, icons in all sizes, AppStream data, man page, shell completion, entries of file managers, and the user unit
of systemd. The Debian package, the Flatpak and the AppImage call it. Needs a Python with the program and shtab.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import shtab

from apitorch_desktop import CLASSIFY_OPTION, __version__
from apitorch_desktop.cli.main import make_parser
from apitorch_desktop.utils.paths import resources

sys.path.append(str(Path(__file__).resolve().parents[1] / "bundle"))

from contents import draw_icon

HERE = Path(__file__).resolve().parent
NAME = "apitorch-desktop"
APPSTREAM_ID = "com.apitorch.desktop"
ICON_SIZES = (16, 22, 24, 32, 48, 64, 96, 128, 256, 512)
"""Sides in pixels of what desktops ask hicolor for, beside the drawing itself."""
COPIES = {
    f"{NAME}.desktop": "share/applications",
    f"{APPSTREAM_ID}.metainfo.xml": "share/metainfo",
    f"{NAME}-watch@.service": "lib/systemd/user",
    "nautilus/*.py": "share/nautilus-python/extensions",
    "nemo/*.nemo_action": "share/nemo/actions",
    "dolphin/*.desktop": "share/kio/servicemenus",
    "thunar/*.desktop": "share/Thunar/sendto",
}
"""Files of this folder, and the folders of the tree that they go to as they are."""
COMPLETIONS = {
    "bash": f"share/bash-completion/completions/{NAME}",
    "zsh": f"share/zsh/site-functions/_{NAME}",
    "fish": f"share/fish/vendor_completions.d/{NAME}.fish",
}
_PATHS = {
    "FILE": shtab.FILE, "IMAGE": shtab.FILE, "PATH": shtab.FILE, "DIR": shtab.DIRECTORY, "FOLDER": shtab.DIRECTORY,
}  # fmt: skip
"""How the shells complete values, by the names that the help gives them."""
_ENVIRONMENT = {
    "APITORCH_BASE_URL": "Address of the service that import, export, classify and watch talk to.",
    "APITORCH_API_KEY": "Key for it; for serve, the key that the service accepts.",
    "APITORCH_DESKTOP_HOME": "Folder for data, cache and settings in place of those below FILES.",
    "SSL_CERT_FILE": "Certificates of authorities of your own, PEM.",
}
_FILES = {
    "~/.local/share/apitorch-desktop": "Data of the embedded service, settings, journals and trash.",
    "~/.cache/apitorch-desktop": "Thumbnails, and what else can be made anew.",
}


def parser() -> argparse.ArgumentParser:
    """Return the command's parser with the window's own option, and with the paths marked for the shells."""
    made = make_parser()
    made.add_argument(CLASSIFY_OPTION, nargs="+", metavar="PATH", help="open the window, and classify these photos")
    for one in (made, *(command for _, command in commands(made))):
        for action in one._actions:
            if isinstance(action.metavar, str) and action.metavar in _PATHS:
                action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]  # read by shtab
    return made


def commands(of: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the help and the parser of each subcommand, and of theirs."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield about[name], command
                yield from commands(command)


def completion(shell: str) -> str:
    """Return the completion for a shell; where no command or option fits, bash takes photos and folders for the window."""
    text = shtab.complete(parser(), shell)
    return text.replace("complete -o bashdefault -F", "complete -o bashdefault -o default -F")


def man_page() -> str:
    """Return the man page, groff source in UTF-8."""
    made = parser()
    lines = [f'.TH {NAME.upper()} 1 "" "API Torch Desktop {__version__}" "User Commands"', ".SH NAME"]
    lines += [_text(f"{NAME} - curate images for a classifier, and classify them"), ".SH SYNOPSIS"]
    for words in ("[PATH ...]", f"{CLASSIFY_OPTION} PATH ...", "COMMAND ..."):
        lines += [f".B {_text(NAME)}", _text(words), ".br"]
    lines += [".SH DESCRIPTION", _text(made.description or ""), ".SH OPTIONS", *_arguments(made), ".SH COMMANDS"]
    for about, command in commands(made):
        lines += [
            f".SS {_text(command.prog.removeprefix(NAME).strip())}",
            _text(f"{about[0].upper()}{about[1:]}."),
            ".PP",
        ]
        usage = " ".join(command.format_usage().split()).removeprefix(f"usage: {command.prog}")
        lines += [f".B {_text(command.prog)}", _text(usage.strip()), *_arguments(command)]
    lines += [".SH ENVIRONMENT", *_terms(_ENVIRONMENT.items()), ".SH FILES", *_terms(_FILES.items())]
    _, _, status = (made.epilog or "").partition("Exit status: ")
    lines += [".SH EXIT STATUS", _text(f"{status.rstrip('.')}, 130 interrupted."), ".SH SEE ALSO"]
    return "\n".join([*lines, "https://www.apitorch.com"]) + "\n"


def _arguments(command: argparse.ArgumentParser) -> list[str]:
    """Return the arguments and options of one command, without its subcommands."""
    formatter = command._get_formatter()
    own = [action for action in command._actions if not isinstance(action, argparse._SubParsersAction)]
    return _terms((formatter._format_action_invocation(action), formatter._expand_help(action)) for action in own)


def _terms(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [line for term, about in pairs for line in (".TP", f".B {_text(term)}", _text(about))]


def _text(text: str) -> str:
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text


def write_icons(folder: Path) -> None:
    """Write the program's icon in all sizes into a folder of the hicolor theme."""
    for size in ICON_SIZES:
        draw_icon(resources(), size, folder / f"{size}x{size}" / "apps" / f"{NAME}.png")
    target = folder / "scalable" / "apps" / f"{NAME}.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(resources() / "icons" / target.name, target)


def install(tree: Path) -> None:
    """Put everything below a folder that stands for /usr."""
    for pattern, folder in COPIES.items():
        (tree / folder).mkdir(parents=True, exist_ok=True)
        for file in sorted(HERE.glob(pattern)):
            shutil.copyfile(file, tree / folder / file.name)
    (tree / "share/kio/servicemenus" / f"{NAME}.desktop").chmod(0o755)  # or Plasma does not trust it
    texts = {f"share/man/man1/{NAME}.1.gz": man_page(), **{path: completion(one) for one, path in COMPLETIONS.items()}}
    for path, text in texts.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        (tree / path).write_bytes(gzip.compress(data, mtime=0) if path.endswith(".gz") else data)
    write_icons(tree / "share/icons/hicolor")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python packaging/linux/install.py TREE")
    install(Path(sys.argv[1]))
