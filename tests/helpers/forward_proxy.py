"""A proxy for HTTPS on loopback: opens tunnels (CONNECT) to one port, whatever host is named, or refuses them."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def forward_proxy(port: int, refusal: bytes = b"") -> Iterator[tuple[int, list[str]]]:
    """Yield the proxy's port and the request heads that it got; with `refusal`, a head of a response, it lets none through."""
    heads: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def one(near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := near.recv(65536)):
                head += data
            heads.append(head.decode("latin-1"))
            if refusal:
                near.sendall(refusal + b"\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=pump, args=(near, far), daemon=True).start()
                pump(far, near)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
