# Says who it is and who calls, on two ports; answers 503 while it is told to.
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

served = 0
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global served
        if self.path == "/served":
            body = str(served).encode()
        else:
            with lock:
                served += 1
            certificate = self.headers.get("x-forwarded-client-cert", "")
            caller = certificate.rpartition("URI=")[2]
            body = ("%s %s" % (socket.gethostname(), caller)).encode()
        self.send_response(503 if os.path.exists("/tmp/failing") and self.path == "/" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# Goes on until its connections are drained, or it is killed.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = ThreadingHTTPServer(("", 8081), Handler)
threading.Thread(target=other.serve_forever, daemon=True).start()
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
