#!/bin/sh
# Makes an AppImage of the bundle: sh packaging/appimage/build.sh TARGET. TARGET is the folder that packaging/bundle/build.sh
# was given; where there is no bundle in it yet, one is built. The folder that becomes the image, TARGET/AppDir, starts by
# its AppRun as well. Making one file of it takes appimagetool (in the PATH, or named by APPIMAGETOOL).
set -eu
[ $# = 1 ] || { echo "usage: sh packaging/appimage/build.sh TARGET" >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
target=$(CDPATH='' cd -- "$1" && pwd)
name=apitorch-desktop
[ -x "$target/$name/$name" ] || sh "$here/../bundle/build.sh" "$target"
tree=$target/AppDir
rm -rf "$tree"
mkdir -p "$tree/usr/lib" "$tree/usr/bin"
cp -a "$target/$name" "$tree/usr/lib/$name"
ln -s "../lib/$name/$name" "$tree/usr/bin/$name"
"$target/env/bin/python" "$here/../linux/install.py" "$tree/usr"
ln -s "usr/share/applications/$name.desktop" "$tree/$name.desktop"
ln -s "usr/share/icons/hicolor/256x256/apps/$name.png" "$tree/$name.png"
ln -s "$name.png" "$tree/.DirIcon"
install -m 755 "$here/AppRun" "$tree/AppRun"
if command -v appstreamcli >/dev/null; then
  appstreamcli validate-tree --no-net "$tree" >"$target/appstream.txt" || { cat "$target/appstream.txt" >&2; exit 1; }
fi

tool=${APPIMAGETOOL:-$(command -v appimagetool || true)}
if [ -z "$tool" ]; then
  echo "$tree is complete. To make one file of it: appimagetool $tree (https://github.com/AppImage/appimagetool)."
  exit 0
fi
version=$("$target/$name/$name" --version | cut -d' ' -f2)
image=$target/$name-$version-$(uname -m).AppImage
ARCH=$(uname -m) VERSION=$version "$tool" "$tree" "$image"
echo "$image has $(du -m "$image" | cut -f1) MB."
