# The token given, as it was an hour ago with a minute to live: `expire.py KEY TOKEN`.
import base64
import json
import subprocess
import sys

key, token = sys.argv[1:]
header, payload, _ = token.strip().split(".")
claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
claims.update(iat=claims["iat"] - 3600, nbf=claims["nbf"] - 3600, exp=claims["iat"] - 3540)


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


signed = f"{header}.{encode(json.dumps(claims).encode())}"
der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key, "-keyform", "DER"], input=signed.encode(),
                     check=True, stdout=subprocess.PIPE).stdout
# DER of ECDSA-Sig-Value (RFC 3279, 2.2.3) to the fixed form of RFC 7518, 3.4.
size = der[3]
first, second = der[4:4 + size], der[6 + size:]
print(f"{signed}.{encode(b''.join(number[-32:].rjust(32, bytes(1)) for number in (first, second)))}")
