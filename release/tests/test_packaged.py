"""Which programs can be packaged."""

import platform
import sys
import tempfile
import unittest
from pathlib import Path

from static import packaged


def head(machine, is_64=True, order="little"):
    """The first bytes of an ELF file."""
    ident = b"\x7fELF" + bytes([1 + is_64, 1 if order == "little" else 2]) + bytes(10)
    return ident + (2).to_bytes(2, order) + machine.to_bytes(2, order)


class Fault(unittest.TestCase):
    def fault(self, data, architecture=None):
        with tempfile.TemporaryDirectory() as name:
            program = Path(name) / "socku"
            program.write_bytes(data)
            return packaged.fault(program, architecture)

    def test_a_program_of_another_processor_is_named(self):
        for data, architecture, expected in (
            (head(21), "ppc64el", None),
            (head(21), None, None),
            (head(22, order="big"), "s390x", "" if platform.machine() == "s390x" else None),
            (head(40, is_64=False), "armhf", None),
            (head(40, is_64=False), "arm64", "is for armel or armhf, expected arm64"),
            (head(21), "amd64", "is for ppc64el, expected amd64"),
            (head(1), "amd64", "is for machine 1, expected amd64"),
            (b"#!/bin/sh\n", "amd64", "expected a program for Linux"),
            (head(21)[:19], "ppc64el", "is cut off"),
        ):
            if expected != "":
                self.assertEqual(self.fault(data, architecture), expected)

    def test_what_cannot_be_read_or_run_is_said(self):
        self.assertEqual(packaged.fault(Path("/nowhere/socku")), "No such file or directory")
        self.assertEqual(packaged.fault(Path("/")), "Is a directory")
        own = Path(sys.executable).read_bytes()
        for data, expected in ((own[:64], "cannot be run: "), (head(0xFFFF), None)):
            found = self.fault(data)
            self.assertTrue(found == expected or found.startswith(expected), found)

    def test_a_program_of_another_processor_that_lacks_parts_has_their_text(self):
        found = self.fault(head(21) + b"...built without: \0")
        self.assertEqual(found, "lacks optional parts (some), expected one with all")

    def test_the_text_is_that_of_the_program(self):
        source = Path(__file__).resolve().parents[2] / "src/config/parts.rs"
        self.assertIn(f'format!("{packaged.LACKS}{{}}"', source.read_text())

    def test_a_program_of_this_processor_is_asked(self):
        with tempfile.TemporaryDirectory() as name:
            program = Path(name) / "socku"
            program.write_text("#!/bin/sh\necho socku 1.0\necho built without: health, json\n")
            program.chmod(0o755)
            own, packaged.processor = packaged.processor, lambda _: (62, True)
            machine, platform.machine = platform.machine, lambda: "x86_64"
            try:
                found = packaged.fault(program, "amd64")
            finally:
                packaged.processor, platform.machine = own, machine
        self.assertEqual(found, "lacks optional parts (health, json), expected one with all")


if __name__ == "__main__":
    unittest.main()
