"""What an ELF file says of a program, and what of the file is loaded.

A linker leaves more in the file: the table of sections and sections for debuggers, such as the 100
KiB of .pdr on MIPS. Nothing of that is needed to run it.
"""

import struct

# The head of an ELF file from e_phoff on, for 32 and 64 bits (elf(5)).
_HEAD_AT = 28, 32
_HEAD = "IIIHHHHHH", "QQIHHHHHH"
# Where p_offset and p_filesz are in a program header, and the form of each.
_OFFSET_AT, _SIZE_AT, _FORM = (4, 8), (16, 32), ("I", "Q")


# Where e_machine is; and the kind of segment that names the loader of a dynamic program, PT_INTERP.
_MACHINE_AT, _INTERPRETER = 18, 3


def _unpack(form, data, at):
    """Fields of a file; ValueError if it ends before them."""
    try:
        return struct.unpack_from(form, data, at)
    except struct.error as error:
        raise ValueError("is cut off") from error


def _form(data):
    """Whether an ELF file is one of 64 bits, as 0 or 1, and the order of its bytes; ValueError if it
    is none."""
    if data[:4] != b"\x7fELF":
        raise ValueError("expected a program for Linux")
    wide, order = _unpack("2B", data, 4)
    return int(wide == 2), "<" if order == 1 else ">"


def _entries(fields):
    """Where the program headers are, by the fields of the head."""
    table, _, _, _, size, count, *_ = fields
    return [table + number * size for number in range(count + 1)]


def processor(data):
    """The machine of an ELF file, and whether it has 64 bits; ValueError if it is none."""
    wide, order = _form(data)
    return _unpack(f"{order}H", data, _MACHINE_AT)[0], bool(wide)


def is_static(data):
    """Whether a program is loaded by the kernel alone; ValueError if it is none."""
    wide, order = _form(data)
    entries = _entries(_unpack(order + _HEAD[wide], data, _HEAD_AT[wide]))[:-1]
    return all(_unpack(f"{order}I", data, entry)[0] != _INTERPRETER for entry in entries)


def loaded(data):
    """The bytes of a program without what follows its last segment, and without the table of
    sections; ValueError if it is none."""
    wide, order = _form(data)
    head = order + _HEAD[wide]
    fields = list(_unpack(head, data, _HEAD_AT[wide]))
    *entries, end_of_table = _entries(fields)

    def end(entry):
        offset, length = (_unpack(order + _FORM[wide], data, entry + at[wide])[0]
                          for at in (_OFFSET_AT, _SIZE_AT))
        return offset + length

    last = max([end_of_table, *map(end, entries)])
    # No section: e_shoff, e_shnum and e_shstrndx are 0.
    fields[1] = fields[7] = fields[8] = 0
    short = bytearray(data[:last])
    struct.pack_into(head, short, _HEAD_AT[wide], *fields)
    return bytes(short)
