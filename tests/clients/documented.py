"""The clients of docs/clients.md are those of this suite, and its table has what its commands show.
tests/docs/run runs the commands, and sees their sessions."""

import re
import sys

from lab.failure import expect
from lab.programs import ROOT

sys.path.append(str(ROOT / "tests/docs"))
from command import commands  # noqa: E402
from page import blocks  # noqa: E402

PAGE = "docs/clients.md"
ROW = re.compile(r"\| \[(\S+)\]\(#\S+\) \|(.*)\|")
# What a session shows of the abilities that are the columns of the table.
SHOWN_BY = {
    "SOCKS4": r"proto=4 ", "SOCKS4A": r"proto=4a ", "SOCKS5": r"proto=5 ",
    "user": r'proto=4a? user="\w', "password": r'proto=5 user="\w', "IPv6": r"target=\[",
    "BIND": r"command=bind "}


def _names(heading):
    """The clients that a section is about."""
    return [part.split()[0] for part in re.split(r", | and ", heading)]


def _sections(text):
    """The text below each client's heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {name: text for heading, text in zip(parts[::2], parts[1::2])
            for name in _names(heading)}


def _sessions(section):
    """The sessions that the commands of a section must show."""
    return [block.argument for block in blocks(PAGE, section) if block.kind == "session"]


def _shown_commands(section):
    """The commands of a section that readers see."""
    return [command for block in blocks(PAGE, section) if block.kind == "run"
            and f"hidden: {block.lines[0]} -->" not in section for command in commands(block)]


def _abilities(section):
    """The row that the sessions of a section prove."""
    sessions = _sessions(section)
    row = {column: "yes" if any(re.search(shown, session) for session in sessions) else "no"
           for column, shown in SHOWN_BY.items()}
    if row["IPv6"] == "no" and any("address=[" in session for session in sessions):
        row["IPv6"] = "by name"
    return row


def check(clients):
    """Compares the page with the names of the suite's checks, which begin with their client's."""
    text = (ROOT / PAGE).read_text()
    sections, rows = _sections(text), dict(ROW.findall(text))
    tried = {name.split()[0].rstrip(",") for name in clients}
    for kind, found in (("sections", set(sections)), ("rows", set(rows))):
        expect(found == tried, f"{kind} without a check: {sorted(found - tried)}, "
               f"checks without one of them: {sorted(tried - found)}")
    for name, row in rows.items():
        said = dict(zip(SHOWN_BY, (cell.strip() for cell in row.split("|"))))
        shown = _abilities(sections[name])
        sessions, typed = len(_sessions(sections[name])), len(_shown_commands(sections[name]))
        expect(0 < sessions >= typed, f"{name}: {typed} commands show {sessions} sessions")
        expect(said == shown, f"{name}: the table says {said}, its commands show {shown}")
