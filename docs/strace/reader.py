"""Turns what strace wrote into lines that can be read and compared: descriptors by their part,
addresses and bytes by their meaning, nothing that differs from run to run."""

import re

import socks5

CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (.+)$")
ADDRESS = re.compile(r'\{sa_family=AF_INET, sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)\}')
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
EVENT = re.compile(r"\{events=([A-Z|]+), data=\{u32=(\d+), u64=\d+\}\}")
SHOWN_BYTES = 40
FIRST_CHOSEN_PORT = 1024


class Call:
    """One line of strace: name, arguments as text, result as text."""

    def __init__(self, name, arguments, result):
        self.name, self.arguments, self.result = name, arguments, result

    def first(self):
        """The first argument: the descriptor of most calls."""
        return self.arguments.split(",")[0]

    def returned(self):
        """The descriptor that it returned, if it did."""
        number = self.result.split(" ")[0]
        return None if number.startswith("-") or number == "?" else number


def parse(text):
    """The calls in a trace, in order, up to the signal that ended the program."""
    calls = []
    for line in text.splitlines():
        if "--- SIGTERM" in line:
            break
        match = CALL.match(line.removesuffix(" (DELAYED)"))
        if match:
            calls.append(Call(*match.groups()))
    return [call for call in calls if "EINTR" not in call.result]


