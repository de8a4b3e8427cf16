"""Reads the files, and connects to the sockets, that the arguments name, and looks around for others' processes and descriptors.

Prints one line for each: what it is, and `done` or why not.
"""

import os
import socket
import stat
import sys


def read(path):
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        with socket.socket(socket.AF_UNIX) as way:
            return way.connect(path)
    with open(path, "rb") as file:
        file.read(1)


def descriptors():
    """Files that whoever started the mesh had open."""
    with os.scandir("/proc/self/fd") as scan:
        listing = {entry.name for entry in scan if int(entry.name) > 2}
    held = [name for name in listing if os.path.isdir(f"/proc/self/fd/{name}/etc")]
    if not held:
        raise OSError(0, f"{len(listing) - 1} beside the standard streams")


def processes():
    """The sidecar, the control plane, the supervisor."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            words = line.read().split(b"\0")
        if any(word in words for word in (b"proxy", b"control", b"supervisor")):
            return
    raise OSError(0, "none seen")


attempts = {path: lambda path=path: read(path) for path in sys.argv[1:]}
attempts["inherited directory"] = descriptors
attempts["others' processes"] = processes
for name, attempt in attempts.items():
    try:
        attempt()
        print(f"{name}: done")
    except OSError as error:
        print(f"{name}: {error.strerror or error}")
