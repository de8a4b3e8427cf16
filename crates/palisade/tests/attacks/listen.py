"""Answers on every port that the arguments name: what an attack meets where nothing stops it."""

import selectors
import socket
import sys

ready = selectors.DefaultSelector()
for port in sys.argv[1:]:
    listener = socket.create_server(("0.0.0.0", int(port)))
    ready.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        stream, _ = key.fileobj.accept()
        with stream:
            stream.settimeout(1)
            try:
                stream.recv(1000)
                stream.sendall(b"HTTP/1.1 200 reached\r\ncontent-length: 0\r\n\r\n")
            except OSError:
                pass
