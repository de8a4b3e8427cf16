# A collector of traces: OTLP over gRPC (4317) and over HTTP (4318), decoded with OpenTelemetry's own messages. On 8080
# it tells all that it got, one span a line.
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp

spans = []


def attributes(pairs):
    return {pair.key: pair.value.string_value for pair in pairs}


def take(request, transport, fields):
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                spans.append(
                    {
                        "transport": transport,
                        "token": fields.get("x-token"),
                        "service": attributes(resource.resource.attributes).get("service.name"),
                        "scope": scope.scope.name,
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "state": span.trace_state,
                        "name": span.name,
                        "kind": span.kind,
                        "status": span.status.code,
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "tags": attributes(span.attributes),
                    }
                )
    return otlp.ExportTraceServiceResponse()


def export(request, context):
    return take(request, "grpc", dict(context.invocation_metadata()))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        fits = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        if fits:
            fields = {name.lower(): value for name, value in self.headers.items()}
            answer = take(otlp.ExportTraceServiceRequest.FromString(body), "http", fields)
            self.answer(200, answer.SerializeToString())
        else:
            self.answer(404, b"")

    def do_GET(self):
        self.answer(200, "\n".join(json.dumps(span) for span in list(spans)).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


for port in (4318, 8080):
    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
method = grpc.unary_unary_rpc_method_handler(
    export,
    request_deserializer=otlp.ExportTraceServiceRequest.FromString,
    response_serializer=otlp.ExportTraceServiceResponse.SerializeToString,
)
service = "opentelemetry.proto.collector.trace.v1.TraceService"
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Export": method})])
server.add_insecure_port("0.0.0.0:4317")
server.start()
server.wait_for_termination()
