"""Browsers without a window. They also ask for an icon, and for hosts that no rule permits.

They look no name up themselves: even an address in a URL may reach the proxy as text.
"""

import contextlib
import re
import tempfile
from pathlib import Path

from clients import client
from lab.failure import Failure
from rig import PAGE_BYTES, SOCKS5, bracketed

# Firefox goes past the proxy for loopback unless it is told not to.
FIREFOX_SETTINGS = """\
user_pref("network.proxy.type", 1);
user_pref("network.proxy.socks", "{host}");
user_pref("network.proxy.socks_port", {port});
user_pref("network.proxy.socks_version", 5);
user_pref("network.proxy.socks_remote_dns", true);
user_pref("network.proxy.allow_hijacking_localhost", true);
user_pref("network.proxy.no_proxies_on", "");
"""


@contextlib.contextmanager
def page_session(rig, target, address, **fields):
    """An access line that is written from now on says that the page has gone to the client."""
    before = len(rig.proxy.lines)
    yield
    pattern = (" access\\] .* proto={proto} user=\"\" command=connect target={target} "
               "address={address} .* reply={reply} reason=done .* down=1\\d{{6}} ")
    assert PAGE_BYTES == 1 << 20, "the pattern has the page's size"
    rig.proxy.wait_line(pattern.format(target=re.escape(target), address=re.escape(address),
                                       **fields), before)


def expect_isolated(rig):
    if not rig.is_isolated:
        raise Failure("not outside a network namespace of its own: it looks for the Internet")


def chromium(rig, proxy, url):
    """Chromium shows the page through the proxy."""
    expect_isolated(rig)
    # It fetches nothing again that it has seen; and what it started may still write at its end.
    with tempfile.TemporaryDirectory(dir=rig.directory, ignore_cleanup_errors=True) as profile:
        page = rig.run(
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            f"--user-data-dir={profile}", f"--proxy-server={proxy}",
            "--proxy-bypass-list=<-loopback>", "--dump-dom", url)
    if rig.page not in page:
        raise Failure(f"got {len(page)} bytes that are not the page: {page[:80]}")


@client("Chromium", "chromium", "chromium")
def chromium_socks4(rig):
    target = f"127.0.0.1:{rig.web_port}"
    with page_session(rig, target, target, proto=4, reply=90):
        chromium(rig, f"socks4://{rig.proxy.address}", rig.url())


@client("Chromium by SOCKS5", "chromium", "chromium")
def chromium_socks5(rig):
    for host, port, address in rig.targets():
        with page_session(rig, f"{bracketed(host)}:{port}", address, **SOCKS5):
            chromium(rig, f"socks5://{rig.proxy6_address}", rig.url(host, port))


def firefox(rig, host, port, url):
    """Firefox makes a picture of the page through the proxy."""
    expect_isolated(rig)
    with tempfile.TemporaryDirectory(dir=rig.directory, ignore_cleanup_errors=True) as name:
        profile, picture = Path(name), Path(name) / "picture.png"
        (profile / "user.js").write_text(FIREFOX_SETTINGS.format(host=host, port=port))
        rig.run("firefox-esr", "--headless", "--no-remote", "--profile", name,
                "--screenshot", str(picture), url, HOME=name)
        if not picture.exists():
            raise Failure("no picture of the page")


@client("Firefox by SOCKS5", "firefox-esr", "firefox-esr")
def firefox_socks5(rig):
    for host, port, address in rig.targets():
        with page_session(rig, f"{bracketed(host)}:{port}", address, **SOCKS5):
            firefox(rig, "::1", rig.proxy6_port, rig.url(host, port, "page.html"))
