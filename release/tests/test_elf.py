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
        for read in (elf.loaded, elf.is_static, elf.processor):
            with self.assertRaises(ValueError):
                read(b"#!/bin/sh\n")

    def test_a_program_that_names_its_loader_is_not_static(self):
        for wide in (False, True):
            for order in "<>":
                kept, _ = program(wide, order)
                self.assertTrue(elf.is_static(kept))
                self.assertEqual(elf.processor(kept), (8, wide))
                kind_at = 64 if wide else 52
                dynamic = kept[:kind_at] + struct.pack(f"{order}I", 3) + kept[kind_at + 4:]
                self.assertFalse(elf.is_static(dynamic))
                with self.assertRaisesRegex(ValueError, "is cut off"):
                    elf.is_static(kept[:kind_at + 2])


if __name__ == "__main__":
    unittest.main()
