"""What is wrong."""


class Failure(Exception):
    """Something is not as it has to be; the text says what."""


class TooLate(Failure):
    """Something has taken longer than its deadline."""


def expect(is_so, what):
    """Raises where something is not so; `what` says how it is instead."""
    if not is_so:
        raise Failure(what)
