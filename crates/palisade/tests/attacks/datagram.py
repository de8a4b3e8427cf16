"""Sends a datagram to each `ADDRESS PORT` of the arguments, and prints what came back."""

import os
import socket
import sys

words = sys.argv[1:]
for address, port in zip(words[0::2], words[1::2]):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.settimeout(1)
        try:
            way.connect((address, int(port)))
            # For a name server, a query for the root's own servers; for others, just bytes.
            way.send(os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + b"\0" + b"\0\2\0\1")
            way.recv(1000)
            outcome = "answered"
        except OSError as error:
            outcome = error.strerror or str(error)
    print(f"{address} {port}: {outcome}")
