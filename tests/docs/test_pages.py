"""Tests of what is made of a page before anything is run.

    python3 -B -m unittest discover -s tests/docs
"""

import sys
import unittest
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[:2])

import claims  # noqa: E402
from command import bare, commands, is_background  # noqa: E402
from page import Block, blocks, indented  # noqa: E402
from reader import is_granted  # noqa: E402
from shown import difference, missing  # noqa: E402

PAGE = """\
# Title

<!-- hidden: true -->
<!-- serves: 127.0.0.1:1 -->
```sh
socku
```

- item

  <!-- file: /tmp/x -->
  ```ini
  [Unit]
    a
  ```

```text
shown
```
<!-- prints: word -->
"""


def block(kind, *lines, language="sh", argument="", page="README.md"):
    return Block(page, 1, language, kind, argument, list(lines))


class Pages(unittest.TestCase):
    def test_each_block_has_the_comment_before_it(self):
        found = [(one.line, one.language, one.kind, one.argument, one.lines)
                 for one in blocks("p", PAGE)]
        self.assertEqual(found, [
            (3, "sh", "run", "", ["true"]),
            (5, "sh", "serves", "127.0.0.1:1", ["socku"]),
            (12, "ini", "file", "/tmp/x", ["[Unit]", "  a"]),
            (17, "text", "", "", ["shown"]),
            (20, "text", "output", "", ["...word..."]),
        ])

    def test_a_session_is_expected_after_its_commands(self):
        found = blocks("p", '<!-- run -->\n```sh\ncurl\n```\n<!-- session: proto=5 user="" -->\n')
        self.assertEqual([(one.kind, one.argument) for one in found],
                         [("run", ""), ("session", 'proto=5 user=""')])

    def test_a_session_has_all_fields_and_was_granted(self):
        line = 'id=1 proto=4 user="bob" target=192.0.2.80:80 reply=90'.split()
        self.assertTrue(is_granted(line, ["proto=4", 'user="bob"']))
        self.assertFalse(is_granted(line, ["proto=4", 'user=""']))
        self.assertFalse(is_granted([*line[:-1], "reply=91"], ["proto=4"]))

    def test_a_comment_before_other_text_counts_for_no_block(self):
        self.assertEqual(blocks("p", "<!-- run -->\n\n```sh\ntrue\n```\n")[0].kind, "")

    def test_a_block_without_a_fence_is_found(self):
        self.assertEqual(list(indented("text\n\n    code\n\n- item\n\n    more\n")), [3])


class Commands(unittest.TestCase):
    def texts(self, *lines, language="sh"):
        return [(one.line, one.text) for one in commands(block("run", *lines, language=language))]

    def test_a_command_ends_where_a_shell_would_run_it(self):
        self.assertEqual(self.texts("a \\", "  b", "# why", "cat <<'END'", "c", "END",
                                    "for x in 1; do", "  d", "done"),
                         [(2, "a \\\n  b"), (5, "cat <<'END'\nc\nEND"),
                          (8, "for x in 1; do\n  d\ndone")])

    def test_a_prompt_begins_a_command_and_its_output_follows(self):
        found = commands(block("run", "$ a", "one", "two", "$ b", language="console"))
        self.assertEqual([(one.text, one.shown) for one in found],
                         [("a", ["one", "two"]), ("b", [])])

    def test_a_comment_is_no_part_of_a_command(self):
        self.assertEqual(bare("a b    # why\n# more"), "a b")

    def test_a_server_in_the_background_is_recognized(self):
        for text in ("a &", "a & b=$!", "a & sleep 1", "a &   # why"):
            self.assertTrue(is_background(text), text)
        for text in ("a", "a && b", "a >&2", "a 2>&1"):
            self.assertFalse(is_background(text), text)


class Shown(unittest.TestCase):
    def test_times_ports_and_counts_may_differ_and_nothing_else(self):
        line = "[2026-11-30T08:00:00Z INFO] id=1 client=127.0.0.1:51234 rule=2 up=3 ms=4"
        other = "[2027-01-01T00:00:00Z INFO] id=7 client=127.0.0.1:40000 rule=2 up=9 ms=0"
        self.assertIsNone(difference([line], [other]))
        for part, changed in (("127.0.0.1:40000", "127.0.0.1:80"), ("rule=2", "rule=3")):
            self.assertIsNotNone(difference([line], [other.replace(part, changed)]))

    def test_every_line_counts_unless_dots_say_otherwise(self):
        self.assertIn("nothing more is printed", difference(["a", "b"], ["a"]))
        self.assertIn("does not show `b`", difference(["a"], ["a", "b"]))
        self.assertIsNone(difference(["a", "..."], ["a", "b", "c"]))
        self.assertIsNone(difference(["a ... c"], ["a b c"]))

    def test_lines_of_the_background_are_found_among_others(self):
        self.assertIsNone(missing(["b"], ["a", "b"]))
        self.assertEqual(missing(["b", "d"], ["a", "b"]), "d")


class Claims(unittest.TestCase):
    def test_what_is_not_claimed_or_not_so_is_an_error(self):
        for one, words in (
            (block("", "true"), "has commands"),
            (block("output", "true"), "has commands"),
            (block("", language=""), "has no language"),
            (block("", language="ini"), "needs a comment"),
            (block("not run", "true"), "expected a reason"),
            (block("run by", "cargo tset", argument=".ci/run"), "has no line `cargo tset`"),
            (block("part of", "x", language="text", argument="socks.conf"), "other lines than"),
            (block("", language="yaml", page="docs/none.md"), "is not read by tests/status/run"),
            (block("run", "true", argument="systemd", page="docs/none.md"),
             "is not read by tests/systemd/inside"),
            (block("run", "true", argument="deb", page="docs/none.md"),
             "is not read by tests/deb/inside"),
            (block("run", "true", argument="rpm"), "expected one of systemd, deb"),
            (block("read by", "true", argument="src/lib.rs"), "is not read by src/lib.rs"),
        ):
            self.assertIn(words, claims.of_block(one) or "", one)

    def test_what_is_claimed_and_so_is_none(self):
        for one in (block("run", "true"), block("run by", "cargo test   # all", argument=".ci/run"),
                    block("part of", "permit c *", "permit b *", language="text",
                          argument="socks.conf"), block("", language="conf")):
            self.assertIsNone(claims.of_block(one), one)

    def test_a_link_to_a_heading_that_is_not_there_is_an_error(self):
        text = "# A title: -t\n[a](#a-title--t) [b](#b) [c](docs/rules.md#grammar)\n"
        found = list(claims.of_page("README.md", text))
        self.assertEqual(found, ["README.md: no heading for the link to #b"])


if __name__ == "__main__":
    unittest.main()
