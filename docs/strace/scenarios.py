"""Every kind of session: the actions of client and target, and notes on the calls of the proxy.

A note belongs to the first call, after that of the note before it, that matches its pattern.
"""

import socket
import struct
import threading
import time

from lab import ports
from lab.proxy import PASSWORD, USER
from lab.socks import (
    BIND, CONNECT, GRANTED, GRANTED_5, NO_METHOD_NEEDED, PASSWORD_METHOD, REFUSED, expect_bytes,
    expect_reply, expect_reply_5, greeting, login, request, request_5)
from lab.wait import DEADLINE_S

FLOW_BYTES = 2 << 20
# The kinds of DNS questions.
A, AAAA = b"\0\1", b"\0\x1c"
SCENARIOS = []


def scenario(title, text, notes, **options):
    """Registers a kind of session."""
    def register(act):
        SCENARIOS.append((title, " ".join(text.split()), notes, options, act))
        return act
    return register


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Stage:
    """Client and target, and the proxy between them; each step waits until the proxy is at rest."""

    def __init__(self, proxy, target, names, at_rest):
        self.proxy, self.target, self.names, self.at_rest = proxy, target, names, at_rest
        self.target_port = target.getsockname()[1]

    def dial(self, data, fin=False):
        """Connects, and sends data before the proxy accepts: in one segment, maybe with a FIN."""
        client = socket.create_connection(("127.0.0.1", self.proxy.port), DEADLINE_S)
        client.send(data, socket.MSG_MORE if fin else 0)
        if fin:
            client.shutdown(socket.SHUT_WR)
        self.at_rest()
        return client

    def send(self, connection, data):
        connection.sendall(data)
        self.at_rest()

    def accept(self):
        self.target.settimeout(DEADLINE_S)
        connection = self.target.accept()[0]
        connection.settimeout(DEADLINE_S)
        return connection

    def answer(self, kind):
        """Lets the name server answer the question of this kind."""
        self.names.answer(kind)
        self.at_rest()

    def close(self, connection):
        connection.close()
        self.at_rest()

    def expect(self, connection, data):
        expect_bytes(connection, data)

    def granted(self, client):
        return expect_reply(client, GRANTED)

    def refused(self, client):
        expect_reply(client, REFUSED)

    def exchange(self, client, target):
        """Five bytes each way; then client and target close."""
        self.send(client, b"hello")
        self.expect(target, b"hello")
        self.send(target, b"world")
        self.expect(client, b"world")
        self.close(client)
        self.close(target)

    def relaying(self):
        client = self.dial(request(CONNECT, self.target_port))
        target = self.accept()
        self.granted(client)
        self.at_rest()
        return client, target


@scenario("CONNECT", """A client connects, asks for the target, sends 5 bytes, gets 5 back and closes; then the target
closes.""", [
    (r"epoll_wait.*listener: IN", "A client is waiting."),
    (r"accept4.*= client", "Flags, and options inherited from the listener, save all calls that set options."),
    (r"epoll_ctl.*client", "Registered to be read, edge-triggered. There is room to send; it is awaited only when "
     "there is none."),
    (r"recvfrom.*request", "Most clients send their request at once, so it is read without waiting for an event. A short "
     "count means that there are no more bytes."),
    (r"SO_OOBINLINE", "Urgent bytes keep their place in the stream. TCP_NODELAY is not set before a second piece is "
     "sent."),
    (r"connect\(target", "Non-blocking: the loop continues."),
    (r"accept4.*EAGAIN", "No other client: only EAGAIN clears the listener's readiness bit."),
    (r"epoll_wait.*target.*OUT", "Writable without an error: connected. No call asks for the error."),
    (r"getsockname\(target", "The reply has the local address of the connection."),
    (r"sendto\(client, <reply 90", "Granted only now that the target has accepted."),
    (r"recvfrom\(client.*hello", "One read, one write: the buffer goes back to the pool at once."),
    (r"recvfrom\(target.*world", "The other direction is the same code."),
    (r"recvfrom\(client, \"\".* = 0", "The client's FIN."),
    (r"shutdown\(target", "Passed on, since no byte is held in its direction; the other direction stays open."),
    (r"recvfrom\(target, \"\".* = 0", "The target's FIN: both directions have ended, so no shutdown is needed."),
    (r"close\(client", "Closing also removes a socket from the epoll set."),
    (r"access line", "The session's only log line; the lines of a turn are written together. Standard error is a pipe "
     "here, opened again without blocking."),
])
def connect(stage):
    client = stage.dial(request(CONNECT, stage.target_port, user=b"bob"))
    target = stage.accept()
    stage.granted(client)
    stage.exchange(client, target)


