"""The command with the service's clock moved by as many seconds as a file says: `python clocked.py FILE serve …`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apitorch_desktop.cli.main import main
from apitorch_desktop.service import app
from apitorch_desktop.service.http import signed_urls

_FILE = Path(sys.argv.pop(1))


def _now():
    return datetime.now(UTC) + timedelta(seconds=float(_FILE.read_text()))


app.Signer = lambda secret: signed_urls.Signer(secret, _now)
sys.exit(main(sys.argv[1:]))
