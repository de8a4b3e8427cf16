"""Binds the sidecar's port for inbound connections beside it, and answers in its place.

Prints how it went, and at the end how many connections came.
"""

import socket
import sys

REUSEPORT = 15

port = int(sys.argv[1])
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, REUSEPORT, 1)
    try:
        listener.bind(("0.0.0.0", port))
    except OSError as error:
        print(f"refused: {error.strerror}", flush=True)
        sys.exit()
    listener.listen()
    listener.settimeout(10)
    print("listening", flush=True)
    while True:
        try:
            stream, _ = listener.accept()
        except TimeoutError:
            break
        with stream:
            head = stream.recv(1000)
            stream.sendall(b"HTTP/1.1 200 stolen\r\ncontent-length: 0\r\n\r\n")
            if b"GET /enough" in head:
                break
