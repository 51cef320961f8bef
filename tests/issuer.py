"""An OIDC issuer on a port of its own, which a test can take down, count, and make publish other keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from deploy.local.tokens import TokenSigner


class ServedIssuer:
    def __init__(self, state: Path, url: str) -> None:
        self.url = url
        self.signer = TokenSigner(state, url)
        self.token = self.signer.token
        self.keys: Mapping[str, object] = self.signer.key_set()
        self.down = False
        self.key_reads = 0

    def answer(self, path: str) -> bytes | None:
        if self.down:
            return None
        if path == "/jwks":
            self.key_reads += 1
            return json.dumps(self.keys).encode()
        return json.dumps(self.signer.discovery()).encode()


@contextmanager
def served_issuer(state: Path) -> Iterator[ServedIssuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.answer(self.path)
            self.send_response(503 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = ServedIssuer(state, f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()
