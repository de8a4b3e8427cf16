"""Asks the certificate authority for certificates, as a sidecar does: gRPC over TLS at port 15012.

The arguments are `NAME TOKEN IDENTITY` each; a token `-` is none, and one that starts with `/` a file. Prints
one line for each: the name, and `issued` or the code and message of gRPC.
"""

import json
import os
import subprocess
import sys
import tempfile

AT = "10.244.0.1:15012"
METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


def signing_request(identity):
    """PEM, for a key of our own."""
    with tempfile.TemporaryDirectory() as place:
        made = subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-keyout", place + "/key", "-subj", "/", "-addext", "subjectAltName=critical,URI:" + identity],
            capture_output=True,
            check=True,
        )
    return made.stdout


def message(csr):
    """`IstioCertificateRequest` with the field `csr`, framed by gRPC."""
    size, length = b"", len(csr)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    body = b"\x0a" + size + bytes([length]) + csr
    return b"\0" + len(body).to_bytes(4, "big") + body


def ask(token, identity):
    headers = ["content-type: application/grpc", "te: trailers"]
    if token.startswith("/"):
        with open(token, encoding="ascii") as file:
            token = file.read()
    if token != "-":
        headers.append("authorization: Bearer " + token)
    line = ["curl", "-sS", "-k", "--http2", "-m", "5", "-D", "/dev/stderr", "-o", "/dev/null", "--data-binary", "@-"]
    for header in headers:
        line += ["-H", header]
    asked = subprocess.run(line + [f"https://{AT}{METHOD}"], input=message(signing_request(identity)), capture_output=True)
    said = dict(line.split(": ", 1) for line in asked.stderr.decode().splitlines() if ": " in line)
    if "grpc-status" not in said:
        return json.dumps(asked.stderr.decode())
    return "issued" if said["grpc-status"] == "0" else f"{said['grpc-status']} {said.get('grpc-message')}"


os.environ["HOME"] = "/tmp"
words = sys.argv[1:]
for name, token, identity in zip(words[0::3], words[1::3], words[2::3]):
    try:
        print(f"{name}: {ask(token, identity)}")
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}")
