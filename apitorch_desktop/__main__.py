"""`python -m apitorch_desktop`, and the command `apitorch-desktop`."""


def run() -> int:
    """Run the command line; return the exit status, also where Ctrl-C comes while its modules are loaded."""
    try:
        from apitorch_desktop.cli.main import main

        return main()
    except KeyboardInterrupt as end:
        return int(getattr(end, "status", 130))


if __name__ == "__main__":
    raise SystemExit(run())
