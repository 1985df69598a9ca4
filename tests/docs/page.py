"""A page of the documents: its blocks of code, and how each of them is run.

A comment on the line before a block, which readers do not see, says it:

    <!-- run -->                    in the machine of the page, after the blocks before it
    <!-- serves: ADDR:PORT, ... --> the same; its last commands are servers, one for each address,
                                    which are ended again
    <!-- run: FOLDER -->            in the container of a test: tests/systemd/run, tests/deb/run
    <!-- run by: PROGRAM -->        its commands stand in that program of this repository
    <!-- read by: PROGRAM -->       that program takes its commands from the page
    <!-- not run: REASON -->        nowhere
    <!-- output -->                 what the blocks before it print
    <!-- file: PATH -->             a file of the machine
    <!-- part of: FILE -->          lines of a file of this repository, in its order
    <!-- unit: UNIT -->             a drop-in, which systemd checks in that of tests/systemd/run

These stand anywhere, without a block:

    <!-- hidden: COMMAND -->        is run as well
    <!-- prints: TEXT -->           what the blocks before it print, or part of a line of that
    <!-- session: FIELDS -->        the proxy has granted one with these fields of its access line
                                    since the last block was run, beside those expected before
"""

import re
from dataclasses import dataclass

from lab.programs import ROOT

KINDS = ("run by", "read by", "not run", "part of", "run", "serves", "output", "file", "unit",
         "hidden", "prints", "session")
COMMENT = re.compile(rf"\s*<!-- ({'|'.join(KINDS)})(?:: (.+))? -->$")
FENCE = re.compile(r"( *)```(\S*)$")
COMMANDS = ("sh", "console")
# Languages whose blocks need no comment, and what reads them: a test that knows the page.
READ_BY = {"yaml": "tests/status/run", "promql": "tests/status/run", "rust": "tests/examples.rs"}
# Shown, or checked as what they are.
PLAIN = ("text", "json", "conf")


@dataclass
class Block:
    """A block of code: `kind` and `argument` are those of its comment."""

    page: str
    line: int
    language: str
    kind: str
    argument: str
    lines: list

    def __str__(self):
        return f"{self.page}:{self.line}"

    def container(self):
        """The folder of tests/ in whose container this is run; nothing if it is run in none."""
        if self.kind == "unit":
            return "systemd"
        return self.argument if self.kind == "run" else ""

    def text(self):
        return "".join(f"{line}\n" for line in self.lines)


def blocks(page, text):
    """The blocks of a page, in order."""
    found, open_block, indent = [], None, 0
    kind = argument = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence, comment = FENCE.match(line), COMMENT.match(line)
        if open_block:
            if fence and not fence[2]:
                found.append(open_block)
                open_block = None
            else:
                open_block.lines.append(line[indent:])
        elif fence:
            indent = len(fence[1])
            open_block = Block(page, number, fence[2], kind, argument, [])
            kind = argument = ""
        elif comment and comment[1] == "hidden":
            found.append(Block(page, number, "sh", "run", "", [comment[2]]))
        elif comment and comment[1] == "prints":
            found.append(Block(page, number, "text", "output", "", [f"...{comment[2]}..."]))
        elif comment and comment[1] == "session":
            found.append(Block(page, number, "text", "session", comment[2], []))
        else:
            kind, argument = (comment[1], comment[2] or "") if comment else ("", "")
    return found


def read_by(program, page):
    """The blocks of a page that a program of this repository takes from there."""
    return [block for block in blocks(page, (ROOT / page).read_text())
            if (block.kind, block.argument) == ("read by", program)]


def indented(text):
    """The numbers of lines that begin a block of code without a language."""
    is_code, before = False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code and line.startswith("    ") and not before.startswith((" ", "- ", "|")):
            yield number
        if line.strip():
            before = line
