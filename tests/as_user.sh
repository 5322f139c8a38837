#!/bin/sh
# Run a command as an ordinary user: grading refuses root, and CI often is root.
#   sh tests/as_user.sh FOLDER command …
# Root's home is closed to others but may hold Python and this repository: in a mount namespace of
# its own, put an empty folder in its place with these two in it, then give up root.
set -eu
[ "$(id -u)" = 0 ] || { shift; exec "$@"; }
if [ -z "${INSIDE:-}" ]; then
  INSIDE=1 exec unshare --mount --propagation private sh "$0" "$@"
fi
repository=$1
shift
python=$("$repository/.venv/bin/python" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))')
stash=$(mktemp -d)
mkdir "$stash/python" "$stash/repository"
mount --bind "$python" "$stash/python"
mount --bind "$repository" "$stash/repository"
case "$python $repository" in
  *"$HOME"/*) mount -t tmpfs -o mode=755 none "$HOME" ;;
esac
for name in python repository; do
  eval "path=\$$name"
  mkdir -p "$path"
  mountpoint -q "$path" || mount --bind "$stash/$name" "$path"
done
home=$(mktemp -d)
chmod 755 "$stash"
chown 65534:65534 "$home"
HOME=$home exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
