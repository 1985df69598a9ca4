"""What a page shows of the output of a command, beside what the command has printed."""

import re

# What differs from one run to the next, and is the same here.
VARYING = (
    # Columns, which are as wide as what is in them.
    (r"  +", " "),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    # A port that the kernel chose.
    (r"(?<=:)[3-6]\d{4}\b", "PORT"),
    (r"\b(socku) \d+\.\d+\.\d+", r"\1 VERSION"),
    (r"\b(up|down|ms|pid|fd|id)([=:]|\":)\d+", r"\1\2N"),
    (r"\bat most \d+ sessions", "at most N sessions"),
    (r"\b\d+ sessions?, \d+ listeners?", "N sessions, N listeners"),
)


def _constant(line):
    for pattern, word in VARYING:
        line = re.sub(pattern, word, line.rstrip())
    return line


def is_shown(line, printed):
    """Whether a line of the page stands for a printed one; `...` is for anything."""
    parts = map(re.escape, _constant(line).split("..."))
    return re.fullmatch(".*".join(parts), _constant(printed)) is not None


def difference(shown, printed):
    """The first line that is not as shown, in words; None where all are. A last line `...` is for
    any lines."""
    is_open = shown[-1:] == ["..."]
    shown = shown[:-1] if is_open else shown
    for number, line in enumerate(shown):
        if number == len(printed):
            return f"shows `{line}`, and nothing more is printed"
        if not is_shown(line, printed[number]):
            return f"shows `{line}`, printed is `{printed[number]}`"
    if len(printed) > len(shown) and not is_open:
        return f"does not show `{printed[len(shown)]}`"
    return None


def missing(shown, printed):
    """The first line shown that is not printed; None where all are. Programs in the background
    print as well, so that other lines may stand between them."""
    return next((line for line in shown if not any(is_shown(line, one) for one in printed)), None)
