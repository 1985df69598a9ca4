"""Tables, documents and pictures."""

import contextlib
import importlib.machinery
import importlib.util
import io
import re
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

from comparison import options, plot, report, table
from comparison.figures import FIGURES
from comparison.proxies import known_proxies
from comparison.results import AGAIN, REFERENCE, Results, Spread

ROOT = Path(__file__).resolve().parents[2]
PROXIES = known_proxies("socku", "release", "static")
NAMES = [proxy.name for proxy in PROXIES]
MEASURED = [("commit", "0123456789ab"), ("date", "2026-01-02 03:04 UTC"), ("kernel", "Linux 6"),
            ("rounds", "3 rounds")]


def made_up(skipped=None):
    """A value for every figure, proxy and round; `skipped` (a proxy) misses the last round."""
    results = Results()
    values = {}
    for figure in FIGURES:
        for name in filter(None, (figure.value, figure.floor_value)):
            values.setdefault(figure.scenario, set()).add(name)
    for scenario, names in values.items():
        for at, proxy in enumerate(NAMES, 1):
            for round_ in range(3):
                if proxy == skipped and round_ == 2:
                    continue
                value = 1 if proxy in (REFERENCE, AGAIN) else at * (10 if round_ == 2 else 1)
                results.add(scenario, proxy, round_, dict.fromkeys(names, value))
    return results


