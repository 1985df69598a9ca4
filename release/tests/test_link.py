"""What the linker of static programs is told."""

import unittest

from static import link


class Link(unittest.TestCase):
    def test_a_static_program_is_position_independent_and_zig_takes_all_options(self):
        self.assertEqual(link.as_zig_takes_them(["-m64", "-static-pie", "a.o"]),
                         ["-m64", "-static", "-pie", "a.o"])
        self.assertEqual(link.as_zig_takes_them(["-static", "-no-pie"]), ["-static", "-no-pie"])
        self.assertEqual(link.as_zig_takes_them(["-m32", "-Wl,-melf_i386"]), ["-m32"])

    def test_the_linker_is_run_as_zig_runs_it_and_with_more_options(self):
        printed = "ld.lld -r -o /a b/zig/crt1.o\nld.lld --eh-frame-hdr -o /a b/out /a b/in.o -s\n"
        words = link.again(printed, "/a b")
        self.assertEqual(words[:4], ["-o", "/a b/out", "/a b/in.o", "-s"])
        self.assertEqual(words[4:], link.OPTIONS)


if __name__ == "__main__":
    unittest.main()
