"""Tells each caller where it comes from, on port 8080."""
from http.server import BaseHTTPRequestHandler, HTTPServer


class Told(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())


HTTPServer(("0.0.0.0", 8080), Told).serve_forever()
