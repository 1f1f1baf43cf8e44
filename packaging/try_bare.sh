#!/bin/sh
# Tries bundle and Debian package where nothing else is: sh packaging/try_bare.sh TARGET, as root. Builds what TARGET does not
# have yet, makes two bare systems of Debian 12 in it (mmdebstrap; no Python, no X server), and drives the window in each of
# them by pointer and keys from an X server outside: sample, import, all three standard classifiers, export, quit. Prints what
# it saw; fails on anything on standard error. Needs mmdebstrap, xvfb and xdotool.
set -eu
[ $# = 1 ] || { echo "usage: sh packaging/try_bare.sh TARGET" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "A bare system is made and entered by root: start it by sudo." >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
target=$(CDPATH='' cd -- "$1" && pwd)
name=apitorch-desktop
# what every desktop has, and the bundle takes from it: drivers, fonts and their libraries, the bus, X
desktop=libegl1,libgl1,libdbus-1-3,libfontconfig1,libfreetype6,libglib2.0-0,libgssapi-krb5-2,libstdc++6,libx11-6,libx11-xcb1
desktop=$desktop,libxcb1,zlib1g,fonts-dejavu-core

[ -x "$target/$name/$name" ] || sh "$here/bundle/build.sh" "$target"
package=$(find "$target" -maxdepth 1 -name "${name}_*.deb" -newer "$target/$name" | sort | tail -n 1)
if [ -z "$package" ]; then
  sh "$here/debian/build.sh" "$target"
  package=$(find "$target" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
fi

make_root() {  # ROOT, then options of mmdebstrap
  root=$1; shift
  rm -rf --one-file-system "$root"
  TMPDIR=$target mmdebstrap --quiet --variant=minbase "$@" --customize-hook='chroot "$1" useradd --create-home me' bookworm "$root"
  ! find "$root/usr/bin" "$root/usr/lib" -maxdepth 1 -name 'python*' | grep . || { echo "$root is not bare." >&2; exit 1; }
}
drive() {  # ROOT COMMAND: mounts vanish with the process that has them
  unshare --mount --propagation private sh -ec '
    mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/tmp"
    mkdir -m 1777 "$1/tmp/.X11-unix"; mount --bind /tmp/.X11-unix "$1/tmp/.X11-unix"
    exec "$2" "$3/try_bare.py" "$1" "$4"' sh "$1" "$target/env/bin/python" "$here" "$2"
}
mkdir -p -m 1777 /tmp/.X11-unix

echo "== The bundle, in a bare Debian 12 with what every desktop has"
make_root "$target/bare-bundle" --include="$desktop"
cp -a "$target/$name" "$target/bare-bundle/opt/"
drive "$target/bare-bundle" "/opt/$name/$name"

echo "== ${package##*/}, in a bare Debian 12 with what it depends on"
make_root "$target/bare-deb" --customize-hook="cp '$package' \"\$1/tmp/\"" \
  --customize-hook="chroot \"\$1\" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends '/tmp/${package##*/}' >/dev/null"
drive "$target/bare-deb" "/usr/bin/$name"
