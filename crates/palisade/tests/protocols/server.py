# A gRPC service of raw bytes: a call, and a conversation. Messages are not decoded, so that no generated code is needed.
from concurrent.futures import ThreadPoolExecutor

import grpc


def greet(request, context):
    context.set_trailing_metadata([("x-server", "python")])
    return b"hello " + request


def chat(requests, context):
    for request in requests:
        yield b"you said " + request


handlers = {
    "Greet": grpc.unary_unary_rpc_method_handler(greet),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("demo.Echo", handlers)])
server.add_insecure_port("0.0.0.0:50051")
server.start()
server.wait_for_termination()
