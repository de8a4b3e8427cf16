"""Connects where the arguments say (`NAME WAY ADDRESS PORT` each) and prints what came of it.

A way is an address family or a trick to get past the sidecar of the pod that this runs in or of the pod that
it connects to. An answer is what the peer said first to a plain request.
"""

import socket
import sys

# Seconds.
TIMEOUT = 1
MPTCP, FREEBIND, BINDTODEVICE = 262, 15, 25


def plain(address, port):
    return socket.create_connection((address, port), TIMEOUT)


def mapped(address, port):
    way = socket.socket(socket.AF_INET6)
    way.settimeout(TIMEOUT)
    way.connect(("::ffff:" + address, port))
    return way


def protocol(kind, number):
    def connect(address, port):
        way = socket.socket(socket.AF_INET, kind, number)
        way.settimeout(TIMEOUT)
        way.connect((address, port))
        return way

    return connect


def bound_to(device):
    def connect(address, port):
        way = socket.socket()
        way.settimeout(TIMEOUT)
        way.setsockopt(socket.SOL_SOCKET, BINDTODEVICE, device)
        way.connect((address, port))
        return way

    return connect


def spoofed(address, port):
    """From the address of somebody else: the peer's own neighbour, the node."""
    way = socket.socket()
    way.settimeout(TIMEOUT)
    way.setsockopt(socket.IPPROTO_IP, FREEBIND, 1)
    way.bind(("10.244.0.1", 0))
    way.connect((address, port))
    return way


WAYS = {
    "tcp": plain,
    "linklocal": lambda address, port: plain("fe80::1%eth0", port),
    "ula": lambda address, port: plain("fd00::1", port),
    "mapped": mapped,
    "mptcp": protocol(socket.SOCK_STREAM, MPTCP),
    "eth0": bound_to(b"eth0"),
    "lo": bound_to(b"lo"),
    "spoofed": spoofed,
}

words = sys.argv[1:]
for name, way, address, port in zip(words[0::4], words[1::4], words[2::4], words[3::4]):
    target = name if name.startswith(("GET", "POST")) else "GET /"
    try:
        with WAYS[way](address, int(port)) as stream:
            stream.sendall(f"{target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            said = stream.recv(200)
        first = said.split(b"\r\n")[0].decode("latin-1") if said else "closed"
    except OSError as error:
        first = error.strerror or str(error)
    print(f"{name} {way} {address} {port}: {first}")
