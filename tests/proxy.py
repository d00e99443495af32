"""A TCP proxy between the engine and a database that can be slow, break off, or keep the connection and pass nothing on."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK = 65_536
_TICK = 0.05


@dataclass
class Proxy:
    """Passes bytes between clients on its own port and a server on another, both on 127.0.0.1.

    Attributes:
        server_port: where the server listens.
        port: where the proxy listens.
        delay: seconds by which everything that the server says is late.
        silent: whether bytes are taken and not passed on, in both directions.
        dropped: how often something was not passed on, or broken off.
    """

    server_port: int
    port: int = 0
    delay: float = 0.0
    silent: bool = False
    dropped: int = 0
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    _closing: bool = False

    def break_off(self) -> None:
        """Reset every connection, as a firewall that lost its state does."""
        for pair in self._pairs:
            for end in pair:
                self.dropped += 1
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RD)
                    end.close()
        self._pairs.clear()

    def fall_silent(self) -> None:
        """Keep every connection open and pass nothing on; new ones are accepted, and get no answer either."""
        self.silent = True

    def heal(self) -> None:
        """Pass everything on again, on new connections; the old ones are over on both sides."""
        self.silent, self.delay = False, 0.0
        self.break_off()

    def serve(self, listener: socket.socket) -> None:
        """Take connections until :attr:`_closing`."""
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                client, _ = listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.server_port), timeout=5)
        except OSError:
            client.close()
            return
        self._pairs.append((client, server))
        for source, target, delayed in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pump, args=(source, target, delayed), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, delayed: bool) -> None:
        source.settimeout(_TICK)
        while not self._closing:
            try:
                taken = source.recv(_CHUNK)
            except TimeoutError:
                continue
            except OSError:
                break
            if self.silent:
                self.dropped += 1
                if not taken:
                    return  # nor does the other side hear that this one is gone
                continue
            if not taken:
                break
            if delayed and self.delay:
                time.sleep(self.delay)
            with contextlib.suppress(OSError):
                target.sendall(taken)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.close()


@contextlib.contextmanager
def proxying(server_port: int) -> Iterator[Proxy]:
    """Run a proxy before a server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_TICK)
        proxy = Proxy(server_port, listener.getsockname()[1])
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy._closing = True
            proxy.break_off()
            thread.join(10)
