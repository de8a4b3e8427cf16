# Asks hosts, one after the other.
import sys
import urllib.request

for host in sys.argv[1:]:
    try:
        print(urllib.request.urlopen("http://%s/" % host, timeout=20).read().decode())
    except Exception as error:
        print(error)
