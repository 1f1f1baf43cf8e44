"""Runs before the program: takes the boot loader's marks out of the environment of what the program starts.

The boot loader puts the bundle's folder in front of LD_LIBRARY_PATH, which other programs such as a browser must not have,
and names itself in variables by which another start of the same program, such as the service, would take that for done.
"""

import os

_before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if _before is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = _before
for _name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[_name]
