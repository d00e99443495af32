"""All platforms of a benchmark in one process: each request is answered at once and in full, ``clear``, signed in the response.

Checks nothing of the request: what is measured is the engine. Imports the standard library and the simulator's own signing.
Run as ``python -m bench.answering_server KEYS.json``; prints its port. ``KEYS.json``: platform id -> secret key ``whsk_…``.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fallow.local.processes import LOOPBACK
from fallow.local.simulator_signing import answers_body, new_message_id, sign


def pong(ping: dict[str, str]) -> bytes:
    """Return the body that answers a ping."""
    return json.dumps({"type": "fallow.pong.v1", "challenge": ping["challenge"]}).encode()


def answers(secrets: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    """Return the HTTP side of the platforms whose keys are given; the path names the platform."""

    class Answers(BaseHTTPRequestHandler):
        """Answers every request."""

        protocol_version = "HTTP/1.1"
        # Head and body leave in one segment each; without this the second waits for the first one's acknowledgement.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = (
                pong(asked)
                if asked["type"] == "fallow.ping.v1"
                else answers_body([(item["reference"], "clear") for item in asked["items"]])
            )
            self.send_response(200)
            for name, value in sign(secrets[self.path.strip("/")], new_message_id(), body).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Answers


def main() -> int:
    """Serve until ended."""
    server = ThreadingHTTPServer((LOOPBACK, 0), answers(json.loads(Path(sys.argv[1]).read_text())))
    print(server.server_address[1], flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
