"""Opens a socket of every address family, and prints one line for each: its number, and `done` or why not."""

import socket

KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
# Some more than Linux has.
for family in range(64):
    outcome = ""
    for kind in KINDS:
        try:
            socket.socket(family, kind, 0).close()
            outcome = "done"
            break
        except OSError as error:
            outcome = error.strerror
    print(f"{family}: {outcome}")
