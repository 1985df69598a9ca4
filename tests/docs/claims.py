"""What a page claims of its blocks and of other pages, and what is wrong with it."""

import re

from lab.programs import ROOT

from command import bare, commands
from page import COMMANDS, PLAIN, READ_BY, indented

CI = ".ci/run"
# What runs blocks in the container of a folder of tests/.
IN_CONTAINER = {"systemd": "tests/systemd/inside", "deb": "tests/deb/inside"}
LINK = re.compile(r"\]\(([^)#:]*)#([^)]+)\)")


def lines_of(program):
    """The lines of a program of this repository, without what stands around them."""
    return {bare(line) for line in (ROOT / program).read_text().splitlines()}


def run_by_ci(command):
    """Whether .ci/run has this command, word for word."""
    return bare(command.text) in lines_of(CI)


def _is_in_order(lines, file):
    rest = iter(line.strip() for line in file.read_text().splitlines())
    return all(line.strip() in rest for line in lines)


def of_block(block):
    """What is wrong with a block, in words; None if nothing is."""
    if not block.language:
        return "has no language, expected ```sh, ```console, ```text, ```conf or another"
    if block.language in COMMANDS and block.kind in ("", "output"):
        return "has commands, expected a comment that says how they are run: see tests/docs/page.py"
    if block.kind == "not run" and not block.argument:
        return "is not run, expected a reason"
    if block.container() and block.container() not in IN_CONTAINER:
        return f"is run in `{block.container()}`, expected one of {', '.join(IN_CONTAINER)}"
    if block.kind == "run by":
        known = lines_of(block.argument)
        absent = [one.text for one in commands(block) if bare(one.text) not in known]
        return f"{block.argument} has no line `{absent[0]}`" if absent else None
    if block.kind == "part of" and not _is_in_order(block.lines, ROOT / block.argument):
        return f"has other lines than {block.argument}"
    return _not_read(block)


def _reader(block):
    """The program that takes a block from its page; None where it has none."""
    if block.container():
        return IN_CONTAINER[block.container()]
    if block.kind == "read by":
        return block.argument
    return READ_BY.get(block.language) if not block.kind else None


def _not_read(block):
    reader = _reader(block)
    if reader:
        is_known = block.page in (ROOT / reader).read_text()
        return None if is_known else f"is not read by {reader}, which does not name {block.page}"
    if block.kind or block.language in PLAIN:
        return None
    return f"```{block.language} needs a comment that says what checks it"


def _anchor(heading):
    """The name that a heading has in links."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")


def _anchors(text):
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return {_anchor(heading) for heading in re.findall(r"^#+ (.*)$", outside, re.MULTILINE)}


def of_page(page, text):
    """What is wrong with a page apart from its blocks, line by line."""
    for number in indented(text):
        yield f"{page}:{number}: a block without a language, expected a fence like ```sh"
    for file, anchor in LINK.findall(text):
        target = (ROOT / page).parent / file
        other = target.read_text() if target.is_file() else ""
        if anchor not in _anchors(other if file else text):
            yield f"{page}: no heading for the link to {file}#{anchor}"