@scenario("CONNECT by SOCKS5, step by step", """The same session by SOCKS5 without a password. The client waits for
each answer before it goes on, so this is one wait, one read and one write more than by SOCKS4.""", [
    (r"recvfrom\(client, <greeting", "The greeting: the first byte, 5, tells the protocol."),
    (r"sendto\(client, <method", "No method is needed where no users are named by `--users`."),
    (r"epoll_wait.*client: IN", "The client has the answer and goes on."),
    (r"recvfrom\(client, <request", "The request, read into the same small buffer. From here on as by SOCKS4."),
    (r"sendto\(client, <reply 0", "The reply: the same at another length."),
])
def socks5(stage):
    client = stage.dial(greeting(NO_METHOD_NEEDED))
    stage.expect(client, bytes([5, NO_METHOD_NEEDED]))
    stage.send(client, request_5(CONNECT, stage.target_port))
    target = stage.accept()
    expect_reply_5(client, GRANTED_5)
    stage.exchange(client, target)


@scenario("CONNECT by SOCKS5, pipelined", """The same with a password: greeting, password and request in one segment,
as a client may send them that does not wait for the answers. One write more than by SOCKS4.""", [
    (r"recvfrom\(client, <greeting", "All three messages in one read; the password is checked at once."),
    (r"sendto\(client, <method", "Both answers in one write."),
], has_users=True)
def socks5_pipelined(stage):
    client = stage.dial(greeting(PASSWORD_METHOD) + login(USER, PASSWORD)
                        + request_5(CONNECT, stage.target_port))
    target = stage.accept()
    stage.expect(client, bytes([5, PASSWORD_METHOD, 1, 0]))
    expect_reply_5(client, GRANTED_5)
    stage.exchange(client, target)


@scenario("CONNECT by name, from the hosts file", """SOCKS4A for `localhost`. The hosts file is in memory: it costs
no call, and the rest is as with an address.""", [
    (r"recvfrom.*request: CONNECT localhost", "A name, and the rules may permit it."),
    (r"connect\(target, 127.0.0.1", "The address has been evaluated; it is never looked up again."),
])
def hosts(stage):
    client = stage.dial(request(CONNECT, stage.target_port, "0.0.0.1", name=b"localhost"))
    target = stage.accept()
    stage.granted(client)
    stage.close(client)
    stage.close(target)


@scenario("CONNECT by name, from the DNS", """SOCKS4A for a name that a name server knows, with an IPv4 address and none
of IPv6: seven calls for each of two queries, and the loop never waits for an answer.""", [
    (r"socket.*= dns", "A new socket for each query: its port is hard to guess."),
    (r"connect\(dns", "Connected: the kernel drops datagrams from other addresses."),
    (r"socket.*= dns", "Both families are asked for at once."),
    (r"recvfrom\(dns", "An answer; its id, question and flags are checked. It has no address."),
    (r"close\(dns", "The query's socket is closed."),
    (r"recvfrom\(dns", "The answer with the address."),
    (r"connect\(target", "The first address that the rules permit."),
])
def dns(stage):
    client = stage.dial(request(CONNECT, stage.target_port, "0.0.0.1", name=b"www.example.com"))
    stage.answer(AAAA)
    stage.answer(A)
    target = stage.accept()
    stage.granted(client)
    stage.close(client)
    stage.close(target)


@scenario("BIND", """The client expects a connection from 127.0.0.1, as for active FTP. The peer connects, sends 5
bytes and closes.""", [
    (r"recvfrom.*request: BIND", "The request names the expected peer."),
    (r"connect\(facing", "Finds the local address that routes to the peer; nothing is sent."),
    (r"listen\(bind", "Listening comes before the first reply."),
    (r"sendto\(client, <reply 90", "First reply: the address for the peer to connect to."),
    (r"accept4\(bind.*= peer", "A peer has connected. Only one is accepted."),
    (r"close\(bind", "The listener is closed at once."),
    (r"sendto\(client, <reply 90", "Second reply: the peer's address. From here on it is a relay like any other."),
    (r"recvfrom\(peer", "Bytes, as in any relay."),
])
def bind(stage):
    client = stage.dial(request(BIND, 21))
    port = stage.granted(client)
    peer = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    stage.at_rest()
    stage.granted(client)
    stage.send(peer, b"hello")
    stage.expect(client, b"hello")
    stage.close(peer)
    stage.close(client)


