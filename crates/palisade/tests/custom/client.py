# Greets with each word, and prints what comes back.
import sys

sys.path.insert(0, sys.argv[1])
import grpc

greet = grpc.insecure_channel("speech.shop:50051").unary_unary("/demo.Echo/Greet")
for word in sys.argv[2:]:
    try:
        print(greet(word.encode(), timeout=20).decode())
    except grpc.RpcError as error:
        print(error.code().name, error.details())
