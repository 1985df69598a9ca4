"""The console with real parts: web servers, the proxy and a browser.

Every column's text is compared with what its shell said and heard, to the byte.
"""

import threading
import time

import following
import origins
import parts
from shells import Scripted

LIST = "".join(f"file{number}.txt\n" for number in range(40)).encode()
FLOOD_BYTES = 10 << 20
HOSTILE = (
    b"</script><script>document.title='owned'</script></pre></td></tr></table>"
    b"<img src=x onerror=\"document.title='owned'\"><pre id=\"s1\">');document.title='owned'//\n"
    b"\\');document.title=\"owned\";(\\' \\u003c/script\\u003e \\x3c ${1} `\n"
    b"&lt;b&gt; &amp; &#60;script&#62; &NewLine; &#0; <!--<script> ]]> <![CDATA[\n"
    b"\r\n\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xc2\x85\xe2\x80\xae reversed\n"
    + bytes(range(256))
    + b"\n\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xf0\x9f\x98\n% 100% \xe4\xb8\xad\n"
)


def plain(name, answer=LIST):
    return Scripted(b"** " + name.encode() + b" **\n", [("ls", answer), ("exit", b"")])


def fill(browser, shells, proxy_port):
    for at, shell in enumerate(shells):
        browser.type(f"[name=h{at}]", "127.0.0.1")
        browser.type(f"[name=p{at}]", str(shell.port))
        choose = "document.querySelector(arguments[0]).value = arguments[1]"
        browser.run(choose, f"[name=f{at}]", f"t{at + 1}.txt")
    browser.type("[name=sh]", "127.0.0.1")
    browser.type("[name=sp]", str(proxy_port))


def panel(browser, url):
    browser.open(url)
    parts.wait_for("the panel", lambda: browser.run(
        "return document.readyState === 'complete' && !location.search && !!document.querySelector('[name=sp]')"))


def submit(browser, count):
    browser.click("#panel button")
    parts.wait_for("the columns", lambda: browser.run(
        "return document.querySelectorAll('.sessions pre').length") == count)


def wait_state(browser, at, state="closed"):
    parts.wait_for(f"column {at} to be {state}", lambda: browser.text(f"#e{at}") == state)


def check_columns(browser, shells):
    for at, shell in enumerate(shells):
        assert shell.failure is None, f"shell {at}: {shell.failure}"
        shown, expected = browser.text(f"#s{at}"), shell.transcript()
        same = next((i for i, (a, b) in enumerate(zip(shown, expected)) if a != b), len(expected))
        assert shown == expected, (
            f"column {at}, {len(shown)} of {len(expected)} characters, differs at {same}: "
            f"{shown[same:same + 80]!r}, expected {expected[same:same + 80]!r}"
        )


def five_columns_at_their_own_pace(browser, url, proxy_port, root):
    gate = threading.Event()
    shells = [plain("slow", [b"one\n", gate, b"two\n"])]
    shells += [plain(f"shell {at} \u4e2d\u6587 \u00fc") for at in range(1, 5)]
    write_scripts(root, shells)
    panel(browser, url)
    fill(browser, shells, proxy_port)
    submit(browser, 5)
    for at in range(1, 5):
        wait_state(browser, at)
    parts.wait_for("the first line", lambda: browser.text("#s0").endswith("one\n"))
    assert browser.text("#e0") == "", "the slow one has ended too early"
    gate.set()
    wait_state(browser, 0)
    check_columns(browser, shells)
    assert browser.text("#s0 b") == "ls\n"
    # The panel knows what was filled in: here by the query, and bare by what it kept.
    ports = [str(shell.port) for shell in shells]
    values = "return [...document.querySelectorAll(arguments[0])].map((field) => field.value)"
    assert browser.run(values, "[name^=p]") == ports
    panel(browser, url)
    assert browser.run(values, "[name^=p]") == ports
    assert browser.run(values, "[name^=f]") == [f"t{at}.txt" for at in range(1, 6)]