@scenario("Refused by the rules", "No rule permits the target.", [
    (r"recvfrom.*CONNECT", "The request. No socket is opened for it."),
    (r"sendto\(client, <reply 91", "The reply ..."),
    (r"shutdown\(client", "... and FIN. Closing with unread bytes would send a reset, which can overtake the reply."),
    (r"recvfrom\(client, \"\".* = 0", "The client has the reply and closes."),
])
def refused(stage):
    client = stage.dial(request(CONNECT, 80, "192.0.2.1"))
    stage.refused(client)
    stage.close(client)


@scenario("Refused by the target", "No socket listens at the target's port.", [
    (r"connect\(target", "Non-blocking, even if the answer comes at once."),
    (r"epoll_wait.*ERR", "The event reports a failure ..."),
    (r"getsockopt\(target.*SO_ERROR", "... so one call takes the error."),
    (r"sendto\(client, <reply 91", "As for every refusal: reply, FIN, and waiting for the client's FIN."),
])
def refused_by_target(stage):
    with ports.reserved() as closed:
        client = stage.dial(request(CONNECT, closed))
        stage.refused(client)
        stage.close(client)


@scenario("Half-close", """`printf ... | ncat`: the client's FIN comes right after its request. The answer comes
later and arrives complete.""", [
    (r"recvfrom\(client", "The request and the bytes after it in one read."),
    (r"sendto\(target", "The bytes after the request are the first that the target gets."),
    (r"shutdown\(target", "Then the client's FIN. The direction towards the client stays open."),
    (r"recvfrom\(target.*answer", "The answer, later."),
    (r"sendto\(client, \"the answer", "It is delivered although the client has closed its side."),
    (r"recvfrom\(target, \"\".* = 0", "The target's FIN ends the session."),
])
def half_close(stage):
    client = stage.dial(request(CONNECT, stage.target_port) + b"a question", fin=True)
    target = stage.accept()
    stage.granted(client)
    stage.expect(target, b"a question")
    stage.send(target, b"the answer")
    stage.close(target)
    stage.expect(client, b"the answer")
    stage.close(client)


@scenario("Reset by the target", """The target sends 5 bytes and is reset: they arrive, then the reset is passed
on.""", [
    (r"epoll_wait.*target.*(ERR|HUP)", "A reset. The bytes before it have been delivered already."),
    (r"recvfrom\(target.*ECONNRESET", "The kernel reports the error once."),
    (r"TIOCOUTQ", "Whether the client has acknowledged everything. If not, this is polled: a reset would discard the "
     "rest."),
    (r"SO_LINGER.*l_onoff=1", "Closing with this option set sends a reset: an incomplete transfer must not look "
     "complete."),
])
def reset_by_target(stage):
    client, target = stage.relaying()
    stage.send(target, b"hello")
    stage.expect(client, b"hello")
    reset(target)
    stage.at_rest()
    client.close()


@scenario("Reset by the client, while connected", "The same in the other direction.", [
    (r"recvfrom\(client.*ECONNRESET", "The client's reset."),
    (r"SO_LINGER.*l_onoff=1", "Passed on."),
])
def reset_by_client(stage):
    client, target = stage.relaying()
    reset(client)
    stage.at_rest()
    target.close()


@scenario("Idle", """An open session is idle for two seconds after the grant: no call at all. The first call below is
the one that the proxy was waiting in; it returns when the client sends again.""", [
    (r"epoll_wait.*client: IN", "Two seconds later, without a call in between."),
    (r"SO_KEEPALIVE", "Not a short session, so the kernel has to detect if the target vanishes. Set once per session, "
     "and not for those that end within a second."),
], is_long=True, from_line=r"sendto\(client, <reply 90")
def idle(stage):
    client, target = stage.relaying()
    time.sleep(2)
    stage.send(client, b"hello")
    stage.expect(target, b"hello")
    stage.close(client)
    stage.close(target)


@scenario("A sustained flow", """The target sends 2 MiB. The calls depend on when the kernel delivers the bytes, so
this is a sample, with repetitions left out.""", [
    (r"recvfrom\(target", "A read that fills the whole buffer: the flow is sustained."),
    (r"pipe2", "From here on through a pipe, without copying; the pipe is lent, and kept for the next flow."),
    (r"splice\(target", "Pages of the target's socket into the pipe ..."),
    (r"splice\(pipe-out", "... and out of it before more are read, so EAGAIN always means that the target has no "
     "more."),
], is_sample=True, from_line=r"sendto\(client, <reply 90")
def flow(stage):
    client, target = stage.relaying()
    sending = threading.Thread(target=target.sendall, args=(bytes(FLOW_BYTES),))
    sending.start()
    left = FLOW_BYTES
    while left:
        left -= len(client.recv(left))
    sending.join()
    stage.at_rest()
    stage.close(client)
    stage.close(target)
