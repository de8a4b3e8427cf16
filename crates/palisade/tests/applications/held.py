# Holds a gRPC stream, a WebSocket and a connection to Redis open, and tells how each of them ends.
import socket

import grpc
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

watch = grpc.insecure_channel("server.apps:50052").unary_stream("/grpc.health.v1.Health/Watch")(b"\n\4shop", timeout=60)
next(watch)
chat = connect("ws://server.apps:8765/")
chat.send("hello")
chat.recv(20)
redis = socket.create_connection(("server.apps", 6379), 60)
redis.sendall(b"PING\r\n")
redis.recv(100)
print("begun", flush=True)
try:
    for _ in watch:
        pass
except grpc.RpcError as error:
    print(error.code().name, error.details())
try:
    chat.recv(60)
except ConnectionClosed as closed:
    print("without a word of the server", closed.rcvd)
try:
    print(redis.recv(1))
except ConnectionResetError:
    print("reset")
