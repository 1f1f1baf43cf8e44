#!/bin/sh
# Puts "Classify with API Torch" and "Add to a training set…" into the menus of Nautilus, Nemo, Dolphin and Thunar ("Send to"),
# for the user who runs it: sh packaging/linux/file_managers.sh [COMMAND]. Nautilus needs the package python3-nautilus.
# A package for all users copies the files to /usr/share in place of $data, as they are.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
data=${XDG_DATA_HOME:-$HOME/.local/share}
command=${1:-$(command -v apitorch-desktop || echo "$here/../../.venv/bin/apitorch-desktop")}
command=$(readlink -f -- "$command")
[ -x "$command" ] || { echo "There is no program “$command”: name it as the argument." >&2; exit 2; }
case $command in *[!A-Za-z0-9/._+-]*) echo "The path “$command” has characters that menus do not take." >&2; exit 2 ;; esac
put() {  # FOLDER FILE…: with the full path of the command, which is seldom in a session's PATH
  target=$data/$1; shift
  mkdir -p "$target"
  for file; do
    sed -e "s|^Exec=apitorch-desktop|Exec=$command|" -e "s|^COMMAND = .*|COMMAND = \"$command\"|" "$file" >"$target/${file##*/}"
  done
}
put nautilus-python/extensions "$here"/nautilus/*.py
put nemo/actions "$here"/nemo/*.nemo_action
put kio/servicemenus "$here"/dolphin/*.desktop
chmod +x "$data"/kio/servicemenus/apitorch-desktop.desktop  # or Plasma does not trust it
put Thunar/sendto "$here"/thunar/*.desktop
echo "Nautilus, Nemo, Dolphin and Thunar offer it from their next start on."
