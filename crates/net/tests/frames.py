"""Sends forged frames on eth0: frames.py MAC-OF-THE-NEIGHBOUR OWN-IP OTHER-IP SERVER-IP GATEWAY

The address FORGED is claimed for others. Datagrams go to port 9 of the server, `own` with the address
that is ours, so that it is seen that such a frame arrives.
"""
import socket
import struct
import sys

FORGED = bytes.fromhex("026600000066")
BROADCAST = b"\xff" * 6
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def arp(operation, mac, sender, target):
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac + socket.inet_aton(sender) + b"\0" * 6 + socket.inet_aton(target)


def ipv4(protocol, source, target, payload):
    def head(check):
        fields = (0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, check)
        addresses = socket.inet_aton(source), socket.inet_aton(target)
        return struct.pack("!BBHHHBBH4s4s", *fields, *addresses)

    return head(checksum(head(0))) + payload


def udp(source, target, text):
    return ipv4(17, source, target, struct.pack("!HHHH", 9, 9, 8 + len(text), 0) + text)


def syn(source, target):
    segment = struct.pack("!HHIIBBHHH", 4444, 80, 7, 0, 5 << 4, 2, 1024, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!HH", 6, len(segment))
    check = checksum(pseudo + segment)
    return ipv4(6, source, target, segment[:16] + struct.pack("!H", check) + segment[18:])


def advertisement(address):
    """An unsolicited one that overrides what was known, with FORGED for the address."""
    source = socket.inet_pton(socket.AF_INET6, address)
    target = socket.inet_pton(socket.AF_INET6, "ff02::1")
    message = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + source + b"\2\1" + FORGED
    pseudo = source + target + struct.pack("!IHBB", len(message), 0, 0, 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    return struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + source + target + message


def main(neighbour, own, other, server, gateway):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind(("eth0", 0))
    mac = link.getsockname()[4]
    neighbour = bytes.fromhex(neighbour.replace(":", ""))

    def send(target, kind, payload, source=mac):
        link.send(target + source + struct.pack("!H", kind) + payload)

    for claimed in (other, server, gateway):
        for target in (neighbour, BROADCAST):
            send(target, ARP, arp(2, FORGED, claimed, gateway), FORGED)
            send(target, ARP, arp(2, FORGED, claimed, claimed), FORGED)
            send(target, ARP, arp(1, FORGED, claimed, claimed), FORGED)
            send(target, ARP, arp(1, FORGED, claimed, gateway), FORGED)
            send(target, ARP, arp(1, mac, claimed, gateway))
    for address in ("fe80::1", "fe80::2", "fd00::1"):
        send(neighbour, IPV6, advertisement(address))
        send(b"\x33\x33\0\0\0\1", IPV6, advertisement(address))
    for source in (other, gateway, server, "127.0.0.1", "255.255.255.255", "192.0.2.1"):
        send(neighbour, IPV4, udp(source, server, b"forged"))
        send(neighbour, IPV4, syn(source, server))
        send(BROADCAST, IPV4, udp(source, server, b"forged"))
    send(neighbour, IPV4, udp(own, server, b"own"))


main(*sys.argv[1:])
