"""Answers on every port that the arguments name, in both address families and to datagrams: what an attack meets
where nothing stops it."""

import selectors
import socket
import sys

ready = selectors.DefaultSelector()
for port in sys.argv[1:]:
    listener = socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    ready.register(listener, selectors.EVENT_READ)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("0.0.0.0", int(port)))
    ready.register(datagrams, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if key.fileobj.type == socket.SOCK_DGRAM:
            datagram, peer = key.fileobj.recvfrom(1000)
            key.fileobj.sendto(datagram, peer)
            continue
        stream, _ = key.fileobj.accept()
        with stream:
            stream.settimeout(1)
            try:
                stream.recv(1000)
                stream.sendall(b"HTTP/1.1 200 reached\r\ncontent-length: 0\r\n\r\n")
            except OSError:
                pass
