"""The commands of a block, one by one."""

import re
import subprocess
from dataclasses import dataclass

PROMPT = "$ "


@dataclass
class Command:
    """A command as it is typed, the number of its line, and the lines that the page shows after
    it, or None where it shows none."""

    line: int
    text: str
    shown: list


def _is_whole(text):
    """Whether a shell would run this, and wait for no further line."""
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stderr and not text.endswith("\\")


def _typed(block):
    """Commands without output; one may have several lines."""
    found, open_lines = [], []
    for number, line in enumerate(block.lines, block.line + 1):
        open_lines.append(line)
        text = "\n".join(open_lines)
        if _is_whole(text):
            if bare(text):
                found.append(Command(number - len(open_lines) + 1, text, None))
            open_lines = []
    if open_lines:
        found.append(Command(block.line, "\n".join(open_lines), None))
    return found


def _with_output(block):
    """Commands at prompts, each with what it prints."""
    found = []
    for number, line in enumerate(block.lines, block.line + 1):
        if line.startswith(PROMPT):
            found.append(Command(number, line.removeprefix(PROMPT), []))
        elif found:
            found[-1].shown.append(line)
    return found


def commands(block):
    return _with_output(block) if block.language == "console" else _typed(block)


def bare(text):
    """A command without the comment after it."""
    lines = (line.partition(" #")[0].strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def is_background(text):
    """Whether a command leaves a server in the background: `server &`, perhaps with `name=$!` or
    `sleep 1` after it."""
    return re.search(r" &($| \w+=\$!$| sleep )", bare(text)) is not None
