"""What a program that was broken into tries against its pod's walls.

Prints one line for each attempt: its name, and `done` or why not. The test runs the same file in a
namespace with privileges, where every attempt must be `done`: an attempt that can't succeed proves nothing.
"""

import ctypes
import os
import socket
import subprocess

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def option(level, name, value):
    with socket.socket() as plain:
        plain.setsockopt(level, name, value)


def opened(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


def ran(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(done.stderr.strip().splitlines()[0] if done.stderr else "failed")


def mounted(source, target, kind, flags):
    checked(libc.mount(source, target, kind, ctypes.c_ulong(flags), None))


def in_child(attempt):
    """Runs what would change this process in another one."""
    child = os.fork()
    if child == 0:
        try:
            attempt()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        raise OSError(code, os.strerror(code))


def on_victim(attempt):
    victim = os.fork()
    if victim == 0:
        libc.pause()
    try:
        attempt(victim)
    finally:
        os.kill(victim, 9)
        os.waitpid(victim, 0)


def read_memory(victim):
    buffer = ctypes.create_string_buffer(8)
    own, other = (ctypes.c_void_p * 2)(), (ctypes.c_void_p * 2)()
    own[0], own[1] = ctypes.addressof(buffer), 8
    other[0], other[1] = ctypes.addressof(buffer), 8
    checked(libc.process_vm_readv(victim, own, 1, other, 1, 0))


def write_setting(name, value):
    with open("/proc/sys/net/" + name, "w") as setting:
        setting.write(value)


def make_device():
    place = f"/tmp/device-{os.getpid()}"
    os.mknod(place, 0o020666, os.makedev(1, 3))
    os.unlink(place)


NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000
DETACH, REMOUNT, BIND = 2, 32, 4096
ATTACH = 16
SO_MARK, IP_TRANSPARENT, AF_PACKET = 36, 19, 17

ATTEMPTS = {
    # Out of the redirect.
    "mark a socket as the sidecar's": lambda: option(socket.SOL_SOCKET, SO_MARK, 1337),
    "send as a transparent proxy": lambda: option(socket.IPPROTO_IP, IP_TRANSPARENT, 1),
    "open a raw socket": lambda: opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
    "open a packet socket": lambda: opened(AF_PACKET, socket.SOCK_RAW, 0),
    "list rules": lambda: ran("nft", "list", "ruleset"),
    "flush rules": lambda: ran("nft", "flush", "ruleset"),
    "add an address": lambda: ran("ip", "address", "add", "10.244.0.99/32", "dev", "lo"),
    "answer for a neighbour": lambda: ran("ip", "neighbour", "add", "proxy", "10.244.0.1", "dev", "lo"),
    "forward packets": lambda: write_setting("ipv4/ip_forward", "1"),
    "accept own addresses": lambda: write_setting("ipv4/conf/all/accept_local", "1"),
    # Out of the files.
    "mount": lambda: mounted(b"none", b"/tmp", b"tmpfs", 0),
    "unmount": lambda: checked(libc.umount2(b"/tmp", DETACH)),
    "make the root writable": lambda: mounted(None, b"/", None, REMOUNT | BIND),
    "write to the host": lambda: os.close(os.open("/etc/passwd", os.O_WRONLY)),
    "change the root": lambda: in_child(lambda: os.chroot("/tmp")),
    "make a device": make_device,
    # Into other namespaces.
    "new user namespace": lambda: in_child(lambda: checked(libc.unshare(NEWUSER))),
    "new network namespace": lambda: in_child(lambda: checked(libc.unshare(NEWNET))),
    "new mount namespace": lambda: in_child(lambda: checked(libc.unshare(NEWNS))),
    "enter a namespace": lambda: in_child(
        lambda: checked(libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0))
    ),
    # Into other processes.
    "trace a process": lambda: on_victim(lambda victim: checked(libc.ptrace(ATTACH, victim, None, None))),
    "read a process's memory": lambda: on_victim(read_memory),
    "rename the host": lambda: checked(libc.sethostname(b"frontend", 8)),
}

for name, attempt in ATTEMPTS.items():
    try:
        attempt()
        print(f"{name}: done")
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{name}: {getattr(error, 'strerror', None) or error}")
