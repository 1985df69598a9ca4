"""The clients: how each is told to use the proxy, and what its session must have been.

A client that went past the proxy leaves no access line and fails for that.
"""

import hashlib
import os
import sys
from pathlib import Path

from lab import DEADLINE_S, Failure, Process, free_port, wait_for

HERE = Path(__file__).resolve().parent
# Enough that an echo of FIN which overtakes bytes, or cuts them, shows.
UPLOAD = bytes(range(256)) * 8192
CLIENTS = []


def client(name, program, package, module=None):
    """Registers a client: the program it needs, and the package that has it."""
    def register(check):
        CLIENTS.append((name, program, package, module, check))
        return check
    return register


@client("curl --socks4, with a user", "curl", "curl")
def curl_socks4(lab):
    lab.expect_page(lab.run("curl", "-sSf", "--socks4", f"bob@{lab.proxy.address}", lab.url()))
    lab.expect_session(user="bob", target=f"127.0.0.1:{lab.web_port}")


@client("curl --socks4a, an address, with a user", "curl", "curl")
def curl_socks4a(lab):
    lab.expect_page(lab.run("curl", "-sSf", "--socks4a", f"bob@{lab.proxy.address}", lab.url()))
    lab.expect_session(user="bob", target=f"127.0.0.1:{lab.web_port}")


@client("curl --socks4a, a name", "curl", "curl")
def curl_name(lab):
    lab.expect_page(lab.run("curl", "-sSf", "--socks4a", lab.proxy.address, lab.url("localhost")))
    lab.expect_session(user="", target=f"localhost:{lab.web_port}")


@client("curl, refused by the rules", "curl", "curl")
def curl_refused(lab):
    try:
        lab.run("curl", "-sSf", "--socks4", lab.proxy.address, "http://192.0.2.1/")
    except Failure as failure:
        if "code 97" not in str(failure):
            raise
    else:
        raise Failure("curl got something from an address that no rule permits")
    lab.expect_session(reply=91, reason="no-rule", target="192.0.2.1:80")


@client("ncat, FIN right behind the request", "ncat", "ncat")
def ncat_half_close(lab):
    lab.expect_page(lab.run(
        "ncat", "--proxy", lab.proxy.address, "--proxy-type", "socks4", "--proxy-auth", "bob",
        "127.0.0.1", str(lab.web_port), send=lab.request()))
    lab.expect_session(user="bob", up=len(lab.request()))


@client("ncat, an upload, then FIN", "ncat", "ncat")
def ncat_upload(lab):
    output = lab.run("ncat", "--proxy", lab.proxy.address, "--proxy-type", "socks4",
                     "127.0.0.1", str(lab.digest_port), send=UPLOAD)
    lab.expect_digest(output, UPLOAD)
    lab.expect_session(up=len(UPLOAD), down=64)


@client("ncat, a name", "ncat", "ncat")
def ncat_name(lab):
    lab.expect_page(lab.run("ncat", "--proxy", lab.proxy.address, "--proxy-type", "socks4",
                            "--proxy-dns", "remote",
                            "localhost", str(lab.web_port), send=lab.request()))
    lab.expect_session(target=f"localhost:{lab.web_port}")


def socat(lab, kind, host):
    address = f"{kind}:127.0.0.1:{host}:{lab.digest_port},socksport={lab.proxy.port},socksuser=bob"
    # After its input has ended, socat waits as long as -t says for the other direction.
    lab.expect_digest(lab.run("socat", "-t", str(DEADLINE_S), "-", address, send=UPLOAD), UPLOAD)
    lab.expect_session(user="bob", target=f"{host}:{lab.digest_port}", up=len(UPLOAD), down=64)


@client("socat SOCKS4, an upload, then FIN", "socat", "socat")
def socat_socks4(lab):
    socat(lab, "SOCKS4", "127.0.0.1")


@client("socat SOCKS4A, an upload, then FIN", "socat", "socat")
def socat_socks4a(lab):
    socat(lab, "SOCKS4A", "localhost")


@client("nc -X 4, an upload, then FIN", "nc.openbsd", "netcat-openbsd")
def nc_openbsd(lab):
    output = lab.run("nc.openbsd", "-N", "-X", "4", "-x", lab.proxy.address,
                     "127.0.0.1", str(lab.digest_port), send=UPLOAD)
    lab.expect_digest(output, UPLOAD)
    lab.expect_session(up=len(UPLOAD), down=64)


@client("connect-proxy", "connect-proxy", "connect-proxy")
def connect_proxy(lab):
    lab.expect_page(lab.run("connect-proxy", "-4", "-S", f"bob@{lab.proxy.address}",
                            "127.0.0.1", str(lab.web_port), send=lab.request()))
    lab.expect_session(user="bob", target=f"127.0.0.1:{lab.web_port}")


@client("connect-proxy, a name", "connect-proxy", "connect-proxy")
def connect_proxy_name(lab):
    lab.expect_page(lab.run("connect-proxy", "-4", "-R", "remote", "-S", f"bob@{lab.proxy.address}",
                            "localhost", str(lab.web_port), send=lab.request()))
    lab.expect_session(user="bob", target=f"localhost:{lab.web_port}")


@client("proxychains4, a name", "proxychains4", "proxychains4")
def proxychains(lab):
    configuration = lab.directory / "proxychains.conf"
    configuration.write_text("strict_chain\nproxy_dns\n[ProxyList]\n"
                             f"socks4 127.0.0.1 {lab.proxy.port} bob\n")
    # It looks into /etc/hosts itself, but takes upper case for another name than lower case.
    output = lab.run("proxychains4", "-q", "-f", str(configuration), "nc.openbsd", "-N",
                     "LOCALHOST", str(lab.digest_port), send=UPLOAD)
    lab.expect_digest(output, UPLOAD)
    lab.expect_session(user="bob", target=f"LOCALHOST:{lab.digest_port}", up=len(UPLOAD))


