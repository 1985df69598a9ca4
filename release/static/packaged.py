"""What a package or an image needs of the program in it: that its processor is the right one, and
that it has every optional part, as the unit and the health check call on them."""

import platform
import subprocess

from .elf import processor

# Of an ELF file: e_machine, and whether it has 64 bits, for each processor by Debian's name of it.
# armel and armhf are one here.
PROCESSORS = {
    "amd64": (62, True), "arm64": (183, True), "armel": (40, False), "armhf": (40, False),
    "i386": (3, False), "loong64": (258, True), "mips64el": (8, True), "ppc64el": (21, True),
    "riscv64": (243, True), "s390x": (22, True),
}
# This machine's, by the name that its kernel has for it.
_OWN = {"aarch64": "arm64", "x86_64": "amd64", "riscv64": "riscv64", "s390x": "s390x"}
# What `--version` begins its list of absent parts with. The text is in no optimized program that
# has all of them.
LACKS = "built without: "


def _lacks(program, data):
    """The parts that the program says it lacks; `some` if only its text tells, as this machine
    cannot run it. OSError if it should be able to."""
    if processor(data) != PROCESSORS.get(_OWN.get(platform.machine())):
        return "some" if LACKS.encode() in data else ""
    done = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.returncode, f"--version ends with {done.returncode}")
    return done.stdout.partition(LACKS)[2].strip()


def fault(program, architecture=None):
    """What is wrong with a program, in words, for one of Debian's architectures if there is one;
    nothing if it can be packaged."""
    try:
        data = program.read_bytes()
        found = processor(data)
    except OSError as error:
        return error.strerror
    except ValueError as error:
        return str(error)
    if architecture and architecture not in PROCESSORS:
        return f"expected one of {', '.join(PROCESSORS)} for --arch, not {architecture}"
    if architecture and found != PROCESSORS[architecture]:
        names = [name for name, known in PROCESSORS.items() if known == found]
        return f"is for {' or '.join(names) or f'machine {found[0]}'}, expected {architecture}"
    try:
        lacks = _lacks(program, data)
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    return f"lacks optional parts ({lacks}), expected one with all" if lacks else None
