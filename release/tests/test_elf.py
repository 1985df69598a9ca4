"""What is left of a program's file."""

import struct
import unittest

from static import elf


def program(wide, order):
    """A program of one segment, with a section after it."""
    head_bytes, entry_bytes, section_bytes = (64, 56, 64) if wide else (52, 32, 40)
    word = "Q" if wide else "I"
    code = b"code"
    start = head_bytes + entry_bytes
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head = ident + struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH", 2, 8, 1, 0x1000, head_bytes, start + 100, 7,
        head_bytes, entry_bytes, 1, section_bytes, 3, 2)
    if wide:
        entry = struct.pack(f"{order}IIQQQQQQ", 1, 5, start, 0x1000, 0x1000, len(code), 4096, 1)
    else:
        entry = struct.pack(f"{order}IIIIIIII", 1, start, 0x1000, 0x1000, len(code), 4096, 5, 1)
    return head + entry + code, b"debug" * 20


class Loaded(unittest.TestCase):
    def test_a_program_ends_with_its_last_segment_and_has_no_sections(self):
        for wide in (False, True):
            for order in "<>":
                kept, rest = program(wide, order)
                short = elf.loaded(kept + rest)
                self.assertEqual(len(short), len(kept))
                self.assertEqual(short[-4:], b"code")
                at = 40 if wide else 32
                self.assertEqual(short[at:at + (8 if wide else 4)].strip(b"\0"), b"", "e_shoff")
                number = 60 if wide else 48
                self.assertEqual(short[number:number + 4], bytes(4), "e_shnum and e_shstrndx")
                # All else is as it was.
                changed = [place for place in range(len(short)) if short[place] != kept[place]]
                self.assertTrue(all(place >= at for place in changed), changed)
                self.assertEqual(elf.loaded(short), short)

    def test_anything_else_is_refused(self):
        with self.assertRaises(ValueError):
            elf.loaded(b"#!/bin/sh\n")


if __name__ == "__main__":
    unittest.main()
