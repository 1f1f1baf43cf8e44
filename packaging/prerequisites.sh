#!/bin/sh
# Debian packages that pip cannot bring: what the window needs, and with `test` what the tests need. Installs only what is missing.
set -eu
packages="python3-venv libegl1 libgl1 libdbus-1-3 libfontconfig1 fonts-dejavu-core libxkbcommon-x11-0 libxcb-cursor0
  libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-sync1 libxcb-xfixes0
  libxcb-xinerama0 libxcb-xkb1"
if [ "${1:-}" = test ]; then
  packages="$packages xvfb xdotool libpulse0 curl dbus dbus-x11 gnome-keyring postgresql desktop-file-utils python3-gi
    gir1.2-nautilus-4.0"
fi
command -v dpkg-query >/dev/null || exit 0  # not a Debian: the desktop's own packages serve
missing=$(for name in $packages; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
done)
[ -n "$missing" ] || exit 0
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
# shellcheck disable=SC2086
echo "Installing packages of the system:" $missing
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
