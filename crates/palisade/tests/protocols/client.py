# Calls the service: once, and in a conversation in which each side waits for the other.
import queue
import sys

sys.path.insert(0, sys.argv[1])
import grpc

channel = grpc.insecure_channel("server.speech:50051")
try:
    answer, call = channel.unary_unary("/demo.Echo/Greet").with_call(b"you", timeout=20)
    print(answer.decode(), dict(call.trailing_metadata()).get("x-server"))
    said = queue.Queue()
    talk = channel.stream_stream("/demo.Echo/Chat")(iter(said.get, None), timeout=20)
    for word in (b"one", b"two"):
        said.put(word)
        print(next(talk).decode())
    said.put(None)
    print(list(talk), talk.code().name)
    channel.unary_unary("/other.Service/Greet")(b"you", timeout=20)
except grpc.RpcError as error:
    print(error.code().name, error.details())