def row(text, title):
    """The cells of the row with this title."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {title} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def overlap(one, other):
    """Whether two boxes (left, top, right, bottom) share more than an edge."""
    return (one[0] < other[2] and other[0] < one[2]
            and one[1] < other[3] and other[1] < one[3])


class Tables(unittest.TestCase):
    def test_all_columns_of_a_row_leave_out_the_round_that_one_of_them_skipped(self):
        whole = row(table.ratios(made_up(), FIGURES, NAMES), "CPU per short session")
        short = row(table.ratios(made_up("dante"), FIGURES, NAMES), "CPU per short session")
        self.assertEqual((whole[1], short[1]), ("3", "2"))
        self.assertEqual(whole[2], "1.00 (1.00 to 10.00)")
        self.assertEqual(short[2], "1.00 (1.00 to 1.00)")

    def test_a_round_skipped_by_a_peer_still_counts_for_socku_beside_the_twin(self):
        text = table.targets(made_up("dante"), FIGURES)
        self.assertEqual(row(text, "CPU per short session [us]")[-1], "0 of 3")

    def test_the_targets_show_the_noise_beside_the_ratio(self):
        cells = row(table.targets(made_up(), FIGURES), "CPU per short session [us]")
        self.assertEqual(cells[4:6], ["1.00 (1.00 to 10.00)", "1.00 (1.00 to 1.00)"])

    def test_waits_are_among_the_targets_without_a_target_of_their_own(self):
        cells = row(table.targets(made_up(), FIGURES), "waits (epoll_wait) per short session")
        self.assertEqual((cells[1], cells[-1]), ("-", "-"))

    def test_a_headline_is_a_range(self):
        cells = row(table.headline(made_up(), FIGURES), "CPU per short session")
        self.assertEqual(cells[1:], ["1.00 to 10.00", "1.00"])

    def test_a_single_run_is_called_one(self):
        results = Results()
        for proxy in ("socku", REFERENCE, AGAIN):
            results.add("short", proxy, 0, {"cpu_per_unit": 1})
        cells = row(table.headline(results, FIGURES), "CPU per short session")
        self.assertEqual(cells[1], "1.00 (one run)")

    def test_nothing_measured_is_shown_as_such(self):
        cells = row(table.headline(Results(), FIGURES), "CPU per short session")
        self.assertEqual(cells[1:], ["not measured", "not measured"])
        cells = row(table.targets(Results(), FIGURES), "CPU per short session [us]")
        self.assertEqual(cells[2:], ["-", "-", "-", "-", "not measured"])

    def test_a_figure_without_a_target_that_was_not_measured_has_no_line_among_the_targets(self):
        self.assertNotIn("round trip p50", table.targets(Results(), FIGURES))

    def test_numbers_have_three_digits(self):
        for value, text in ((0, "0"), (0.12345, "0.123"), (12345.6, "12,346"), (1e-5, "0.000010")):
            self.assertEqual(table.number(value), text)

    def test_failures_stand_below_the_tables(self):
        results = made_up()
        results.fail("short", "dante", 1, "refused")
        self.assertIn("- dante, short, round 1: refused",
                      report.tables(results, NAMES, MEASURED))

    def test_commit_date_and_kernel_stand_above_the_tables(self):
        self.assertIn("| commit | 0123456789ab |", report.tables(made_up(), NAMES, MEASURED))

    def test_the_document_has_the_headlines_before_the_tables(self):
        document = report.document(made_up(), NAMES, MEASURED)
        headlines, tables = table.headline(made_up(), FIGURES), report.tables(made_up(), NAMES, MEASURED)
        self.assertLess(document.index(headlines), document.index(tables))


class Documents(unittest.TestCase):
    def test_only_the_text_between_the_markers_changes(self):
        old = f"before\n{report.BEGIN}\n\nold\n\n{report.END}\nafter\n"
        new = report.put_between_markers(old, "new")
        self.assertEqual(new, old.replace("old", "new"))

    def test_a_document_without_markers_is_an_error(self):
        with self.assertRaises(ValueError):
            report.put_between_markers("text", "new")

    def test_the_document_has_its_markers(self):
        report.put_between_markers((ROOT / "docs/performance.md").read_text(), "")


def compare():
    """bench/compare itself, as a module."""
    loader = importlib.machinery.SourceFileLoader("compare", str(ROOT / "bench" / "compare"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
    loader.exec_module(module)
    return module


class Rounds(unittest.TestCase):
    """The part of bench/compare that runs the timed scenarios, without a real load."""

    def ran(self, *arguments):
        """The runs, as pairs of proxy and protocol."""
        asked = options.parse(arguments, "", "results.json")
        runs = []

        class Load:
            def run(self, running, mode, options, protocol):
                runs.append((running.proxy.name, protocol))
                return {}

        comparison = compare().Comparison(asked, PROXIES, Load(), (0, 0), None)
        comparison.start = lambda proxy: SimpleNamespace(proxy=proxy, stop=lambda: None)
        with contextlib.redirect_stderr(io.StringIO()):
            comparison.measure_rounds()
        return runs

    def test_a_scenario_by_socks5_leaves_out_what_does_not_speak_it(self):
        runs = self.ran("--scenarios", "short-socks5-pipelined", "--rounds", "1")
        self.assertEqual({protocol for _, protocol in runs}, {"socks5-pipelined"})
        names = {name for name, _ in runs}
        self.assertLessEqual({"socku", "tokio", "dante"}, names)
        self.assertTrue(names.isdisjoint({"microsocks", "haproxy", "nginx", "floor"}))

    def test_another_scenario_takes_every_proxy_by_its_own_protocol(self):
        runs = self.ran("--scenarios", "short", "--rounds", "1")
        self.assertEqual(sorted(runs), sorted((name, None) for name in NAMES))

    def test_there_is_no_round_without_a_timed_scenario(self):
        self.assertEqual(self.ran("--scenarios", "calls"), [])


class Writing(unittest.TestCase):
    """The part of bench/compare itself that touches the document, on a copy of it."""

    def setUp(self):
        self.compare = compare()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.document = self.directory / "performance.md"
        self.document.write_text((ROOT / "docs/performance.md").read_text())
        self.compare.PERFORMANCE = self.document
        self.compare.IMAGES = self.directory / "img"

    def test_a_whole_run_renews_the_document_and_both_pictures(self):
        self.compare.check_markers()
        self.compare.write_documents(made_up(), PROXIES, NAMES, MEASURED)
        self.assertIn("0123456789ab", self.document.read_text())
        pictures = sorted(path.name for path in self.compare.IMAGES.iterdir())
        self.assertEqual(pictures, ["bench-peers.svg", "bench-socku.svg"])

    def test_missing_markers_are_found_before_anything_is_measured(self):
        self.document.write_text("no markers\n")
        with self.assertRaises(SystemExit):
            self.compare.check_markers()


class Pictures(unittest.TestCase):
    def pictures(self):
        return dict(report.pictures(made_up(), PROXIES))

    def texts(self, svg):
        """Each text with its box, as a wide font draws it."""
        sizes = {"title": plot.LARGE, "heading": plot.NORMAL, None: plot.SMALL}
        for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
            size = sizes[node.get("class")]
            width = len(node.text) * size * plot.LETTER_WIDTH
            share = {"start": 0, "middle": 0.5, "end": 1}[node.get("text-anchor")]
            left, base = float(node.get("x")) - width * share, float(node.get("y"))
            yield node.text, (left, base - size * 0.8, left + width, base + size * 0.2)

    def shapes(self, svg):
        """The box of each bar, arrow and line; the card and the strips below headings are
        background."""
        for node in ElementTree.fromstring(svg).iter():
            kind, get = node.tag.rpartition("}")[2], lambda name: float(node.get(name))
            if kind == "rect" and node.get("class") != "card":
                yield (get("x"), get("y"), get("x") + get("width"), get("y") + get("height"))
            elif kind == "line":
                yield (get("x1"), get("y1"), get("x2"), get("y2"))
            elif kind == "path":
                points = [tuple(map(float, point.split()))
                          for point in re.split("[MLz]", node.get("d")) if point]
                (xs, ys) = zip(*points)
                yield (min(xs), min(ys), max(xs), max(ys))

    def test_no_label_touches_another_or_a_shape_or_leaves_the_card(self):
        for name, svg in self.pictures().items():
            height = int(re.search(r' height="(\d+)"', svg).group(1))
            taken = [("shape", box) for box in self.shapes(svg)
                     # The grid runs through the strips of headings, which hide it.
                     if box[3] - box[1] < height / 2]
            for text, box in self.texts(svg):
                self.assertTrue(box[0] >= 4 and box[2] <= plot.WIDTH - 4 and box[3] < height,
                                f"{name}: {text}")
                for other, taken_box in taken:
                    self.assertFalse(overlap(box, taken_box), f"{name}: {text} / {other}")
                taken.append((text, box))

    def test_the_picture_of_the_peers_has_socku_and_every_peer(self):
        svg = self.pictures()["bench-peers.svg"]
        for name in ("socku", "dante", "microsocks", "haproxy", "haproxy-splice", "nginx"):
            self.assertIn(f">{name}</text>", svg)

    def test_the_picture_of_socku_shows_the_noise(self):
        self.assertIn(f">{AGAIN}</text>", self.pictures()["bench-socku.svg"])

    def test_bars_of_a_group_are_over_the_rounds_they_have_in_common(self):
        svg = dict(report.pictures(made_up("dante"), PROXIES))["bench-peers.svg"]
        self.assertIn(">1.00</text>", svg)
        self.assertNotIn(">1.00 (1.00-10.0)</text>", svg)

    def test_a_bar_beyond_the_scale_has_an_arrow_and_its_figure(self):
        bar = plot.Bar("dante", "socks", Spread(18.06, 18.06, 18.06, 1))
        svg = plot.ratio_chart("title", [], [plot.Group("memory", None, [bar])])
        self.assertIn("<path", svg)
        self.assertIn(">18.1</text>", svg)

    def test_nothing_measured_is_no_picture(self):
        self.assertEqual([svg for _, svg in report.pictures(Results(), PROXIES)], [None, None])


if __name__ == "__main__":
    unittest.main()
