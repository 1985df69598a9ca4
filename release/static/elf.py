"""What of a program is loaded.

A linker leaves more in the file: the table of sections and sections for debuggers, such as the 100
KiB of .pdr on MIPS. Nothing of that is needed to run it.
"""

import struct

# The head of an ELF file from e_phoff on, for 32 and 64 bits (elf(5)).
_HEAD_AT = 28, 32
_HEAD = "IIIHHHHHH", "QQIHHHHHH"
# Where p_offset and p_filesz are in a program header, and the form of each.
_OFFSET_AT, _SIZE_AT, _FORM = (4, 8), (16, 32), ("I", "Q")


def loaded(data):
    """The bytes of a program without what follows its last segment, and without the table of
    sections."""
    if data[:4] != b"\x7fELF":
        raise ValueError("found no ELF file")
    wide = data[4] - 1
    order = "<>"[data[5] - 1]
    head = order + _HEAD[wide]
    fields = list(struct.unpack_from(head, data, _HEAD_AT[wide]))
    table, _, _, _, size, count, *_ = fields

    def end(number):
        entry = table + number * size
        offset, length = (struct.unpack_from(order + _FORM[wide], data, entry + at[wide])[0]
                          for at in (_OFFSET_AT, _SIZE_AT))
        return offset + length

    last = max([table + count * size, *map(end, range(count))])
    # No section: e_shoff, e_shnum and e_shstrndx are 0.
    fields[1] = fields[7] = fields[8] = 0
    short = bytearray(data[:last])
    struct.pack_into(head, short, _HEAD_AT[wide], *fields)
    return bytes(short)
