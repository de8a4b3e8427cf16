import collections
import http.client
import json
import sys
import threading
import time

host, port, path, connections, pause = sys.argv[1:6]
lock, over = threading.Lock(), threading.Event()
statuses, lost, bodies, slowest = collections.Counter(), [], {}, 0.0


def client():
    global slowest
    connection = None
    while not over.is_set():
        begin = time.monotonic()
        try:
            if connection is None:
                connection = http.client.HTTPConnection(host, int(port), timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            with lock:
                statuses[answer.status] += 1
                said = body[:200].decode(errors="replace")
                bodies.setdefault(answer.status, "%s at %.3f" % (said, time.time()))
        except Exception as error:
            connection = None
            with lock:
                lost.append("%s at %.3f" % (repr(error), time.time()))
        with lock:
            slowest = max(slowest, time.monotonic() - begin)
        over.wait(float(pause))


def tell():
    with lock:
        print(json.dumps({"statuses": statuses, "lost": lost[:20], "lost_count": len(lost), "bodies": bodies,
                          "slowest_ms": int(slowest * 1000)}), flush=True)


clients = [threading.Thread(target=client) for _ in range(int(connections))]
for each in clients:
    each.start()
# Ends with its input.
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.wait(0.2):
    tell()
for each in clients:
    each.join()
tell()
