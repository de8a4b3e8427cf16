# A mail server, which speaks first.
import socketserver


class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mail.apps ready")
        for line in self.rfile:
            command = line.strip().upper()
            if command == b"DATA":
                self.say("354 go on")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
            self.say("221 bye" if command == b"QUIT" else "250 fine")
            if command == b"QUIT":
                return

    def say(self, words):
        self.wfile.write(words.encode() + b"\r\n")


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("0.0.0.0", 2525), Mail).serve_forever()
