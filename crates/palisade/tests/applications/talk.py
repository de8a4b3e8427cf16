# Talks to the WebSocket server: text, much, a ping, and an end that both sides agree on.
import sys

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

for port in sys.argv[1:]:
    try:
        with connect(f"ws://server.apps:{port}/", max_size=None, open_timeout=20) as chat:
            chat.send("hello")
            print(chat.recv(20))
            much = bytes(range(256)) * 8192
            chat.send(much)
            print(chat.recv(20) == much, chat.ping().wait(20))
        print(chat.close_code)
    except InvalidStatus as refused:
        print(refused.response.status_code, refused.response.body.decode())
