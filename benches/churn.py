#!/usr/bin/env python3
"""Memory of two sidecars while connections and requests come and go for ten minutes.

    PALISADE_BIN=target/release/palisade benches/churn.py PAIR_BENCH [--seconds 600] [--proto http1|h2]

PAIR_BENCH is the folder of the sidecar pair bench, with palisade.sh of this folder among its suts and its tools built.
Each round opens and closes connections, keeps some, is denied, and holds 500 requests at once; at its end both sidecars
are at rest and their anonymous memory is printed. Exits with 1 if the last fifth of the rounds takes more than the
second fifth by 5 % and 512 kB: what is only warmed up has grown before.
"""

import argparse
import statistics
import sys
import time


def rounds(bench, pair, proto):
    """Runs one round; how many requests it made."""
    if proto == "h2":
        return sum(bench.h2load(pair, 3, connections, streams)["requests"] for connections, streams in ((32, 1), (4, 32)))
    made = bench.wrk(pair, 3, 64, close=True)["requests"] + bench.wrk(pair, 2, 64)["requests"]
    made += bench.wrk(pair, 2, 16, path=bench.DENIED)["requests"]
    return made + bench.hold(pair, 500)["done"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair_bench")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--proto", choices=("http1", "h2"), default="http1")
    parser.add_argument("--sut", default="palisade", help="or envoy, to compare")
    options = parser.parse_args()
    sys.path.insert(0, options.pair_bench)
    import bench

    pair = bench.Pair({"name": "churn", "sut": options.sut, "proto": options.proto})
    samples, requests = [], 0
    try:
        pair.start()
        begin = time.monotonic()
        while time.monotonic() - begin < options.seconds:
            requests += rounds(bench, pair, options.proto)
            time.sleep(1)
            memory = pair.memory()
            samples.append((memory["client_anon_kb"], memory["server_anon_kb"]))
            print(f"{time.monotonic() - begin:5.0f} s  {requests:8} requests  client {samples[-1][0]} kB  server {samples[-1][1]} kB", flush=True)
    finally:
        pair.stop()
    fifth = max(1, len(samples) // 5)
    grown = False
    for name, column in zip(("client", "server"), zip(*samples)):
        before, after = statistics.mean(column[fifth : 2 * fifth] or column), statistics.mean(column[-fifth:])
        grown |= after > before * 1.05 + 512
        print(f"{name}: {before:.0f} kB in the second fifth, {after:.0f} kB in the last ({(after / before - 1) * 100:+.1f} %)")
    sys.exit(1 if grown else 0)


if __name__ == "__main__":
    main()
