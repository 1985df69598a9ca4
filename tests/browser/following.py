"""Columns follow their output, readers are left alone, and what must be seen is to be seen."""

import threading

import parts
from shells import Scripted

LINE_S = 0.01
# What a column looks like: how far its end is below its lower edge, where it is scrolled to, and
# whether its last characters are inside of it.
PLACE = """const pre = document.querySelector(arguments[0]), box = pre.getBoundingClientRect();
    const texts = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT), range = document.createRange();
    let last = null;
    while (texts.nextNode()) last = texts.currentNode;
    if (last) range.selectNode(last);
    const end = range.getBoundingClientRect();
    return { below: pre.scrollHeight - pre.scrollTop - pre.clientHeight, top: pre.scrollTop,
             overflows: pre.scrollHeight > pre.clientHeight + 100,
             shown: end.height > 0 && end.bottom <= box.bottom + 1 && end.bottom > box.top };"""


def lines(count, first=1):
    """Numbered lines, one at a time."""
    return [part for number in range(first, first + count) for part in (b"%d\n" % number, LINE_S)]


def open_sessions(browser, url, proxy_port, root, shells, hosts=()):
    for at, shell in enumerate(shells):
        (root / f"cgi-bin/test_case/t{at + 1}.txt").write_text(shell.script())
    host = lambda at: hosts[at] if at < len(hosts) else "127.0.0.1"
    rows = [f"h{at}={host(at)}&p{at}={shell.port}&f{at}=t{at + 1}.txt" for at, shell in enumerate(shells)]
    browser.open(f"{url}?{'&'.join(rows)}&sh=127.0.0.1&sp={proxy_port}")
    parts.wait_for("the columns", lambda: browser.run(
        "return document.querySelectorAll('.sessions pre').length") == len(shells))


def place(browser, at):
    return browser.run(PLACE, f"#s{at}")


def is_at_end(browser, at):
    found = place(browser, at)
    return found["overflows"] and found["below"] < 2 and found["shown"]


def wait_closed(browser, count):
    for at in range(count):
        parts.wait_for(f"column {at} to close", lambda: browser.text(f"#e{at}") == "closed")


def wait_text(browser, at, end):
    parts.wait_for(f"column {at} to end in {end!r}", lambda: (browser.text(f"#s{at}") or "").endswith(end))


def every_line_is_followed_to_the_end(browser, url, proxy_port, root):
    shells = [Scripted(b"** follow **\n", [("seq", lines(200)), ("exit", b"")]) for _ in range(5)]
    open_sessions(browser, url, proxy_port, root, shells)
    wait_closed(browser, 5)
    for at in range(5):
        parts.wait_for(f"the end of column {at}", lambda: is_at_end(browser, at), 5)


def columns_out_of_sight_follow_on_a_phone(browser, url, proxy_port, root):
    browser.look(390, 844, dark=False)
    many = b"".join(b"line %d of a long text\n" % number for number in range(5000))
    answers = [lines(200), lines(200), lines(200), many, [many, *lines(200)]]
    shells = [Scripted(b"** phone **\n", [("seq", answer), ("exit", b"")]) for answer in answers]
    open_sessions(browser, url, proxy_port, root, shells)
    wait_closed(browser, 5)
    for at in range(5):
        browser.run(f"document.querySelector('#s{at}').scrollIntoView()")
        parts.wait_for(f"the end of column {at}", lambda: is_at_end(browser, at), 5)
    browser.look(1400, 820, dark=False)


def settled(browser, at):
    """Where the column comes to rest: browsers scroll smoothly."""
    seen = []

    def rests():
        seen.append(place(browser, at)["top"])
        return len(seen) > 5 and len(set(seen[-5:])) == 1

    parts.wait_for(f"column {at} to rest", rests)
    return seen[-1]


def a_reader_is_left_alone_and_following_resumes_at_the_end(browser, url, proxy_port, root):
    # Far up, and just a little.
    for notch in [-400, -30]:
        gates = [threading.Event() for _ in range(3)]
        answer = [*lines(100), gates[0], *lines(100, 101), gates[1], *lines(100, 201), gates[2], b"300\n"]
        shells = [Scripted(b"** read **\n", [("seq", answer), ("exit", b"")])]
        open_sessions(browser, url, proxy_port, root, shells)
        wait_text(browser, 0, "\n100\n")
        parts.wait_for("the end", lambda: is_at_end(browser, 0), 5)
        before = place(browser, 0)["top"]
        browser.wheel("#s0", notch)
        parts.wait_for("scrolling up", lambda: place(browser, 0)["top"] < before)
        reading = settled(browser, 0)
        gates[0].set()
        wait_text(browser, 0, "\n200\n")
        assert settled(browser, 0) == reading, (notch, reading, place(browser, 0))
        browser.wheel("#s0", 100_000)
        parts.wait_for("scrolling down", lambda: is_at_end(browser, 0), 5)
        gates[1].set()
        wait_text(browser, 0, "\n300\n")
        parts.wait_for("the end again", lambda: is_at_end(browser, 0), 5)
        gates[2].set()
        wait_closed(browser, 1)


