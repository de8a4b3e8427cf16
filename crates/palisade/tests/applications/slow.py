# Reads the beginning of a file, then nothing until it is told to go on, then the rest.
import hashlib
import socket
import sys

with socket.socket() as way:
    way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    way.connect(("server.apps", 8080))
    way.sendall(b"GET /large HTTP/1.1\r\nhost: server.apps\r\nrange: bytes=0-33554431\r\nconnection: close\r\n\r\n")
    read = way.makefile("rb")
    while read.readline() != b"\r\n":
        pass
    digest = hashlib.sha256(read.read(65536))
    print("begun", flush=True)
    sys.stdin.read()
    while piece := read.read(65536):
        digest.update(piece)
print(digest.hexdigest())
