"""Every error that budbreak raises, each with the value, the rule and the nearest fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BudbreakError(Exception):
    """The base of every error of this library: catch it to catch them all.

    Args:
        value: what was received, in words that contain the value itself.
        rule: what would have been right.
        fix: the nearest thing to do about it; empty if there is none.
    """

    def __init__(self, value: str, rule: str, fix: str = "") -> None:
        self.value, self.rule, self.fix = printable(value), printable(rule), printable(fix)
        super().__init__(self.value, self.rule, self.fix)

    def __str__(self) -> str:
        """Three lines; spelt out because KeyError and OSError print their arguments otherwise."""
        return "\n".join(line for line in (self.value, self.rule, self.fix) if line)

    def __reduce__(self) -> tuple[type[BudbreakError], tuple[str, str, str]]:
        """Cross process boundaries whole: pickle would call the class with the joined text."""
        return type(self), (self.value, self.rule, self.fix)


class InvalidValue(BudbreakError, ValueError):
    """An argument or a field lies outside its range."""


class Unreached(InvalidValue):
    """Weights are to be scored by what was seen of them, and nothing was; or no path leads to a class.

    Nothing was seen of a weight: no batch reaches it. A class is to stay connected: nothing alive leads there.
    """


class TooManySpared(InvalidValue):
    """More weights are spared by their scores than may stay."""


class UnknownName(BudbreakError, KeyError):
    """A name matches nothing; the message holds the nearest one that does."""


class MissingEvidence(BudbreakError, LookupError):
    """A criterion or diagnostic asked for what no probe collected."""


class NoSites(MissingEvidence):
    """Dead units have no answer here: no activation was observed, or none that gives exact zeros."""


class CannotTrace(BudbreakError, RuntimeError):
    """A model runs, but how it is wired cannot be seen."""


class EmptyBatches(BudbreakError, ValueError):
    """An iterable of batches yielded nothing, or nothing any more."""


class NothingToPrune(BudbreakError, ValueError):
    """No parameter of the model is prunable."""


class NotFinite(BudbreakError, ArithmeticError):
    """A score, loss or weight is NaN or infinite where a finite number is needed."""


class MaskMismatch(BudbreakError, ValueError):
    """A mask, snapshot or checkpoint belongs to another architecture."""


class ForeignParameter(BudbreakError, ValueError):
    """The optimizer does not hold the parameters of the model."""


class MissingReset(BudbreakError, ValueError):
    """Something that changes during training was not given to ``resets``."""


class StoreMismatch(BudbreakError, ValueError):
    """A store on disk was written by another plan, model or optimizer."""


class StoreBusy(BudbreakError, RuntimeError):
    """Another living process writes to the same store."""


class CorruptFile(BudbreakError, ValueError):
    """A file is truncated, was changed, or is not what it should be."""


class CannotWrite(BudbreakError, OSError):
    """A file could not be written; what was there before is untouched."""


class CannotRead(BudbreakError, OSError):
    """A file is there, but the system does not let us read it, or it is no file."""


class MissingData(BudbreakError, FileNotFoundError):
    """A data directory lacks the files of the data set."""


class DownloadFailed(BudbreakError, OSError):
    """A download ended without the official file."""


class InvariantBroken(BudbreakError, AssertionError):
    """Something that must hold in every run does not: the result cannot be trusted."""


class LayerCollapsed(InvariantBroken):
    """A layer lost all its weights: no signal passes through it any more."""


class RanksDisagree(BudbreakError, RuntimeError):
    """Processes that prune one network together have other weights, masks, plans or steps."""


class RankFailed(BudbreakError, RuntimeError):
    """Another process of the group failed, or has gone."""


class ContractBroken(BudbreakError, AssertionError):
    """A plug-in does not do what its kind promises; raised by `budbreak.testing`."""


def printable(text: str) -> str:
    r"""The text as it may stand in a message: long lines shortened, control characters spelt out.

    Messages quote what files, servers and command lines hold: 70,000 characters of it help nobody, and an escape
    sequence would act on the terminal.

    >>> printable("\x1b[2J at last")
    '\\x1b[2J at last'
    """
    return spelt("\n".join(map(_clip, text.split("\n"))))


def spelt(text: str) -> str:
    r"""The text with its control characters spelt out, but for tabs and ends of lines.

    >>> spelt("\x1b[2J at last")
    '\\x1b[2J at last'
    """
    return "".join(c if c.isprintable() or c in "\t\n" else repr(c)[1:-1] for c in text)


def _clip(line: str) -> str:
    longest, ends = 600, 280
    if len(line) <= longest:
        return line
    return f"{line[:ends]} ... ({len(line) - 2 * ends} characters left out) ... {line[-ends:]}"


class UncoveredWeights(UserWarning):
    """A tenth or more of a model's weights stays dense, and nobody said that it should."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question; empty when none is near: the rule lists the choices, by `one_of`.

    >>> did_you_mean("fc9.weight", ["fc1.weight", "conv.weight"])
    "did you mean 'fc1.weight'?"
    """
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near is not None else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like another one, whatever the case of its letters; None when none is near.

    The only one that begins with it comes first, if it has three letters at least.

    >>> nearest("wanda", ["Magnitude", "Wanda"]), nearest("late", ["tpe", "late-acceptance"])
    ('Wanda', 'late-acceptance')
    """
    names = list(known)
    begun = [known for known in names if len(name) > 2 and known.lower().startswith(name.lower())]
    if len(begun) == 1:
        return begun[0]
    lower = {known.lower(): known for known in reversed(names)}
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    near += [lower[match] for match in difflib.get_close_matches(name.lower(), lower, 1, cutoff=0.5)]
    return near[0] if near else None


def one_of(known: Iterable[str], *, most: int = 12) -> str:
    """The rule for a name that must be one of some, of which up to ``most`` are listed.

    >>> one_of(["lite", "pro"])
    "it is one of 'lite', 'pro'"
    """
    options = [repr(option) for option in known]
    if len(options) < 2:
        return f"it is {options[0]}" if options else "there is none"
    more = f" and {len(options) - most} more" if len(options) > most else ""
    return f"it is one of {', '.join(options[:most])}{more}"