class FtpServer:
    """An FTP server with one user whose home is a directory; its data port is any, and it
    connects (active mode) only to the address that the client came from."""

    def __init__(self, home):
        port = free_port()
        self.address = ("127.0.0.1", str(port))
        self._process = Process([sys.executable, "-u", "-m", "pyftpdlib", "-w", "-i", "127.0.0.1",
                                 "-p", str(port), "-d", home, "-u", "bob", "-P", "secret"])
        self._process.wait_line("starting FTP server")

    def stop(self):
        self._process.stop("KILL")


def hash_of(file):
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@client("dante-client with tnftp: put and get over BIND", "socksify", "dante-client", "pyftpdlib")
def dante_ftp(lab):
    size = lab.ftp_mib << 20
    home = lab.directory / "ftp"
    home.mkdir()
    with open(lab.directory / "big", "wb") as big:
        for _ in range(lab.ftp_mib):
            big.write(os.urandom(1 << 20))
    server = FtpServer(home)
    try:
        commands = "user bob secret\nbinary\nput big\nget big back\nquit\n"
        lab.run("socksify", "tnftp", "-n", "-A", *server.address, send=commands.encode(),
                deadline_s=DEADLINE_S + lab.ftp_mib, SOCKS_AUTOADD_LANROUTES="no",
                SOCKS4_SERVER=lab.proxy.address)
    finally:
        server.stop()
    hashes = {hash_of(file) for file in (lab.directory / "big", home / "big", lab.directory / "back")}
    if len(hashes) != 1:
        raise Failure("what was put and got back is not what was there before")
    put, get, control = sorted(lab.proxy.sessions(3), key=lambda s: (s["command"], int(s["id"])))
    lab.compare(put, command="bind", up=size, down=0)
    lab.compare(get, command="bind", up=0, down=size)
    lab.compare(control, command="connect", target=":".join(server.address))


@client("PySocks, an address and a name", sys.executable, "python3-socks", "socks")
def pysocks(lab):
    import socks
    for remote_names, host in ((False, "127.0.0.1"), (True, "localhost")):
        connection = socks.socksocket()
        connection.settimeout(DEADLINE_S)
        connection.set_proxy(socks.SOCKS4, "127.0.0.1", lab.proxy.port, rdns=remote_names,
                             username="bob")
        with connection:
            connection.connect((host, lab.web_port))
            connection.sendall(lab.request())
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        lab.expect_page(received)
        lab.expect_session(user="bob", target=f"{host}:{lab.web_port}")


@client("python-socks, a name", sys.executable, "python3-python-socks", "python_socks")
def python_socks(lab):
    from python_socks.sync import Proxy
    proxy = Proxy.from_url(f"socks4://bob:none@{lab.proxy.address}", rdns=True)
    with proxy.connect("localhost", lab.web_port, timeout=DEADLINE_S) as connection:
        connection.sendall(lab.request())
        lab.expect_page(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
    lab.expect_session(user="bob", target=f"localhost:{lab.web_port}")


@client("Java", "javac", "openjdk-17-jdk-headless")
def java(lab):
    lab.expect_page(lab.run(
        "java", "-XX:TieredStopAtLevel=1", "-DsocksProxyHost=127.0.0.1",
        f"-DsocksProxyPort={lab.proxy.port}", "-DsocksProxyVersion=4", "-Dhttp.nonProxyHosts=",
        "-Duser.name=bob", str(HERE / "Fetch.java"), lab.url()))
    lab.expect_session(user="bob", target=f"127.0.0.1:{lab.web_port}")


@client("Chromium", "chromium", "chromium")
def chromium(lab):
    if not lab.is_isolated:
        raise Failure("not outside a network namespace of its own: it looks for the Internet")
    page = lab.run(
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--user-data-dir={lab.directory}/chromium", f"--proxy-server=socks4://{lab.proxy.address}",
        "--proxy-bypass-list=<-loopback>", "--dump-dom", lab.url())
    if lab.page not in page:
        raise Failure(f"got {len(page)} bytes that are not the page: {page[:80]}")
    # It also asks for an icon, and tries other addresses, which no rule permits.
    target = f"127.0.0.1:{lab.web_port}"
    ended = " ".join(["access] id=\\d+ .* target=" + target, ".* reply=90 .* down=1\\d{6}"])
    wait_for("its session's access line", lambda: lab.proxy.wait_line(ended))


@client("HAProxy, towards its servers", "haproxy", "haproxy")
def haproxy(lab):
    port = free_port()
    configuration = lab.directory / "haproxy.cfg"
    configuration.write_text(
        f"defaults\n  mode tcp\n  timeout connect {DEADLINE_S}s\n  timeout client {DEADLINE_S}s\n"
        f"  timeout server {DEADLINE_S}s\n"
        f"listen l\n  bind 127.0.0.1:{port}\n"
        f"  server s 127.0.0.1:{lab.web_port} socks4 {lab.proxy.address}\n")
    process = Process(["haproxy", "-db", "-q", "-f", configuration])
    try:
        lab.expect_page(lab.run("curl", "-sSf", "--retry", "50", "--retry-connrefused",
                                "--retry-delay", "1", f"http://127.0.0.1:{port}/page.txt"))
        lab.expect_session(user="HAProxy", target=f"127.0.0.1:{lab.web_port}")
    finally:
        process.stop()
