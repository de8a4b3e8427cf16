"""Lies in wait for processes that are put into this container, and looks into them before they are its own.

Runs until `/tmp/enough` is there. Prints every executable that is none of this container's, if it can be
opened: over it, the host's own file would be written once the process has gone on.
"""

import os
import time

own = {os.stat("/proc/self/exe").st_ino}
found, tried = set(), 0
print("watching", flush=True)
while not os.path.exists("/tmp/enough"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) in (1, os.getpid()):
            continue
        try:
            tried += 1
            path = os.readlink(f"/proc/{pid}/exe")
            if not os.path.exists(path):
                found.add(path)
        except OSError:
            pass
print(f"foreign: {sorted(found)}" if found else "foreign: none", flush=True)
