#!/bin/sh
# Makes the disk image of the bundle: sh packaging/macos/build_dmg.sh TARGET, on macOS. TARGET is the folder that
# packaging/bundle/build.sh was given. SIGN_IDENTITY names a “Developer ID Application” certificate of the keychain (default: a
# signature without one, which macOS wants even so), NOTARY_PROFILE a profile of `xcrun notarytool store-credentials`.
set -eu
[ $# = 1 ] || { echo "usage: sh packaging/macos/build_dmg.sh TARGET" >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$1" && pwd)
app="$target/API Torch Desktop.app"
[ -d "$app" ] || { echo "There is no “API Torch Desktop.app” in $target: build it by sh packaging/bundle/build.sh $1" >&2; exit 1; }
version=$("$app/Contents/MacOS/apitorch-desktop" --version | cut -d' ' -f2)
image="$target/apitorch-desktop-$version-$(uname -m).dmg"
identity=${SIGN_IDENTITY:--}

# Asked for by the system when the camera is opened; without it the program is ended
plist="$app/Contents/Info.plist"
plutil -replace NSCameraUsageDescription -string "The camera’s picture is classified, and photos are taken into your training set." "$plist"
plutil -replace CFBundleShortVersionString -string "$version" "$plist"

# After the last change. The hardened runtime is what notarization asks for; it needs a certificate
set -- --force --deep --sign "$identity" --entitlements "$here/entitlements.plist"
[ "$identity" = - ] || set -- "$@" --options runtime --timestamp
codesign "$@" "$app"
codesign --verify --deep --strict "$app"

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
ditto "$app" "$staging/API Torch Desktop.app"
ln -s /Applications "$staging/Applications"
rm -f "$image"
hdiutil create -quiet -volname "API Torch Desktop" -srcfolder "$staging" -fs HFS+ -format UDZO "$image"
if [ -n "${NOTARY_PROFILE:-}" ]; then
  codesign --sign "$identity" --timestamp "$image"
  xcrun notarytool submit "$image" --keychain-profile "$NOTARY_PROFILE" --wait
  xcrun stapler staple "$image"
fi
echo "$image has $(($(stat -f %z "$image") / 1000000)) MB."
