# How many requests the pod has served.
import urllib.request

print(urllib.request.urlopen("http://127.0.0.1:8080/served", timeout=20).read().decode())
