# A WebSocket server that repeats what it hears.
import sys
import threading

from websockets.sync.server import serve


def echo(chat):
    for message in chat:
        chat.send(message)


for port in map(int, sys.argv[1:]):
    threading.Thread(target=serve(echo, "0.0.0.0", port, max_size=None).serve_forever).start()
