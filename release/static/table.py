"""The tables of docs/platforms.md: written from figures, and compared with others."""

import re

BEGIN, END = "<!-- begin: written by release/sizes -->", "<!-- end: written by release/sizes -->"
# Of a figure in the table; compilers and days differ a little.
DEVIATION_MAX = 0.03
# What a gateway has room for: 350 KiB.
SMALL_BYTES_MAX = 350 * 1024


def markdown(head, rows):
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def count(number):
    """A number with its thousands apart."""
    return f"{number:,}"


def targets(built):
    """The table of all targets, from their fast and their small program."""
    head = ["target", "bytes, fast", "bytes, small", "CPU to build both"]
    return markdown(head, [
        [name, count(fast.bytes), count(small.bytes), f"{fast.cpu_s + small.cpu_s:.0f} s"]
        for name, (fast, small) in built.items()])


def features(least, added):
    """What each feature adds to the least program, which has so many bytes."""
    rows = [["none of them", count(least), ""]]
    rows += [[f"`{name}`", count(number), f"{number - least:+,}"] for name, number in added.items()]
    return markdown(["small program with", "bytes", "more"], rows)


def memory(used):
    """What idle programs use, each by its name: bytes that are its own, and all that are resident."""
    rows = [[name, count(pss // 1024), count(rss // 1024)] for name, (pss, rss) in used.items()]
    return markdown(["idle program", "Pss, KiB", "RSS, KiB"], rows)


def put_between_markers(document, text):
    """The document with this text in place of what was written there before."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def sizes(document):
    """The bytes of the fast and the small program of each target, as the document has them."""
    rows = re.findall(r"^\| (\S+-linux-musl\S*) \| ([0-9,]+) \| ([0-9,]+) \|", document, re.MULTILINE)
    return {name: tuple(int(cell.replace(",", "")) for cell in cells) for name, *cells in rows}


def faults(document, built, main):
    """What is wrong with these sizes, and with what the document says of them: a line for each.
    `main` is the target whose small program must not be larger than a gateway has room for."""
    written = sizes(document)
    for name, found in built.items():
        for profile, bytes_, told in zip(("fast", "small"), found, written.get(name, (0, 0))):
            if abs(bytes_ - told) > told * DEVIATION_MAX:
                yield f"{name}, {profile}: {bytes_} bytes, docs/platforms.md says {told}"
        if name == main and found[1] > SMALL_BYTES_MAX:
            yield f"{name}, small: {found[1]} bytes, expected at most {SMALL_BYTES_MAX}"
