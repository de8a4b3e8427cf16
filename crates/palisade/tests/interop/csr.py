# A client of the mesh's certificate service as Istio's agent is one: a key and a signing request of its own
# (RSA 2048, an empty organization, the identity as URI, as `security/pkg/pki/util/generate_csr.go` makes
# them), sent under a token. Only programs that are not the mesh's: openssl, curl.
import struct
import subprocess
import sys
import threading

out = "/tmp"
control = "istiod.istio-system.svc:15012"
service = "istio.v1.auth.IstioCertificateService/CreateCertificate"


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout


def varint(number):
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number, value):
    """A field of a protobuf message: text or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def strings(message):
    """The length-delimited fields of a protobuf message."""
    at, found = 0, []

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte, at = message[at], at + 1
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while at < len(message):
        number()
        size = number()
        found.append(message[at:at + size].decode())
        at += size
    return found


def signing_request(identity):
    return run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{out}/key.pem",
               "-subj", "/O=", "-addext", f"subjectAltName=critical,URI:{identity}", stderr=subprocess.DEVNULL)


def ask(csr, token):
    """The status that the service gives (`0` is yes), its message, and the chain of certificates."""
    signer = field(1, b"CertSigner") + field(2, field(3, b""))
    body = field(1, csr) + field(3, 3600) + field(4, field(1, signer))
    fields = f"{out}/fields-{threading.get_ident()}"
    answer = run("curl", "-sS", "--http2", "--retry", "20", "--retry-all-errors", "--retry-delay", "1",
                 "--cacert", "/var/run/secrets/istio/root-cert.pem", "-D", fields,
                 "-H", "content-type: application/grpc", "-H", "te: trailers",
                 "-H", f"authorization: Bearer {token}", "-H", "clusterid: Kubernetes",
                 "--data-binary", "@-", f"https://{control}/{service}", input=struct.pack(">BI", 0, len(body)) + body)
    with open(fields) as file:
        fields = dict(line.strip().split(": ", 1) for line in file if ": " in line)
    return fields.get("grpc-status"), fields.get("grpc-message", ""), strings(answer[5:])


def read(path):
    with open(path) as file:
        return file.read().strip()
