# Calls a workload over TLS, with the certificate and key given or with none, and says what came of it.
import socket
import ssl
import sys

context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["istio-http/1.1", "istio", "http/1.1"])
if len(sys.argv) > 2:
    with open("/tmp/presented.pem", "w") as file:
        file.write(sys.argv[2])
    context.load_cert_chain("/tmp/presented.pem")
try:
    with socket.create_connection((sys.argv[1], 8080), 10) as tcp, context.wrap_socket(tcp) as tls:
        tls.sendall(b"GET /api/orders HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n\r\n")
        print(tls.recv(4096).split(b" ")[1].decode())
except (ssl.SSLError, ConnectionError, IndexError) as error:
    print(f"refused: {error}")
