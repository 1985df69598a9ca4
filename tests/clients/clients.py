"""The clients: how each is told to use the proxy, and what its session must have been.

A client that went past the proxy leaves no access line and fails for that.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from lab import ports
from lab.failure import Failure
from lab.process import Process
from lab.wait import DEADLINE_S

HERE = Path(__file__).resolve().parent
# Enough that an echo of FIN which overtakes bytes, or cuts them, shows.
UPLOAD = bytes(range(256)) * 8192
# How curl says that the proxy has not granted its request.
CURL_PROXY_FAILED = 97
CLIENTS = []


def client(name, program, package, module=None, unless=None):
    """Registers a client: the program it needs, and the package that has it; a function may tell
    why what is installed cannot be tried."""
    def register(check):
        CLIENTS.append((name, program, package, module, unless, check))
        return check
    return register


@client("curl --socks4, with a user", "curl", "curl")
def curl_socks4(rig):
    rig.expect_page(rig.run("curl", "-sSf", "--socks4", f"bob@{rig.proxy.address}", rig.url()))
    rig.expect_session(user="bob", target=f"127.0.0.1:{rig.web_port}")


@client("curl --socks4a, an address, with a user", "curl", "curl")
def curl_socks4a(rig):
    rig.expect_page(rig.run("curl", "-sSf", "--socks4a", f"bob@{rig.proxy.address}", rig.url()))
    rig.expect_session(user="bob", target=f"127.0.0.1:{rig.web_port}")


@client("curl --socks4a, a name", "curl", "curl")
def curl_name(rig):
    rig.expect_page(rig.run("curl", "-sSf", "--socks4a", rig.proxy.address, rig.url("localhost")))
    rig.expect_session(user="", target=f"localhost:{rig.web_port}")


def expect_curl_failure(rig, *arguments):
    """curl says that the proxy does not grant its request."""
    try:
        rig.run("curl", "-sSf", *arguments)
    except Failure as failure:
        if f"code {CURL_PROXY_FAILED}" not in str(failure):
            raise
    else:
        raise Failure("curl got what the proxy must not grant")


@client("curl, refused by the rules", "curl", "curl")
def curl_refused(rig):
    expect_curl_failure(rig, "--socks4", rig.proxy.address, "http://192.0.2.1/")
    rig.expect_session(reply=91, reason="no-rule", target="192.0.2.1:80")


@client("ncat, FIN right behind the request", "ncat", "ncat")
def ncat_half_close(rig):
    rig.expect_page(rig.run(
        "ncat", "--proxy", rig.proxy.address, "--proxy-type", "socks4", "--proxy-auth", "bob",
        "127.0.0.1", str(rig.web_port), send=rig.request()))
    rig.expect_session(user="bob", up=len(rig.request()))


@client("ncat, an upload, then FIN", "ncat", "ncat")
def ncat_upload(rig):
    output = rig.run("ncat", "--proxy", rig.proxy.address, "--proxy-type", "socks4",
                     "127.0.0.1", str(rig.digest_port), send=UPLOAD)
    rig.expect_digest(output, UPLOAD)
    rig.expect_session(up=len(UPLOAD), down=64)


@client("ncat, a name", "ncat", "ncat")
def ncat_name(rig):
    rig.expect_page(rig.run("ncat", "--proxy", rig.proxy.address, "--proxy-type", "socks4",
                            "--proxy-dns", "remote",
                            "localhost", str(rig.web_port), send=rig.request()))
    rig.expect_session(target=f"localhost:{rig.web_port}")


def socat(rig, kind, host):
    address = f"{kind}:127.0.0.1:{host}:{rig.digest_port},socksport={rig.proxy.port},socksuser=bob"
    # After its input has ended, socat waits as long as -t says for the other direction.
    rig.expect_digest(rig.run("socat", "-t", str(DEADLINE_S), "-", address, send=UPLOAD), UPLOAD)
    rig.expect_session(user="bob", target=f"{host}:{rig.digest_port}", up=len(UPLOAD), down=64)


@client("socat SOCKS4, an upload, then FIN", "socat", "socat")
def socat_socks4(rig):
    socat(rig, "SOCKS4", "127.0.0.1")


@client("socat SOCKS4A, an upload, then FIN", "socat", "socat")
def socat_socks4a(rig):
    socat(rig, "SOCKS4A", "localhost")


@client("nc -X 4, an upload, then FIN", "nc.openbsd", "netcat-openbsd")
def nc_openbsd(rig):
    output = rig.run("nc.openbsd", "-N", "-X", "4", "-x", rig.proxy.address,
                     "127.0.0.1", str(rig.digest_port), send=UPLOAD)
    rig.expect_digest(output, UPLOAD)
    rig.expect_session(up=len(UPLOAD), down=64)


@client("connect-proxy", "connect-proxy", "connect-proxy")
def connect_proxy(rig):
    rig.expect_page(rig.run("connect-proxy", "-4", "-S", f"bob@{rig.proxy.address}",
                            "127.0.0.1", str(rig.web_port), send=rig.request()))
    rig.expect_session(user="bob", target=f"127.0.0.1:{rig.web_port}")


@client("connect-proxy, a name", "connect-proxy", "connect-proxy")
def connect_proxy_name(rig):
    rig.expect_page(rig.run("connect-proxy", "-4", "-R", "remote", "-S", f"bob@{rig.proxy.address}",
                            "localhost", str(rig.web_port), send=rig.request()))
    rig.expect_session(user="bob", target=f"localhost:{rig.web_port}")


@client("proxychains4, a name", "proxychains4", "proxychains4")
def proxychains(rig):
    configuration = rig.directory / "proxychains.conf"
    configuration.write_text("strict_chain\nproxy_dns\n[ProxyList]\n"
                             f"socks4 127.0.0.1 {rig.proxy.port} bob\n")
    # It looks into /etc/hosts itself, but takes upper case for another name than lower case.
    output = rig.run("proxychains4", "-q", "-f", str(configuration), "nc.openbsd", "-N",
                     "LOCALHOST", str(rig.digest_port), send=UPLOAD)
    rig.expect_digest(output, UPLOAD)
    rig.expect_session(user="bob", target=f"LOCALHOST:{rig.digest_port}", up=len(UPLOAD))


class FtpServer(Process):
    """An FTP server with one user whose home is a directory; its data port is any, and it
    connects (active mode) only to the address that the client came from."""

    def __init__(self, home):
        super().__init__([sys.executable, "-u", "-m", "pyftpdlib", "-w", "-i", "127.0.0.1",
                          "-p", "0", "-d", home, "-u", "bob", "-P", "secret"],
                         stop_signal="KILL")
        started = self.wait_line(r"starting FTP server on 127\.0\.0\.1:(\d+)")
        self.address = ("127.0.0.1", started.group(1))


def hash_of(file):
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def ftp_over_bind(rig, fields, **environment):
    """tnftp in active mode under Dante's client, which BINDs for each file: puts a large one and
    gets it back. `fields` are expected in all access lines; `environment` is for the client."""
    size = rig.ftp_mib << 20
    with tempfile.TemporaryDirectory(dir=rig.directory) as name:
        here, home = Path(name), Path(name) / "ftp"
        home.mkdir()
        with open(here / "big", "wb") as big:
            for _ in range(rig.ftp_mib):
                big.write(os.urandom(1 << 20))
        with FtpServer(home) as server:
            commands = f"user bob secret\nlcd {here}\nbinary\nput big\nget big back\nquit\n"
            rig.run("socksify", "tnftp", "-n", "-A", *server.address, send=commands.encode(),
                    deadline_s=DEADLINE_S + rig.ftp_mib, SOCKS_AUTOADD_LANROUTES="no",
                    **environment)
        hashes = {hash_of(file) for file in (here / "big", home / "big", here / "back")}
    if len(hashes) != 1:
        raise Failure("what was put and got back is not what was there before")
    put, get, control = sorted(rig.proxy.sessions(3), key=lambda s: (s["command"], int(s["id"])))
    rig.compare(put, command="bind", up=size, down=0, **fields)
    rig.compare(get, command="bind", up=0, down=size, **fields)
    rig.compare(control, command="connect", target=":".join(server.address), **fields)


@client("dante-client with tnftp: put and get over BIND", "socksify", "dante-client", "pyftpdlib")
def dante_ftp(rig):
    ftp_over_bind(rig, {"proto": "4"}, SOCKS4_SERVER=rig.proxy.address)


@client("PySocks, an address and a name", sys.executable, "python3-socks", "socks")
def pysocks(rig):
    import socks
    for remote_names, host in ((False, "127.0.0.1"), (True, "localhost")):
        connection = socks.socksocket()
        connection.settimeout(DEADLINE_S)
        connection.set_proxy(socks.SOCKS4, "127.0.0.1", rig.proxy.port, rdns=remote_names,
                             username="bob")
        with connection:
            connection.connect((host, rig.web_port))
            connection.sendall(rig.request())
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        rig.expect_page(received)
        rig.expect_session(user="bob", target=f"{host}:{rig.web_port}")


@client("python-socks, a name", sys.executable, "python3-python-socks", "python_socks")
def python_socks(rig):
    from python_socks.sync import Proxy
    proxy = Proxy.from_url(f"socks4://bob:none@{rig.proxy.address}", rdns=True)
    with proxy.connect("localhost", rig.web_port, timeout=DEADLINE_S) as connection:
        connection.sendall(rig.request())
        rig.expect_page(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
    rig.expect_session(user="bob", target=f"localhost:{rig.web_port}")


@client("Java", "javac", "openjdk-17-jdk-headless")
def java(rig):
    rig.expect_page(rig.run(
        "java", "-XX:TieredStopAtLevel=1", "-DsocksProxyHost=127.0.0.1",
        f"-DsocksProxyPort={rig.proxy.port}", "-DsocksProxyVersion=4", "-Dhttp.nonProxyHosts=",
        "-Duser.name=bob", str(HERE / "Fetch.java"), rig.url()))
    rig.expect_session(user="bob", target=f"127.0.0.1:{rig.web_port}")


@client("HAProxy, towards its servers", "haproxy", "haproxy")
def haproxy(rig):
    with ports.reserved() as port:
        configuration = rig.directory / "haproxy.cfg"
        configuration.write_text(
            f"defaults\n  mode tcp\n  timeout connect {DEADLINE_S}s\n"
            f"  timeout client {DEADLINE_S}s\n  timeout server {DEADLINE_S}s\n"
            f"listen l\n  bind 127.0.0.1:{port}\n"
            f"  server s 127.0.0.1:{rig.web_port} socks4 {rig.proxy.address}\n")
        with ports.server(["haproxy", "-db", "-q", "-f", configuration], port):
            rig.expect_page(rig.run("curl", "-sSf", f"http://127.0.0.1:{port}/page.txt"))
            rig.expect_session(user="HAProxy", target=f"127.0.0.1:{rig.web_port}")
