"""Start of the bundled program: the command `apitorch-desktop`."""

from apitorch_desktop.__main__ import run

if __name__ == "__main__":
    raise SystemExit(run())
