#!/bin/sh
# Makes a Flatpak of the bundle: sh packaging/flatpak/build.sh TARGET. TARGET is the folder that packaging/bundle/build.sh was
# given; where there is no bundle in it yet, one is built. Needs flatpak-builder, and the runtime that the manifest names,
# which `flatpak install --user flathub org.freedesktop.Platform//24.08 org.freedesktop.Sdk//24.08` brings.
set -eu
[ $# = 1 ] || { echo "usage: sh packaging/flatpak/build.sh TARGET" >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
target=$(CDPATH='' cd -- "$1" && pwd)
name=apitorch-desktop
id=com.apitorch.desktop
[ -x "$target/$name/$name" ] || sh "$here/../bundle/build.sh" "$target"
tree=$target/flatpak
rm -rf "$tree"
mkdir -p "$tree"
cp "$here/$id.yml" "$tree/"
cp -al "$target/$name" "$tree/bundle"  # hard links: no second copy
"$target/env/bin/python" "$here/../linux/install.py" "$tree/data"
cd "$tree"
flatpak-builder --show-manifest "$id.yml" >/dev/null
if ! flatpak info org.freedesktop.Sdk//24.08 >/dev/null 2>&1; then
  echo "$tree is complete, and its manifest is valid; the runtime that it is built on is not installed here."
  exit 0
fi
flatpak-builder --force-clean --repo=repo build "$id.yml"
flatpak build-bundle repo "$target/$id.flatpak" "$id"
echo "$target/$id.flatpak has $(du -m "$target/$id.flatpak" | cut -f1) MB."
