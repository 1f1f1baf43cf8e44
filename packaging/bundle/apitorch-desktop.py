"""Start of the bundled program: the command `apitorch-desktop`."""

from apitorch_desktop.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
