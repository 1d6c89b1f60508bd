"""Commands as the tests give them."""

from collections.abc import Sequence

PLAIN = ("--recipe", "plain")


def plain(arguments: Sequence[object]) -> list[str]:
    """Return a command's arguments, and for a training that names no recipe the plain one.

    Most tests are about something else than what a recipe does.

    Examples
    --------
    >>> plain(["train", "iris"])
    ['train', 'iris', '--recipe', 'plain']
    >>> plain(["train", "iris", "--recipe", "auto"]), plain(["train", "--resume", "run"])
    (['train', 'iris', '--recipe', 'auto'], ['train', '--resume', 'run'])
    """
    texts = list(map(str, arguments))
    if texts[:1] != ["train"] or "--recipe" in texts or "--resume" in texts:
        return texts
    return [*texts, *PLAIN]
