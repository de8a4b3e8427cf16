# A client of HTTP/1.1 whose library judges what the sidecar sends: prints what it got, a line for each way to ask.
import json
import socket
import sys

import h11


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("server.apps", port), 20)
        self.http = h11.Connection(h11.CLIENT)

    def send(self, *events):
        self.socket.sendall(b"".join(self.http.send(event) for event in events))

    def next(self):
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(self.socket.recv(65536))
        return event

    def ask(self, method, target, *fields):
        self.send(h11.Request(method=method, target=target, headers=[("host", "server.apps"), *fields]))

    def read(self):
        """Status, body and trailers of a response, after the statuses of interim ones."""
        interim, body = [], b""
        while isinstance(event := self.next(), h11.InformationalResponse):
            interim.append(event.status_code)
        status = event.status_code
        while isinstance(event := self.next(), h11.Data):
            body += event.data
        return interim, status, body, dict(event.headers)

    def get(self, target, method="GET"):
        self.ask(method, target)
        self.send(h11.EndOfMessage())
        return self.read()


def interim(client):
    statuses, status, _, _ = client.get("/hints")
    return statuses, status


def waits(client):
    """The body is sent when it is asked for, which is the nearest sidecar's part."""
    client.ask("POST", "/", ("content-length", "4"), ("expect", "100-continue"))
    asked = client.next().status_code
    client.send(h11.Data(b"body"), h11.EndOfMessage())
    _, status, body, _ = client.read()
    told = json.loads(body) if status == 200 else {"fields": {}}
    return asked, status, told.get("body"), told["fields"].get("expect")


def early(client):
    """The answer comes though most of the body does not."""
    client.ask("POST", "/large", ("content-length", "10000000"))
    client.send(h11.Data(b"x" * 1000))
    _, status, body, _ = client.read()
    return status, body.decode()


def both_ways(client):
    """Each side waits for the other, and both end with trailers."""
    client.ask("POST", "/echo", ("transfer-encoding", "chunked"))
    client.send(h11.Data(b"first"))
    status = client.next().status_code
    if status != 200:
        return status
    heard = [client.next().data.decode()]
    for word in (b"second", b"third"):
        client.send(h11.Data(word))
        heard.append(client.next().data.decode())
    client.send(h11.EndOfMessage(headers=[("x-client", "1")]))
    return status, heard, [(name.decode(), value.decode()) for name, value in client.next().headers]


def trailers(client):
    """Trailers of a request that no policy has seen."""
    client.ask("POST", "/", ("transfer-encoding", "chunked"))
    client.send(h11.Data(b"x" * 100), h11.EndOfMessage(headers=[("x-client", "1")]))
    _, status, body, _ = client.read()
    told = json.loads(body) if status == 200 else {}
    return status, told.get("body"), told.get("trailers")


def half_closed(client):
    client.ask("GET", "/")
    client.send(h11.EndOfMessage())
    client.socket.shutdown(socket.SHUT_WR)
    return client.read()[1]


def pipelined(client):
    paths = ["/1", "/2", "/3"]
    client.socket.sendall(b"".join(b"GET %s HTTP/1.1\r\nhost: server.apps\r\n\r\n" % path.encode() for path in paths))
    answers = []
    for path in paths:
        client.http.send(h11.Request(method="GET", target=path, headers=[("host", "server.apps")]))
        client.http.send(h11.EndOfMessage())
        _, status, body, _ = client.read()
        answers.append(json.loads(body)["target"] if status == 200 else status)
        client.http.start_next_cycle()
    return answers


def without_body(client):
    """A length that nothing follows, and the connection goes on."""
    _, status, body, _ = client.get("/", "HEAD")
    client.http.start_next_cycle()
    return status, len(body), client.get("/")[1]


def absolute(client):
    _, status, body, _ = client.get("http://server.apps/absolute?x=1")
    told = json.loads(body) if status == 200 else {}
    return status, told.get("target"), told.get("fields", {}).get("host")


def tunnel(client):
    client.ask("CONNECT", "server.apps:80")
    client.send(h11.EndOfMessage())
    return client.next().status_code


for way in (interim, waits, early, both_ways, trailers, half_closed, pipelined, without_body, absolute, tunnel):
    print(way.__name__, way(Client(int(sys.argv[1]))))
