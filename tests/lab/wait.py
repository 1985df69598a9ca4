"""Waiting for something, with a deadline."""

import time

from .failure import TooLate

# Longer than anything that works takes, even on a busy machine.
DEADLINE_S = 30
PAUSE_S = 0.01


def wait_for(what, condition, deadline_s=DEADLINE_S, pause_s=PAUSE_S):
    """Calls `condition` until it gives something true; that. `what` names it in the failure: a
    text, or a function that gives one when the time is up."""
    until = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise TooLate(f"waited in vain for {what() if callable(what) else what}")
        time.sleep(pause_s)
