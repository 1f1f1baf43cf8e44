#!/bin/sh
# Makes a Debian package of the bundle: sh packaging/debian/build.sh TARGET. TARGET is the folder that packaging/bundle/build.sh
# was given; where there is no bundle in it yet, one is built. The package, for Debian 12 and newer, is left in TARGET.
set -eu
[ $# = 1 ] || { echo "usage: sh packaging/debian/build.sh TARGET" >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
target=$(CDPATH='' cd -- "$1" && pwd)
[ -x "$target/apitorch-desktop/apitorch-desktop" ] || sh "$here/../bundle/build.sh" "$target"
python=$target/env/bin/python
name=apitorch-desktop
version=$("$target/apitorch-desktop/$name" --version | cut -d' ' -f2)
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

tree=$target/debian
rm -rf "$tree"
umask 022
mkdir -p "$tree/DEBIAN" "$tree/usr/lib" "$tree/usr/bin" "$tree/usr/share/doc/$name" "$tree/usr/share/lintian/overrides"
cp -a "$target/$name" "$tree/usr/lib/$name"
ln -s "../lib/$name/$name" "$tree/usr/bin/$name"
"$python" "$here/../linux/install.py" "$tree/usr"
mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"  # where Debian's zsh looks
cp "$here/copyright" "$tree/usr/share/doc/$name/copyright"
ln -s "../../../lib/$name/notices" "$tree/usr/share/doc/$name/notices"
cp "$here/lintian-overrides" "$tree/usr/share/lintian/overrides/$name"
"$python" "$here/changelog.py" "$here/../CHANGELOG.md" "$version" | gzip -9n >"$tree/usr/share/doc/$name/changelog.gz"

# permissions as the policy wants them, whatever wheels have
find "$tree/usr" -type d -exec chmod 755 {} +
find "$tree/usr" -type f ! -path "*/servicemenus/*" -exec chmod 644 {} +
chmod 755 "$tree/usr/lib/$name/$name"

# what the libraries in it need of the system; themes and other plugins of Qt that not every desktop can load are optional
rm -rf "$target/debian-work"
mkdir -p "$target/debian-work/debian"
cd "$target/debian-work"
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$name" "$name" >debian/control
inside=$tree/usr/lib/$name/_internal
find "$inside" -type d \( -name '*.libs' -o -path '*/Qt/lib' \) -printf '-l%p\n' >options
find "$inside" -name '*.so*' -type f ! -path '*/Qt/plugins/*' ! -name 'libQt6Wayland*' ! -name 'libQt6WlShell*' >>options
printf '%s\n' "-l$inside" "$tree/usr/lib/$name/$name" "$inside/PySide6/Qt/plugins/platforms/libqxcb.so" >>options
xargs -d '\n' dpkg-shlibdeps -O --ignore-missing-info --warnings=0 <options >needed
# without the packages whose libraries are in the bundle: their licenses are
needed=$(sed -n 's/^shlibs:Depends=//p' needed | sed 's/, /\n/g' | while read -r package version; do
  [ -e "$target/$name/notices/system/$package.txt" ] || echo "$package${version:+ $version}, "
done | tr -d '\n' | sed 's/, $//')
cd "$here"

size=$(du -sk --apparent-size "$tree/usr" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/; s/@DEPENDS@/$needed/" "$here/control.in" >"$tree/DEBIAN/control"
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$target/${name}_${version}_$architecture.deb
dpkg-deb --root-owner-group -Z"${COMPRESSION:-xz}" --build "$tree" "$package"
if command -v lintian >/dev/null; then
  lintian --fail-on error --suppress-tags bad-distribution-in-changes-file "$package"
fi
echo "$package has $(du -m "$package" | cut -f1) MB, and $((size / 1024)) MB installed."
