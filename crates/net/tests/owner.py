"""A program of a pod: `serve PORT NAME` answers each connection with its name and who connected;
`ask HOST PORT [FROM]` prints the answer it gets, or what went wrong."""
import socket
import sys

if sys.argv[1] == "serve":
    listener = socket.create_server(("0.0.0.0", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        connection, (address, _) = listener.accept()
        with connection:
            connection.sendall(f"{sys.argv[3]} {address}".encode())
else:
    host, port, source = sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    try:
        with socket.create_connection((host, port), 1, (source[0], 0) if source else None) as it:
            print(it.makefile().read())
    except OSError as error:
        print(type(error).__name__)
