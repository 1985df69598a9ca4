"""Clients that speak SOCKS5, with and without a password, to targets of both families.

`alice:secret` is a user of the proxy. A client that offers no password stays without a user.
"""

import itertools
import re
import socket
import sys

from clients import HERE, UPLOAD, client, expect_curl_failure, ftp_over_bind
from lab import namespace, process, ssh
from lab.failure import Failure
from lab.proxy import PASSWORD, USER
from lab.wait import DEADLINE_S
from rig import LOGIN, SOCKS5, bracketed

# The text before the proxy's address, and the user that the access line then names.
LOGINS = (("", ""), (f"{LOGIN}@", USER))


def curl(rig, *arguments):
    return rig.run("curl", "-sSf", *arguments)


@client("curl --socks5, addresses of both families", "curl", "curl")
def curl_socks5(rig):
    for host, port, address in rig.targets():
        # It looks a name up itself, here where it is told to, and asks for the address.
        lookup = f"{host}:{port}:{address.rpartition(':')[0]}"
        names = ("--resolve", lookup) if host == "localhost" else ()
        for login, user in LOGINS:
            rig.expect_page(curl(rig, *names, "--socks5", login + rig.proxy.address,
                                 rig.url(host, port)))
            rig.expect_socks5(user, target=address, address=address)


@client("curl --socks5-hostname, addresses and names, to 127.0.0.1 and [::1]", "curl", "curl")
def curl_socks5_hostname(rig):
    for proxy in (rig.proxy.address, rig.proxy6_address):
        for login, user in LOGINS:
            for host, port, address in rig.targets():
                rig.expect_page(curl(rig, "--socks5-hostname", login + proxy, rig.url(host, port)))
                rig.expect_socks5(user, target=f"{bracketed(host)}:{port}", address=address)


@client("curl --socks5-hostname, wrong passwords and none", "curl", "curl")
def curl_wrong_password(rig):
    for login in (f"{USER}:wrong", f"{USER}:", f"other:{PASSWORD}", USER):
        user = login.partition(":")[0]
        expect_curl_failure(rig, "--socks5-hostname", f"{login}@{rig.proxy.address}", rig.url())
        rig.expect_socks5(user, command="-", reply=1, reason="bad-password")


@client("curl, a target for users who have proved who they are", "curl", "curl")
def curl_auth(rig):
    url = rig.url(port=rig.login_port)
    rig.expect_page(curl(rig, "--socks5", f"{LOGIN}@{rig.proxy.address}", url))
    rig.expect_socks5(USER, target=f"127.0.0.1:{rig.login_port}")
    expect_curl_failure(rig, "--socks5", rig.proxy.address, url)
    rig.expect_socks5(reply=2, reason="denied")
    # In SOCKS4 a user is only a claim.
    expect_curl_failure(rig, "--socks4", f"{USER}@{rig.proxy.address}", url)
    rig.expect_session(proto=4, user=USER, reply=91, reason="denied")


@client("curl by SOCKS5 and by SOCKS4A, one port and one access log", "curl", "curl")
def curl_both(rig):
    url = rig.url("localhost")
    rig.expect_page(curl(rig, "--socks5-hostname", rig.proxy.address, url))
    rig.expect_page(curl(rig, "--socks4a", rig.proxy.address, url))
    by_socks5, by_socks4a = rig.proxy.sessions(2)
    fields = {"target": f"localhost:{rig.web_port}", "address": f"127.0.0.1:{rig.web_port}"}
    rig.compare(by_socks5, **SOCKS5, **fields)
    rig.compare(by_socks4a, proto="4a", reply=90, **fields)


@client("curl --socks4a, a name that leads to IPv6", "curl", "curl")
def curl_socks4a_ipv6(rig):
    url = rig.url("localhost", rig.web6_port)
    rig.expect_page(curl(rig, "--socks4a", rig.proxy.address, url))
    rig.expect_session(proto="4a", address=f"[::1]:{rig.web6_port}")


@client("ncat --proxy-type socks5, uploads, then FIN", "ncat", "ncat")
def ncat(rig):
    for login, user in (((), ""), (("--proxy-auth", LOGIN), USER)):
        for proxy in (rig.proxy.address, rig.proxy6_address):
            for host, port, address in rig.targets(rig.digest_port, rig.digest6_port):
                output = rig.run("ncat", "--proxy", proxy, "--proxy-type", "socks5", *login,
                                 "--proxy-dns", "remote", host, str(port), send=UPLOAD)
                rig.expect_digest(output, UPLOAD)
                rig.expect_socks5(user, target=f"{bracketed(host)}:{port}", address=address,
                                  up=len(UPLOAD), down=64)


