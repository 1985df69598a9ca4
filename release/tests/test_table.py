"""What is written about sizes, and when it is wrong."""

import unittest

from static import table

MAIN = "x86_64-unknown-linux-musl"
DOCUMENT = f"""# Platforms

{table.BEGIN}

| target | bytes, fast | bytes, small | CPU to build both |
| --- | --- | --- | --- |
| {MAIN} | 1,000,000 | 340,000 | 200 s |
| armv7-unknown-linux-musleabihf | 900,000 | 400,000 | 200 s |

{table.END}

The end.
"""


class Table(unittest.TestCase):
    def faults(self, built):
        return list(table.faults(DOCUMENT, built, MAIN))

    def test_sizes_are_read_as_they_were_written(self):
        self.assertEqual(table.sizes(DOCUMENT), {
            MAIN: (1_000_000, 340_000), "armv7-unknown-linux-musleabihf": (900_000, 400_000)})

    def test_a_size_up_to_three_per_cent_off_is_right(self):
        self.assertEqual(self.faults({MAIN: (1_030_000, 329_800)}), [])

    def test_a_size_further_off_is_wrong_and_so_is_a_target_that_is_not_there(self):
        self.assertEqual(self.faults({MAIN: (1_030_001, 340_000), "s390x-unknown-linux-musl": (1, 0)}), [
            f"{MAIN}, fast: 1030001 bytes, docs/platforms.md says 1000000",
            "s390x-unknown-linux-musl, fast: 1 bytes, docs/platforms.md says 0"])

    def test_the_small_program_of_the_main_target_has_a_limit(self):
        document = DOCUMENT.replace("340,000", "358,401")
        at = {MAIN: (1_000_000, 358_400)}
        beyond = {MAIN: (1_000_000, 358_401)}
        self.assertEqual(list(table.faults(document, at, MAIN)), [])
        self.assertEqual(list(table.faults(document, beyond, MAIN)), [
            f"{MAIN}, small: 358401 bytes, expected at most 358400"])
        self.assertEqual(self.faults({"armv7-unknown-linux-musleabihf": (900_000, 400_000)}), [])

    def test_what_was_written_before_is_replaced_and_the_rest_stays(self):
        document = table.put_between_markers(DOCUMENT, "new")
        self.assertEqual(document, f"# Platforms\n\n{table.BEGIN}\n\nnew\n\n{table.END}\n\nThe end.\n")
        with self.assertRaises(ValueError):
            table.put_between_markers("# Platforms\n", "new")

    def test_a_feature_is_written_with_what_it_adds(self):
        self.assertIn("| `status` | 390,000 | +50,000 |", table.features(340_000, {"status": 390_000}))


if __name__ == "__main__":
    unittest.main()
