"""Rounds, ratios and ranges."""

import unittest

from comparison.figures import FIGURES, GROWTH, ONCE, SCENARIOS, Figure
from comparison.results import AGAIN, REFERENCE, Results, Spread, spread

COST = Figure("cost", "cost", "run", "cost", "us", ratio_target=0.9)
COUNT = Figure("count", "count", "run", "cost", "", value_target=4)
SCALED = Figure("scaled", "scaled", "run", "cost", "us", 1e6)


def results(**by_proxy):
    """Results of one scenario: a list for each proxy, with None for a round without a figure."""
    made = Results()
    for proxy, values in by_proxy.items():
        for round_, value in enumerate(values):
            if value is not None:
                made.add("run", proxy.replace("_", "-"), round_, {"cost": value})
    return made


class CommonRounds(unittest.TestCase):
    def test_a_round_in_which_one_program_failed_counts_for_neither_ratio(self):
        made = results(tokio=[1, 2, 4], socku=[1, 1, 1], dante=[2, None, 4])
        rounds = made.common_rounds(COST, ("tokio", "socku", "dante"))
        self.assertEqual(rounds, {"0", "2"})
        self.assertEqual(made.ratios(COST, "socku", rounds), [1, 0.25])
        self.assertEqual(made.ratios(COST, "dante", rounds), [2, 1])

    def test_a_round_that_a_peer_skips_counts_for_none(self):
        made = results(tokio=[1] * 5, socku=[1] * 5, dante=[1] * 3)
        self.assertEqual(len(made.common_rounds(COST, ("tokio", "socku", "dante"))), 3)

    def test_a_round_in_which_the_twin_failed_counts_for_none(self):
        made = results(tokio=[None, 1], socku=[1, 1])
        self.assertEqual(made.common_rounds(COST, ("tokio", "socku")), {"1"})

    def test_a_program_without_any_figure_takes_no_round_from_the_others(self):
        made = results(tokio=[1, 1], socku=[1, 1], dante=[None, None])
        self.assertEqual(made.common_rounds(COST, ("tokio", "socku", "dante")), {"0", "1"})

    def test_programs_that_never_met_have_no_round_in_common(self):
        made = results(tokio=[1, None], socku=[None, 1])
        self.assertEqual(made.common_rounds(COST, ("tokio", "socku")), set())
        self.assertIsNone(made.ratio(COST, "socku", set()))

    def test_a_median_is_taken_over_the_given_rounds_only(self):
        made = results(tokio=[1, 2, 9])
        self.assertEqual(made.summary(COST, "tokio", {"0", "1"}), Spread(1.5, 1, 2, 2))
        self.assertIsNone(made.summary(COST, "socku", {"0"}))


class Ratios(unittest.TestCase):
    def test_a_ratio_is_taken_within_its_round(self):
        made = results(tokio=[10, 100], socku=[5, 50])
        self.assertEqual(made.ratio(COST, "socku", {"0", "1"}), Spread(0.5, 0.5, 0.5, 2))

    def test_nothing_is_divided_by_a_twin_of_zero(self):
        made = results(tokio=[0, 2], socku=[1, 1])
        self.assertEqual(made.ratios(COST, "socku", {"0", "1"}), [0.5])

    def test_values_are_scaled(self):
        self.assertEqual(results(tokio=[2e-6]).values(SCALED, "tokio"), {"0": 2.0})

    def test_the_floor_gives_the_load_s_cpu_or_nothing(self):
        made = Results()
        made.add("run", "floor", 0, {"cpu_per_unit": 7, "load_cpu_per_unit": 3})
        with_value = Figure("a", "a", "run", "cpu_per_unit", "", floor_value="load_cpu_per_unit")
        without = Figure("b", "b", "run", "cpu_per_unit", "")
        self.assertEqual(made.values(with_value, "floor"), {"0": 3})
        self.assertEqual(made.values(without, "floor"), {})

    def test_a_spread_has_the_median_and_both_ends(self):
        self.assertEqual(spread([3, 1, 2]), Spread(2, 1, 3, 3))
        self.assertEqual(spread([1, 2]), Spread(1.5, 1, 2, 2))
        self.assertIsNone(spread([]))


class Verdicts(unittest.TestCase):
    def test_a_verdict_counts_the_rounds_that_reach_the_target(self):
        made = results(tokio=[10, 10, 10], socku=[9, 8, 10])
        self.assertEqual(made.verdict(COST, "socku", {"0", "1", "2"}), ("<= 0.90 x", 2, 3))
        self.assertEqual(made.verdict(COUNT, "socku", {"0"}), ("<= 4", 0, 1))

    def test_a_figure_that_was_not_measured_reaches_nothing(self):
        self.assertEqual(results().verdict(COST, "socku", set()), ("<= 0.90 x", 0, 0))

    def test_a_figure_without_a_target_has_no_verdict(self):
        self.assertIsNone(results().verdict(SCALED, "socku", set()))


class Figures(unittest.TestCase):
    def test_every_key_is_used_once(self):
        keys = [figure.key for figure in FIGURES]
        self.assertEqual(len(keys), len(set(keys)))

    def test_the_table_of_targets_has_calls_waits_cpu_and_latency(self):
        keys = {figure.key for figure in FIGURES if figure.in_targets}
        self.assertLessEqual({"calls", "waits", "cpu-short", "cpu-pingpong-100", "p50-pingpong-1",
                              "p50-pingpong-100", "p99-pingpong-1", "p99-pingpong-100"}, keys)

    def test_the_table_of_targets_has_socks5_idle_sessions_of_both_families_and_the_size(self):
        targets = {figure.key: figure.value_target for figure in FIGURES if figure.in_targets}
        self.assertLessEqual({"cpu-short-socks5", "cpu-short-socks5-pipelined", "calls-socks5",
                              "calls-socks5-pipelined", "waits-socks5", "waits-socks5-pipelined",
                              "binary"}, set(targets))
        for key, target in (("more-calls-socks5", 2), ("more-calls-socks5-pipelined", 2),
                            ("idle-memory", 512), ("idle-memory-socks5", 512),
                            ("idle-memory-ipv6", 512)):
            self.assertEqual(targets[key], target)

    def test_every_figure_is_of_a_scenario_that_is_run(self):
        run = {scenario.name for scenario in SCENARIOS} | set(ONCE) - {"growth"}
        run |= {f"growth-{level}" for level in GROWTH}
        self.assertEqual({figure.scenario for figure in FIGURES}, run)

    def test_the_noise_is_the_twin_beside_itself(self):
        self.assertEqual((REFERENCE, AGAIN), ("tokio", "tokio-again"))


if __name__ == "__main__":
    unittest.main()