def a_hostile_shell_stays_in_its_column(browser, url, proxy_port, root):
    line = b"flood </script> '\"&amp;\\ \xf0\x9f\x98\x80\x1b[31m\n"
    flood = (line * (FLOOD_BYTES // len(line) + 1))[:FLOOD_BYTES]
    # The scripted shell's lines `% ` are prompts, so HOSTILE may not begin a line with one.
    hostile = HOSTILE.replace(b"\n% ", b"\n > % ")
    shells = [plain("one"), plain("hostile", [hostile, flood, b"\n"])]
    shells += [plain("one line", b"x" * 300_000 + b"\n"), plain("four"), plain("five")]
    write_scripts(root, shells)
    panel(browser, url)
    title = "return document.title"
    fill(browser, shells, proxy_port)
    submit(browser, 5)
    before = browser.run(title)
    started = time.monotonic()
    for at in [0, 2, 3, 4, 1]:
        wait_state(browser, at)
    print(f"    10 MiB shown in {time.monotonic() - started:.1f} s")
    check_columns(browser, shells)
    assert browser.run(title) == before
    outline = "return [...new Set([...document.querySelectorAll('.sessions *')].map((e) => e.tagName))].sort()"
    assert browser.run(outline) == sorted(["THEAD", "TBODY", "TR", "TH", "TD", "BDI", "SPAN", "PRE", "DIV", "B"])
    assert browser.run("return document.querySelectorAll('[id=s1]').length") == 1
    assert browser.run("return document.querySelectorAll('img, iframe, table table').length") == 0


def every_column_has_its_head_and_its_place(browser, url, proxy_port, root):
    shells = [plain(f"shell {at}") for at in range(5)]
    write_scripts(root, shells)
    panel(browser, url)
    fill(browser, shells, proxy_port)
    submit(browser, 5)
    for at in range(5):
        wait_state(browser, at)
    boxes = """return [...document.querySelectorAll(arguments[0])].map((element) => {
        const box = element.getBoundingClientRect();
        return { left: box.left, right: box.right, top: box.top, bottom: box.bottom };
    })"""
    for width, height, wide in [(1400, 800, True), (1000, 600, True), (390, 844, False), (320, 568, False)]:
        browser.look(width, height, dark=False)
        heads, columns = browser.run(boxes, ".sessions th"), browser.run(boxes, ".sessions pre")
        for head, column in zip(heads, columns):
            assert abs(head["left"] - column["left"]) < 1 and abs(head["right"] - column["right"]) < 1
            assert abs(head["bottom"] - column["top"]) < 1, (width, head, column)
            assert column["bottom"] - column["top"] >= 60 and 0 <= column["left"]
            assert column["right"] <= width, (width, column)
        for before, after in zip(columns, columns[1:]):
            assert before["right"] < after["left"] if wide else before["bottom"] < after["top"], width
        assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.look(1400, 820, dark=False)


def failures_are_told_in_their_columns(browser, url, proxy_port, root):
    shells = [plain("one"), plain("two")]
    write_scripts(root, shells)
    panel(browser, url)
    fill(browser, shells, proxy_port)
    browser.type("[name=p1]", "1")
    for at in range(2, 5):
        browser.type(f"[name=h{at}]", "")
        browser.type(f"[name=p{at}]", "")
    submit(browser, 2)
    wait_state(browser, 1, "failed")
    wait_state(browser, 0)
    check_columns(browser, shells[:1])
    assert "rejected" in browser.text("#s1 em")


def the_panel_remembers_everything_but_the_password(browser, url, proxy_port, root):
    shells = [plain("one")]
    write_scripts(root, shells)
    panel(browser, url)
    browser.run("for (const field of document.querySelectorAll('tbody input')) field.value = ''")
    fill(browser, shells, proxy_port)
    browser.run("document.querySelector('[name=sv]').value = '5'")
    browser.type("[name=su]", "bob")
    browser.type("[name=sw]", " s&cret")
    submit(browser, 1)
    parts.wait_for("the end", lambda: browser.text("#e0") in ("closed", "failed"))
    assert browser.run("return new URLSearchParams(location.search).get('sw')") == " s&cret"
    proxy = "return ['sv', 'su', 'sw'].map((name) => document.querySelector(`[name=${name}]`).value)"
    assert browser.run(proxy) == ["5", "bob", " s&cret"], "for Run again"
    panel(browser, url)
    assert browser.run(proxy) == ["5", "bob", ""]
    assert "cret" not in browser.run("return JSON.stringify({ ...localStorage })")
    browser.run("localStorage.clear()")


def everything_ends_when_the_browser_leaves(browser, url, proxy_port, root):
    gate = threading.Event()
    shells = [plain("silent", [gate])]
    write_scripts(root, shells)
    query = f"h0=127.0.0.1&p0={shells[0].port}&f0=t1.txt&sh=127.0.0.1&sp={proxy_port}"
    browser.open(f"{url}?{query}")
    program = root / parts.PROGRAM
    parts.wait_for("the command", lambda: "ls" in (browser.text("#s0") or ""))
    assert parts.processes(program)
    browser.open("about:blank")
    parts.wait_for("the console to end", lambda: not parts.processes(program))
    gate.set()


def write_scripts(root, shells):
    for at, shell in enumerate(shells):
        (root / "cgi-bin/test_case" / f"t{at + 1}.txt").write_text(shell.script())


CHECKS = [
    five_columns_at_their_own_pace,
    a_hostile_shell_stays_in_its_column,
    every_column_has_its_head_and_its_place,
    failures_are_told_in_their_columns,
    the_panel_remembers_everything_but_the_password,
    everything_ends_when_the_browser_leaves,
    *following.CHECKS,
    *origins.CHECKS,
]
