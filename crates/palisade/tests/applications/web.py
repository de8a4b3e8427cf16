# A server of HTTP/1.1 whose library judges what the sidecar sends. Some paths have ways of their own; all others
# tell what was asked.
import json
import socketserver
import sys
import threading

import h11


class Peer(socketserver.BaseRequestHandler):
    def handle(self):
        self.http = h11.Connection(h11.SERVER)
        while isinstance(request := self.next(), h11.Request):
            {b"/hints": self.hints, b"/large": self.large, b"/echo": self.echo}.get(request.target, self.tell)(request)
            if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
                return
            self.http.start_next_cycle()

    def next(self):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(self.request.recv(65536))
        return event

    def send(self, *events):
        self.request.sendall(b"".join(self.http.send(event) for event in events))

    def body(self):
        size = 0
        if self.http.they_are_waiting_for_100_continue:
            self.send(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := self.next(), h11.Data):
            size += len(event.data)
        return size, event

    def tell(self, request):
        size, end = self.body()
        fields = {name.decode(): value.decode() for name, value in request.headers}
        trailers = [name.decode() for name, _ in end.headers]
        said = json.dumps({"method": request.method.decode(), "target": request.target.decode(), "body": size,
                           "fields": fields, "trailers": trailers}).encode()
        head = h11.Response(status_code=200, headers=[("content-length", str(len(said)))])
        body = [] if request.method == b"HEAD" else [h11.Data(said)]
        self.send(head, *body, h11.EndOfMessage())

    def hints(self, request):
        self.send(h11.InformationalResponse(status_code=103, headers=[("link", "</style.css>; rel=preload")]))
        self.tell(request)

    def large(self, request):
        """Answers before it has read the body."""
        self.send(h11.Response(status_code=413, headers=[("content-length", "9")]), h11.Data(b"too large"),
                  h11.EndOfMessage())
        self.body()

    def echo(self, request):
        """Says each piece as it comes, then trailers."""
        self.send(h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")]))
        while isinstance(event := self.next(), h11.Data):
            self.send(h11.Data(event.data))
        self.send(h11.EndOfMessage(headers=[("x-sum", "42")]))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


for port in map(int, sys.argv[1:]):
    threading.Thread(target=Server(("0.0.0.0", port), Peer).serve_forever).start()
