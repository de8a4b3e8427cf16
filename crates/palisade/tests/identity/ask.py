
from concurrent.futures import ThreadPoolExecutor

identity, token, times = sys.argv[1:]
csr = signing_request(identity)
with ThreadPoolExecutor(8) as pool:
    for status, message, _ in pool.map(lambda _: ask(csr, token.strip()), range(int(times))):
        print(status, message)
