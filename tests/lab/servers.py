"""Servers in this program: a thread per connection."""

import functools
import http.server
import socket
import socketserver
import threading


class Threaded(socketserver.ThreadingTCPServer):
    """Serves in the background from the start on, on any free port of 127.0.0.1 unless told
    otherwise (also by an IPv6 address); to the end of this program, or of a `with` block."""

    allow_reuse_address = True
    # Connections that a client keeps open hold up nobody's end.
    daemon_threads = True

    def __init__(self, handler, host="127.0.0.1", port=0):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """A client that fails tells so itself, and one that leaves early is no news."""


class _Page(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nobody reads it."""


def files(directory, host="127.0.0.1", port=0):
    """A web server for the files of a directory."""
    return Threaded(functools.partial(_Page, directory=directory), host, port)
