"""The fixtures of scepflow's testing kit, and a web service to POST to."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest_plugins = ["scepflow.testing"]


@dataclass
class Receiver:
    """A web service on loopback: what it answers, and the requests it got."""

    url: str = ""
    status: int = 204
    answer: bytes = b""
    headers: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)


@contextmanager
def listening(tls=None):
    """Start a receiver; ``tls`` is a server-side SSLContext."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, dict(self.headers), body))
            self.send_response(receiver.status)
            for name, value in {**receiver.headers, "Content-Length": str(len(receiver.answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver():
    with listening() as found:
        yield found
