"""The command line, the readers of other programs' output, and the provenance."""

import contextlib
import io
import unittest
from types import SimpleNamespace

from comparison import measure, options, provenance, proxies
from comparison.proxies import PIPELINED, SOCKS5

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


class Socks5Calls(unittest.TestCase):
    def found(self, **calls):
        return {protocol.replace("_", "-"): {"calls_per_session": number, "waits_per_session": 5,
                                             "by_name": {}}
                for protocol, number in calls.items()}

    def test_calls_are_given_beyond_those_of_socks4_to_a_tenth(self):
        result = measure.beside_socks4(self.found(socks4=20.005, socks5=22,
                                                  socks5_pipelined=21.5))
        self.assertEqual((result["waiting_calls"], result["waiting_more_calls"]), (22, 2))
        self.assertEqual((result["pipelined_calls"], result["pipelined_more_calls"]), (21.5, 1.5))

    def test_a_proxy_without_one_of_the_protocols_has_no_figure_for_it(self):
        result = measure.beside_socks4(self.found(socks5=25))
        self.assertEqual(result["waiting_calls"], 25)
        self.assertNotIn("waiting_more_calls", result)
        self.assertNotIn("pipelined_calls", result)


class Families(unittest.TestCase):
    def test_addresses_are_looked_for_as_the_kernel_shows_them(self):
        for host, shown in (("127.0.0.1", "0100007F:0438"),
                            ("::1", "00000000000000000000000001000000:0438")):
            self.assertEqual(proxies.kernel_address(host, 1080), shown)

    def test_an_ipv6_address_has_brackets(self):
        self.assertRegex(proxies.Ports().address(6), r"^\[::1\]:\d+$")
        self.assertRegex(proxies.Ports().address(), r"^127\.0\.0\.1:\d+$")

    def command(self, family, protocol=None):
        running = SimpleNamespace(family=family, target="TARGET", listen="LISTEN", pid=1,
                                  proxy=SimpleNamespace(protocol="socks4"))
        return measure.Load("load", 0).command(running, "idle", (), 30, protocol=protocol)

    def test_only_ipv4_has_many_loopback_addresses(self):
        self.assertIn("--sources", self.command(4))
        self.assertNotIn("--sources", self.command(6))
        self.assertNotIn("--targets", self.command(6))

    def test_a_scenario_s_protocol_replaces_the_proxy_s_own(self):
        for protocol, used in ((None, "socks4"), (SOCKS5, "socks5")):
            command = self.command(4, protocol)
            self.assertEqual(command[command.index("--protocol") + 1], used)


class Protocols(unittest.TestCase):
    def speakers(self, protocol):
        known = proxies.known_proxies("socku", "release", "static")
        return {proxy.name for proxy in known if proxy.speaks(protocol)}

    def test_socks5_is_measured_with_every_proxy_that_speaks_it(self):
        both = {"socku", "socku-copy", "socku-static", "tokio", "tokio-again", "tokio-multi",
                "dante"}
        self.assertEqual(self.speakers(SOCKS5), both | {"microsocks"})
        self.assertEqual(self.speakers(PIPELINED), both)

    def test_a_scenario_without_a_protocol_is_for_all(self):
        self.assertLessEqual({"socku", "microsocks", "nginx", "floor"}, self.speakers(None))


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
