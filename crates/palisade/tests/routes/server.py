# Answers `/slow` after two seconds, `/flaky` with 503 but every third time, and anything else at once.
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = {}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with lock:
            asked[self.path] = asked.get(self.path, 0) + 1
            count = asked[self.path]
        if self.path.startswith("/slow"):
            time.sleep(2)
        flaky = self.path.startswith("/flaky") and count % 3 != 0
        body = b"%d" % count
        self.send_response(503 if flaky else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = serve

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("", 8080), Handler).serve_forever()
