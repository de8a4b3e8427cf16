# An external authorizer of gRPC, without generated code: it refuses what says `evil` anywhere, in the body too, and
# tells the workload that it has judged the rest.
from concurrent.futures import ThreadPoolExecutor

import grpc


def message(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def number(number, value):
    more = [value & 0x7F | 0x80, value >> 7] if value > 0x7F else [value]
    return bytes([number << 3, *more])


def field(name, value):
    return message(2, message(1, message(1, name) + message(2, value)))


NO = message(1, number(1, 16)) + message(
    2, message(1, number(1, 401)) + field(b"x-why", b"evil") + message(3, b"not you")
)
YES = message(1, b"") + message(3, field(b"x-judged", b"yes"))


def check(request, context):
    return NO if b"evil" in request else YES


handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server = grpc.server(ThreadPoolExecutor(4))
name = "envoy.service.auth.v3.Authorization"
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
server.add_insecure_port("0.0.0.0:50051")
server.start()
server.wait_for_termination()
