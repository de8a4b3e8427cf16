# An application that answers with the fields it got, and passes what it is asked at /relay/… on to another, with the
# fields of the trace, as applications in a mesh do.
import json
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSED = ("traceparent", "tracestate", "b3", "x-request-id")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fields = {name.lower(): value for name, value in self.headers.items()}
        if self.path == "/broken":
            return self.answer(500, b"{}")
        if not self.path.startswith("/relay/"):
            return self.answer(200, json.dumps(fields).encode())
        url = "http://back.shop/" + self.path.removeprefix("/relay/")
        passed = {
            name: value
            for name, value in fields.items()
            if name in PASSED or name.startswith("x-b3-")
        }
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=passed)) as answer:
                self.answer(200, answer.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
