"""The command line of bench/compare."""

import argparse

from .figures import ONCE, SCENARIOS


def parse(arguments, description, results):
    """Reads the arguments; leaves the program when they make no sense."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="two minutes: fewer figures, peers "
                        "and rounds; writes nothing into the documents")
    parser.add_argument("--only", metavar="NAME,...", help="only these proxies (tokio, which "
                        "ratios refer to, is always measured)")
    parser.add_argument("--scenarios", metavar="NAME,...", help="only these scenarios: "
                        + ", ".join([*(s.name for s in SCENARIOS), *ONCE]))
    parser.add_argument("--rounds", type=int, help="rounds for socku, the twin and the floor")
    parser.add_argument("--peer-rounds", type=int, help="rounds for the others")
    parser.add_argument("--seconds", type=float, help="measured seconds of one run")
    parser.add_argument("--proxy-core", type=int, help="core of the proxy [the last one]")
    parser.add_argument("--load-core", type=int, help="core of clients and targets [the first]")
    parser.add_argument("--socku", metavar="DIR", help="directory of a built socku, instead of "
                        "building it")
    parser.add_argument("--static", metavar="FILE", help="a static build of socku to measure "
                        "beside the default one")
    parser.add_argument("--write", action="store_true", help="put tables and pictures into "
                        "docs/; only a whole run may")
    parser.add_argument("--output", metavar="FILE", default=results,
                        help="raw results [bench/results.json]")
    options = parser.parse_args(arguments)
    partial = [flag for flag, given in (("--quick", options.quick), ("--only", options.only),
                                        ("--scenarios", options.scenarios)) if given]
    if options.write and partial:
        parser.error(f"--write needs a whole run, without {', '.join(partial)}")
    known = {*(s.name for s in SCENARIOS), *ONCE}
    unknown = set(options.scenarios.split(",") if options.scenarios else ()) - known
    if unknown:
        parser.error(f"--scenarios: no such scenario: {', '.join(sorted(unknown))}")
    return options