def scrolling_down_catches_an_end_that_moves_on(browser, url, proxy_port, root):
    gate = threading.Event()
    shells = [Scripted(b"** chase **\n", [("seq", [*lines(100), gate, *lines(400, 101)]), ("exit", b"")])]
    open_sessions(browser, url, proxy_port, root, shells)
    wait_text(browser, 0, "\n100\n")
    browser.wheel("#s0", -600)
    settled(browser, 0)
    gate.set()
    wait_text_beyond = lambda: int(browser.text("#s0").split()[-1]) > 120
    parts.wait_for("more lines", wait_text_beyond)
    browser.wheel("#s0", place(browser, 0)["below"])
    wait_closed(browser, 1)
    parts.wait_for("the end", lambda: is_at_end(browser, 0), 5)


def ports_and_labels_are_always_seen(browser, url, proxy_port, root):
    shells = [Scripted(b"", []) for _ in range(5)]
    hosts = ["a" * 63 + ".test", ".".join(["long"] * 50), "x.test", "127.0.0.1", "b" * 40 + ".c" * 80]
    open_sessions(browser, url, proxy_port, root, shells, hosts)
    for width, height in [(1400, 800), (1000, 600), (390, 844), (320, 568)]:
        browser.look(width, height, dark=False)
        for at, (host, shell) in enumerate(zip(hosts, shells)):
            head = browser.run(
                """const head = document.querySelectorAll('.sessions th')[arguments[0]];
                head.scrollIntoView({ block: 'center' });
                const texts = document.createTreeWalker(head, NodeFilter.SHOW_TEXT), port = document.createRange();
                for (let text; (text = texts.nextNode());) {
                    const end = text.data.length;
                    if (text.data.endsWith(arguments[1])) port.setStart(text, end - arguments[1].length), port.setEnd(text, end);
                }
                const box = port.getBoundingClientRect();
                const there = document.elementFromPoint(box.right - 2, (box.top + box.bottom) / 2);
                return { seen: box.width > 0 && box.right <= head.getBoundingClientRect().right
                             && there === port.endContainer.parentElement,
                         title: head.querySelector('[title]')?.title, height: head.offsetHeight };""",
                at, f":{shell.port}")
            assert head["seen"], f"port of column {at} at {width}"
            assert head["title"] == f"{host}:{shell.port}" and head["height"] < 80, (width, head)
        assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.look(1400, 820, dark=False)
    browser.open(url)
    parts.wait_for("the panel", lambda: browser.run("return !!document.querySelector('[name=sp]') && !location.search"))
    label = "const box = document.createRange(); box.selectNodeContents(document.querySelector('tfoot th'));"
    assert browser.run(label + "return box.getClientRects().length") == 1, "the label is wrapped"


def the_page_names_its_proxy_stops_and_runs_again(browser, url, proxy_port, root):
    gate = threading.Event()
    shells = [Scripted(b"** silent **\n", [("ls", [gate])]), Scripted(b"** one **\n", [("exit", b"")])]
    open_sessions(browser, url, proxy_port, root, shells)
    wait_text(browser, 0, "ls\n")
    parts.wait_for("the second", lambda: browser.text("#e1") == "closed")
    ports = ", ".join(f"127.0.0.1:{shell.port}" for shell in shells)
    assert browser.run("return document.title") == f"{ports} \u2013 socku console"
    assert browser.text("header p") == f"through 127.0.0.1:{proxy_port}"
    browser.click("#stop")
    parts.wait_for("the console to end", lambda: not parts.processes(root / parts.PROGRAM))
    assert browser.text("#e0") == "stopped" and browser.text("#e1") == "closed"
    assert browser.run("return document.querySelector('#stop').disabled")
    gate.set()
    browser.click("#again")
    parts.wait_for("the first again", lambda: browser.text("#e0") == "closed")
    assert browser.text("#s0") == shells[0].transcript()
    parts.wait_for("the end", lambda: browser.run("return document.querySelector('#stop').disabled"))


CHECKS = [
    every_line_is_followed_to_the_end,
    columns_out_of_sight_follow_on_a_phone,
    a_reader_is_left_alone_and_following_resumes_at_the_end,
    scrolling_down_catches_an_end_that_moves_on,
    ports_and_labels_are_always_seen,
    the_page_names_its_proxy_stops_and_runs_again,
]