@client("ncat --proxy-type socks5, FIN right after the request", "ncat", "ncat")
def ncat_half_close(rig):
    rig.expect_page(rig.run("ncat", "--proxy", rig.proxy.address, "--proxy-type", "socks5",
                            "--proxy-auth", LOGIN, "::1", str(rig.web6_port), send=rig.request()))
    rig.expect_socks5(USER, address=f"[::1]:{rig.web6_port}", up=len(rig.request()))


def socat_lacks_socks5():
    """Why socat cannot be tried: it speaks SOCKS5 from 1.8 on."""
    version = process.run(["socat", "-V"]).stdout.decode()
    number = re.search(r"socat version (\d+)\.(\d+)\S*", version)
    if tuple(map(int, number.groups())) < (1, 8):
        return f"{number.group()} has no SOCKS5"
    return None


@client("socat SOCKS5-CONNECT, uploads, then FIN", "socat", "socat", unless=socat_lacks_socks5)
def socat(rig):
    # It cannot name an address with colons, but the proxy finds one for a name.
    for host, port, address in rig.targets(rig.digest_port, rig.digest6_port):
        if host != "::1":
            output = rig.run("socat", "--experimental", "-t", str(DEADLINE_S), "-",
                             f"SOCKS5-CONNECT:127.0.0.1:{rig.proxy.port}:{host}:{port}",
                             send=UPLOAD)
            rig.expect_digest(output, UPLOAD)
            rig.expect_socks5(target=f"{host}:{port}", address=address, up=len(UPLOAD), down=64)


@client("nc -X 5, uploads, then FIN", "nc.openbsd", "netcat-openbsd")
def nc_openbsd(rig):
    for host, port, address in rig.targets(rig.digest_port, rig.digest6_port):
        output = rig.run("nc.openbsd", "-N", "-X", "5", "-x", rig.proxy.address, host, str(port),
                         send=UPLOAD)
        rig.expect_digest(output, UPLOAD)
        rig.expect_socks5(target=f"{bracketed(host)}:{port}", address=address, up=len(UPLOAD),
                          down=64)


@client("connect-proxy -5, addresses and names", "connect-proxy", "connect-proxy")
def connect_proxy(rig):
    # It knows no IPv6 address, but the proxy finds one for a name.
    for host, port, address in rig.targets():
        if host != "::1":
            output = rig.run("connect-proxy", "-5", "-R", "remote", "-S",
                             f"{USER}@{rig.proxy.address}", host, str(port), send=rig.request(),
                             SOCKS5_PASSWORD=PASSWORD)
            rig.expect_page(output)
            rig.expect_socks5(USER, target=f"{host}:{port}", address=address)


@client("proxychains4 by SOCKS5, to 127.0.0.1 and [::1]", "proxychains4", "proxychains4")
def proxychains(rig):
    configuration = rig.directory / "proxychains5.conf"
    for proxy in (f"127.0.0.1 {rig.proxy.port}", f"::1 {rig.proxy6_port}"):
        configuration.write_text("strict_chain\nproxy_dns\n[ProxyList]\n"
                                 f"socks5 {proxy} {USER} {PASSWORD}\n")
        for host, port, address in rig.targets(rig.digest_port, rig.digest6_port):
            # It looks into /etc/hosts itself, but takes upper case for another name.
            host = host.upper()
            output = rig.run("proxychains4", "-q", "-f", str(configuration), "nc.openbsd", "-N",
                             host, str(port), send=UPLOAD)
            rig.expect_digest(output, UPLOAD)
            rig.expect_socks5(USER, target=f"{bracketed(host)}:{port}", address=address,
                              up=len(UPLOAD))


def needs_root():
    """Why sshd cannot be tried: it changes its user, which only root of the whole machine can."""
    return None if namespace.has_all_users() else "needs root"


def ssh_session(rig, proxy_command):
    """A command on the far side, with much input and output, over both families."""
    directory = rig.directory / "ssh"
    directory.mkdir(exist_ok=True)
    with ssh.server(directory) as far:
        for host, port in far.items():
            command = ssh.client(directory, host, port, "-o", f"ProxyCommand={proxy_command}")
            if rig.run(*command, "cat", send=UPLOAD) != UPLOAD:
                raise Failure("what came back through ssh is not what was sent")
            yield f"{bracketed(host)}:{port}"


@client("OpenSSH, ProxyCommand nc -X 5", "sshd", "openssh-server", unless=needs_root)
def ssh_nc(rig):
    for address in ssh_session(rig, f"nc.openbsd -X 5 -x {rig.proxy.address} %h %p"):
        rig.expect_socks5(target=address, address=address)


@client("OpenSSH, ProxyCommand ncat with a password", "sshd", "openssh-server", unless=needs_root)
def ssh_ncat(rig):
    command = f"ncat --proxy {rig.proxy6_address} --proxy-type socks5 --proxy-auth {LOGIN} %h %p"
    for address in ssh_session(rig, command):
        rig.expect_socks5(USER, target=address, address=address)


