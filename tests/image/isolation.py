"""Runs a command in a folder as if that were the whole system, with mounts that end with it."""

import os
import shutil
import subprocess
from pathlib import Path

from dockerfile import fail

Mount = tuple[Path, str, str]  # source, target inside, "rw" or "ro"

MOUNT = """set -e
while [ "$1" != -- ]; do
  mount --rbind "$1" "$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$2"
  shift 3
done
shift
exec "$@"
"""


def namespaces() -> list[str]:
    """The flags of `unshare` with which mounts can be made here: as root, or else as root of a user namespace."""
    for flags in [["--mount"]] * (os.geteuid() == 0) + [["--map-root-user", "--mount"]]:
        if shutil.which("unshare") and subprocess.run(["unshare", *flags, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            return flags
    fail("needs mounts of its own: run it as root with CAP_SYS_ADMIN, or allow user namespaces (see user_namespaces(7))")


NAMESPACES = namespaces()
IS_ROOT = NAMESPACES == ["--mount"]


def isolated(folder: Path, workdir: str, mounts: list[Mount], command: list[str], user: str = "") -> list[str]:
    """The command line that does it. Every program in it becomes the next one, so its process id is in the end the command's."""
    triples = [part for source, target, access in mounts for part in (str(source), f"{folder}{target}", access)]
    identity = []
    if user:
        uid, gid = user.split(":")
        identity = ["--setuid", uid, "--setgid", gid] if IS_ROOT else [f"--map-user={uid}", f"--map-group={gid}"]
    inside = ["unshare", *identity, "--root", str(folder), "--wd", workdir, *command]
    return ["unshare", *NAMESPACES, "sh", "-c", MOUNT, "sh", *triples, "--", *inside]
