"""What passed and what failed: a line for each check, and a last one with their numbers."""

import os
import time
import traceback

from .failure import Failure


class Report:
    """Counts what passed, failed and was skipped. A quiet one shows no lines for what passed."""

    def __init__(self, is_quiet=False):
        self._is_quiet = is_quiet
        self.passed = self.failed = self.skipped = 0

    def attempt(self, name, check, *arguments):
        """Runs a check, which raises where something is wrong; whether it passed."""
        started = time.monotonic()
        try:
            check(*arguments)
        except Exception as error:  # whatever it is, it is this check's failure
            # The text of a failure says it all; anything else is found by where it was raised.
            if not isinstance(error, Failure):
                traceback.print_exc()
            self.fail(name, str(error) or type(error).__name__)
            return False
        self.passed += 1
        if not self._is_quiet:
            print(f"passed  {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return True

    def fail(self, name, reason):
        self.failed += 1
        print(f"FAILED  {name}: {reason}", flush=True)

    def skip(self, name, reason):
        self.skipped += 1
        print(f"SKIPPED {name}: {reason}", flush=True)

    def lack(self, name, packages):
        """Packages are missing: the check is skipped, or has failed where everything has to run."""
        count = self.fail if os.environ.get("CI") else self.skip
        count(name, f"needs {' '.join(packages)}: .ci/prepare installs it")

    def finish(self):
        """Prints the numbers; the exit code for them."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}", flush=True)
        return 1 if self.failed else 0