def exchange(rig, connection):
    """Gets the page over a connection that a library made."""
    with connection:
        connection.sendall(rig.request())
        rig.expect_page(b"".join(iter(lambda: connection.recv(1 << 16), b"")))


def library(rig, connect):
    """A library that looks names up itself or leaves it to the proxy. `connect` takes the proxy's
    host and port, user and password, whether the proxy looks names up, and the target."""
    for proxy in (("127.0.0.1", rig.proxy.port), ("::1", rig.proxy6_port)):
        for login in (("", ""), (USER, PASSWORD)):
            for remote_names, (host, port, address) in itertools.product((0, 1), rig.targets()):
                if remote_names or host != "localhost":
                    exchange(rig, connect(*proxy, *login, bool(remote_names), (host, port)))
                    target = f"{bracketed(host)}:{port}"
                    rig.expect_socks5(login[0], target=target, address=address)
            exchange(rig, connect(*proxy, *login, False, ("localhost", rig.both_port)))
            rig.expect_own_lookup(login[0])


@client("PySocks by SOCKS5", sys.executable, "python3-socks", "socks")
def pysocks(rig):
    import socks

    def connect(host, port, user, password, remote_names, target):
        connection = socks.socksocket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        connection.settimeout(DEADLINE_S)
        connection.set_proxy(socks.SOCKS5, host, port, remote_names, user, password)
        connection.connect(target)
        return connection
    library(rig, connect)


@client("python-socks by SOCKS5", sys.executable, "python3-python-socks", "python_socks")
def python_socks(rig):
    from python_socks import ProxyType
    from python_socks.sync import Proxy

    def connect(host, port, user, password, remote_names, target):
        proxy = Proxy.create(ProxyType.SOCKS5, host, port, user, password, remote_names)
        return proxy.connect(*target, timeout=DEADLINE_S)
    library(rig, connect)


def run_java(rig, source, *arguments, send=b"", **properties):
    options = [f"-D{name.replace('_', '.')}={value}" for name, value in properties.items()]
    return rig.run("java", "-XX:TieredStopAtLevel=1", *options, str(HERE / source), *arguments,
                   send=send)


@client("Java by SOCKS5, a URL, with an Authenticator", "javac", "openjdk-17-jdk-headless")
def java_url(rig):
    def fetch(host, port):
        rig.expect_page(run_java(
            rig, "Fetch.java", rig.url(host, port), USER, PASSWORD, socksProxyHost="127.0.0.1",
            socksProxyPort=rig.proxy.port, http_nonProxyHosts=""))
    for host, port, address in rig.targets():
        if host != "localhost":
            fetch(host, port)
            rig.expect_socks5(USER, target=address, address=address)
    # For a URL it looks the name up itself.
    fetch("localhost", rig.both_port)
    rig.expect_own_lookup(USER)


@client("Java by SOCKS5, a Socket with a Proxy", "javac", "openjdk-17-jdk-headless")
def java_socket(rig):
    proxies = itertools.cycle((("127.0.0.1", rig.proxy.port), ("::1", rig.proxy6_port)))
    for proxy, (host, port, address) in zip(
            proxies, rig.targets(rig.digest_port, rig.digest6_port)):
        output = run_java(rig, "Upload.java", proxy[0], str(proxy[1]), host, str(port), USER,
                          PASSWORD, send=UPLOAD)
        rig.expect_digest(output, UPLOAD)
        rig.expect_socks5(USER, target=f"{bracketed(host)}:{port}", address=address,
                          up=len(UPLOAD), down=64)


# Its client knows IPv6 neither for a target nor for the proxy.
DANTE_WITHOUT_PASSWORD = """\
route {{
  from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = {port}
  proxyprotocol: socks_v5
  command: connect bind
  method: none
}}
"""


@client("dante-client with tnftp by SOCKS5: put and get over BIND", "socksify", "dante-client",
        "pyftpdlib")
def dante_ftp(rig):
    configuration = rig.directory / "dante.conf"
    configuration.write_text(DANTE_WITHOUT_PASSWORD.format(port=rig.proxy.port))
    ftp_over_bind(rig, {**SOCKS5, "user": ""}, SOCKS_CONF=str(configuration))


@client("dante-client with tnftp by SOCKS5, with a password", "socksify", "dante-client",
        "pyftpdlib")
def dante_ftp_password(rig):
    ftp_over_bind(rig, {**SOCKS5, "user": USER}, SOCKS5_SERVER=rig.proxy.address,
                  SOCKS_USERNAME=USER, SOCKS_PASSWORD=PASSWORD)
