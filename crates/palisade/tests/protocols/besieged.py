# Answers in HTTP/1.1: without an end at /endless, at once elsewhere; bodies are waited for.
import asyncio


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"content-length: 9" in head:
                await reader.readexactly(9)
            if b" /endless " in head:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
                # More than a sidecar lets wait for its client.
                writer.write(b"x" * 512 * 1024)
                await asyncio.Event().wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
    except (OSError, EOFError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 8080, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
