"""The linker that rustc calls for a static program: zig's, told more than zig lets through.

    python3 link.py DIRECTORY ZIG... -- ARGUMENTS OF RUSTC

`zig cc` knows its C library and where it is. The command that it runs is run once more, with options
that it does not take. DIRECTORY may have blanks in its path, which zig prints without quotes.
"""

import subprocess
import sys
from pathlib import Path

# Equal functions are one; a table of addresses to adjust takes bits; nothing unwinds.
OPTIONS = ["-O2", "--icf=all", "--pack-dyn-relocs=relr", "-T",
           str(Path(__file__).with_name("no-unwind-tables.ld"))]
LEFT_OUT = ["--eh-frame-hdr"]


def as_zig_takes_them(arguments):
    """rustc asks for a position-independent static program by -static-pie, on most processors. zig
    makes one at fixed addresses of that, and the other by -static -pie. It knows from its target
    alone that a program is one of i386."""
    changed = {"-static-pie": ["-static", "-pie"], "-Wl,-melf_i386": []}
    return [word for argument in arguments for word in changed.get(argument, [argument])]


def again(printed, directory):
    """The arguments of the linker, as zig has printed them, with more options."""
    # The last one: those before made zig's library.
    line = [line for line in printed.splitlines() if line.startswith("ld.lld ")][-1]
    # No path has this character.
    words = line.replace(directory, "\0").split()[1:]
    return [word.replace("\0", directory) for word in words if word not in LEFT_OUT] + OPTIONS


def main():
    directory, *rest = sys.argv[1:]
    end = rest.index("--")
    zig, arguments = rest[:end], rest[end + 1:]
    first = subprocess.run([*zig, *as_zig_takes_them(arguments), "-v"], check=False, text=True,
                           stderr=subprocess.PIPE)
    if first.returncode:
        sys.exit(first.stderr)
    command = zig[:zig.index("cc")]
    return subprocess.run([*command, "ld.lld", *again(first.stderr, directory)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
