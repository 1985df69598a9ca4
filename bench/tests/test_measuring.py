"""The command line, the readers of other programs' output, and the provenance."""

import contextlib
import io
import unittest
from types import SimpleNamespace

from comparison import measure, options, provenance

LOCK = '''[[package]]
name = "tokio-macros"
version = "2.0.0"

[[package]]
name = "tokio"
version = "1.2.3"
'''


class CommandLine(unittest.TestCase):
    def refused(self, *arguments):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit):
            options.parse(arguments, "", "results.json")
        return said.getvalue()

    def test_a_quick_run_writes_nothing_into_the_documents(self):
        self.assertFalse(options.parse(["--quick"], "", "results.json").write)
        self.assertIn("--quick", self.refused("--quick", "--write"))

    def test_a_part_of_the_comparison_writes_nothing_into_the_documents(self):
        self.assertIn("--only", self.refused("--write", "--only", "socku"))
        self.assertIn("--scenarios", self.refused("--write", "--scenarios", "short"))

    def test_a_whole_run_writes_only_when_asked(self):
        self.assertFalse(options.parse([], "", "results.json").write)
        self.assertTrue(options.parse(["--write"], "", "results.json").write)

    def test_an_unknown_scenario_is_refused(self):
        self.assertIn("no such scenario: shrot", self.refused("--scenarios", "short,shrot"))


class Calls(unittest.TestCase):
    def test_the_summary_of_strace_is_read(self):
        summary = "    calls syscall\n--------- --------\n      400 epoll_wait\n" \
                  "      200 accept4\n--------- --------\n      600 total\n"
        calls = measure.counts(summary)
        self.assertEqual(calls, {"epoll_wait": 400, "accept4": 200})
        self.assertEqual(measure.split(calls), (200, 400))

    def test_every_kind_of_wait_is_a_wait(self):
        self.assertEqual(measure.split({"poll": 1, "epoll_pwait": 2, "recvfrom": 4}), (4, 3))


class Provenance(unittest.TestCase):
    def test_the_version_of_a_crate_is_read_from_the_lock_file(self):
        self.assertEqual(provenance.locked_version(LOCK, "tokio"), "1.2.3")
        self.assertIsNone(provenance.locked_version(LOCK, "mio"))

    def test_the_twin_has_the_version_of_tokio(self):
        twin = SimpleNamespace(package=None, name="tokio-multi")
        self.assertEqual(provenance.version(twin, LOCK), "tokio 1.2.3")

    def test_the_processor_is_found(self):
        self.assertEqual(provenance.processor("flags: a\nmodel name\t: Some CPU\n"), "Some CPU")

    def test_a_program_that_is_not_there_has_no_output(self):
        self.assertIsNone(provenance.output_of(["/nowhere/at/all"]))

    def test_a_directory_without_git_has_an_unknown_commit(self):
        self.assertIn("unknown", provenance.commit("/proc"))


if __name__ == "__main__":
    unittest.main()
