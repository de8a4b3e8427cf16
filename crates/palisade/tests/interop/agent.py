
# What Istio's agent does before its Envoy starts.
status, message, chain = ask(signing_request(sys.argv[1]), read("/var/run/secrets/tokens/istio-token"))
assert status == "0", message
with open(f"{out}/chain.pem", "w") as file:
    file.write("".join(chain[:-1]))
with open(f"{out}/root.pem", "w") as file:
    file.write(chain[-1])