class Reader:
    """Follows descriptors through a trace and says each call in words of the proxy."""

    def __init__(self, calls, ports):
        self.calls, self.ports = calls, ports
        self.parts = {"0": "stdin", "1": "stdout", "2": "log"}
        self.tokens = {}
        self.listens = 0

    def lines(self):
        """Each call as a line."""
        return [self.line(place, call) for place, call in enumerate(self.calls)]

    def line(self, place, call):
        self.learn(place, call)
        arguments, result = call.arguments, call.result.split(" (")[0]
        if call.name == "epoll_wait":
            arguments = re.sub(r", -?\d+$", ", T", arguments)
        returned = call.returned()
        opens = call.name in ("socket", "accept4", "epoll_create1", "inotify_init1", "open", "openat")
        if opens and returned:
            result = self.parts[returned]
        text = f"{call.name}({self.words(call, arguments)}) = {result}"
        if "<access line" in text:
            text = re.sub(r"\d+(?=\)| = )|(?<= = )\d+", "N", text)
        if call.name == "close":
            self.parts.pop(call.first(), None)
        return text

    def words(self, call, arguments):
        if call.name == "epoll_ctl":
            operation, number = re.match(r"\d+, EPOLL_CTL_(\w+), (\d+)", arguments).groups()
            events = re.search(r"events=([A-Z|]+)", arguments)
            text = f"epoll, {operation}, {self.parts.get(number, number)}"
            return text + (f", {short(events.group(1))}" if events else "")
        if call.name == "pipe2":
            return re.sub(r"\d+", lambda m: self.parts.get(m.group(), m.group()), arguments)
        arguments = re.sub(r"^\d+\b", lambda m: self.parts.get(m.group(), m.group()), arguments)
        if call.name == "splice":
            arguments = re.sub(r"(?<=NULL, )\d+\b(?=, NULL)",
                               lambda m: self.parts.get(m.group(), m.group()), arguments)
        arguments = arguments.replace("{fd=2, ", "{log, ")
        arguments = EVENT.sub(lambda m: f"{self.tokens.get(m[2], m[2])}: {short(m[1])}", arguments)
        arguments = ADDRESS.sub(self.address, arguments)
        said = self.socks5_of(call)
        arguments = STRING.sub(lambda m: self.bytes(decoded(m[1]), said), arguments)
        return re.sub(r"\b0x[0-9a-f]+\b", "POINTER", arguments)

    def address(self, match):
        return f"{decoded(match[2]).decode()}:{self.port(match[1])}"

    def port(self, number):
        """A port by its part; one that the kernel chose is only that."""
        return self.ports.get(number, number if int(number) < FIRST_CHOSEN_PORT else "PORT")

    def learn(self, place, call):
        """What a call says of the descriptor that it returns or watches."""
        returned = call.returned()
        if call.name == "epoll_ctl":
            number = re.match(r"\d+, \w+, (\d+)", call.arguments).group(1)
            token = re.search(r"u32=(\d+)", call.arguments)
            if token:
                self.tokens[token.group(1)] = self.parts.get(number, number)
        elif call.name == "socketpair":
            for number in re.search(r"\[(\d+), (\d+)\]", call.arguments).groups():
                self.parts[number] = "signals"
        elif call.name == "pipe2" and returned:
            ends = re.search(r"\[(\d+), (\d+)\]", call.arguments).groups()
            self.parts[ends[0]], self.parts[ends[1]] = "pipe-out", "pipe-in"
        elif not returned:
            return
        elif call.name == "socket":
            self.parts[returned] = self.part_of_socket(place, returned, call)
        elif call.name == "accept4":
            self.parts[returned] = "peer" if self.parts[call.first()] == "bind" else "client"
        elif call.name in ("epoll_create1", "inotify_init1"):
            self.parts[returned] = call.name.split("_")[0]
        elif call.name in ("open", "openat"):
            name = decoded(STRING.search(call.arguments).group(1))
            self.parts[returned] = "log" if name == b"/proc/self/fd/2" else "file"
        elif call.name == "fcntl" and "DUPFD" in call.arguments:
            self.parts[returned] = self.parts.get(call.first(), "?")

    def part_of_socket(self, place, number, call):
        """What a socket is for: what is done with it next tells."""
        for later in self.calls[place + 1:]:
            if later.first() != number:
                continue
            if later.name == "listen":
                self.listens += 1
                return "listener" if self.listens == 1 else "bind"
            if later.name == "connect":
                port = ADDRESS.search(later.arguments).group(1)
                part = {"DNS": "dns", "113": "identd"}.get(self.ports.get(port, port))
                return part or ("facing" if "SOCK_DGRAM" in call.arguments else "target")
            if later.name == "close":
                break
        return "socket"

    def socks5_of(self, call):
        """What reads the SOCKS5 in the bytes of a call: nothing, but for those of the client. A
        query to a name server begins with any two bytes."""
        if self.parts.get(call.first()) != "client":
            return lambda data, port: ([], data)
        return socks5.from_proxy if call.name == "sendto" else socks5.from_client

    def bytes(self, data, said):
        """Bytes by what they mean; `said` reads the SOCKS5 in them."""
        if len(data) == 8 and data[0] == 0 and 90 <= data[1] <= 93:
            port = "PORT" if data[2:4] != b"\0\0" else "0"
            return f"<reply {data[1]} {'.'.join(map(str, data[4:]))}:{port}>"
        if data[:1] == b"\4" and data[1:2] in (b"\1", b"\2"):
            return self.request(data, said)
        texts, left = said(data, self.port)
        if texts:
            return " ".join(texts + ([self.bytes(left, said)] if left else []))
        if b" access] " in data:
            words = dict(re.findall(rb'(\S+?)=("[^"]*"|\S+)', data))
            return f"<access line: reply={words[b'reply'].decode()} reason={words[b'reason'].decode()}>"
        if len(data) > 12 and data[2:4] in (b"\1\0", b"\1\x20", b"\x81\x80", b"\x85\x80"):
            end = data.index(b"\0", 12)
            kind = {1: "A", 28: "AAAA"}.get(int.from_bytes(data[end + 1:end + 3], "big"), "other")
            return f"<DNS {'question' if data[2] < 0x80 else 'answer'}: {kind}>"
        text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:x}" for b in data)
        return f'"{text[:SHOWN_BYTES]}"' + ("..." if len(text) > SHOWN_BYTES else "")

    def request(self, data, said):
        port, host = str(int.from_bytes(data[2:4], "big")), ".".join(map(str, data[4:8]))
        # Random bytes of the kernel's may begin like a request and be none.
        user, _, behind = data[8:].partition(b"\0")
        if host.startswith("0.0.0.") and host != "0.0.0.0":
            name, _, behind = behind.partition(b"\0")
            host = name.decode(errors="replace")
        command = {1: "CONNECT", 2: "BIND"}[data[1]]
        asked = f"{command} {host}:{self.port(port)}" + (f", user {user.decode(errors='replace')}" if user else "")
        return f"<request: {asked}>" + (f" {self.bytes(behind, said)}" if behind else "")


def decoded(text):
    """The bytes of a string as `strace -xx` writes it."""
    return bytes.fromhex(text.replace("\\x", ""))


def short(events):
    """EPOLLIN|EPOLLOUT as IN|OUT."""
    return events.replace("EPOLL", "")
