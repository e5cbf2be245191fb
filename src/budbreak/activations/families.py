"""All activations, their short names, and the spaces that a search draws from."""

from __future__ import annotations

from collections.abc import Mapping

from budbreak.activations.acon import ACON
from budbreak.activations.activation import Activation
from budbreak.activations.elish import ELiSH
from budbreak.activations.elu import ELU
from budbreak.activations.falu import FALU
from budbreak.activations.gelu import GELU
from budbreak.activations.hardswish import Hardswish
from budbreak.activations.identity import Identity
from budbreak.activations.leaky_relu import LeakyReLU
from budbreak.activations.logsigmoid import LogSigmoid
from budbreak.activations.mish import Mish
from budbreak.activations.prelu import PReLU
from budbreak.activations.rational import Rational
from budbreak.activations.relu import ReLU
from budbreak.activations.relu6 import ReLU6
from budbreak.activations.selu import SELU
from budbreak.activations.sin import Sin
from budbreak.activations.softplus import Softplus
from budbreak.activations.squared_relu import SquaredReLU
from budbreak.activations.srelu import SReLU
from budbreak.activations.srs import SRS
from budbreak.activations.swish import Swish
from budbreak.activations.symexp import Symexp
from budbreak.activations.symlog import Symlog
from budbreak.activations.tanh import Tanh
from budbreak.activations.tanhsoft1 import TanhSoft1
from budbreak.activations.tanhsoft2 import TanhSoft2
from budbreak.checks import check_known
from budbreak.values import Family

ALL: tuple[type[Activation], ...] = (
    ACON,
    ELiSH,
    ELU,
    FALU,
    GELU,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSigmoid,
    Mish,
    PReLU,
    Rational,
    ReLU,
    ReLU6,
    SELU,
    Sin,
    Softplus,
    SquaredReLU,
    SReLU,
    SRS,
    Swish,
    Symexp,
    Symlog,
    Tanh,
    TanhSoft1,
    TanhSoft2,
)

FAMILY: Family[Activation] = Family.of(
    "activation",
    ALL,
    needs=("facts", "formula", "module", "per", "scalars", "trainable"),
    names={
        "elish": ELiSH,
        "leaky-relu": LeakyReLU,
        "logsigmoid": LogSigmoid,
        "prelu": PReLU,
        "relu": ReLU,
        "relu6": ReLU6,
        "squared-relu": SquaredReLU,
        "srelu": SReLU,
        "tanhsoft-1": TanhSoft1,
        "tanhsoft-2": TanhSoft2,
    },
    example='"swish"',
    meant={
        "(?i)silu": '"swish"',
        "(?i)linear|none": '"identity"',
        "logsigmiod": '"logsigmoid"',
        "(?i)relu\\^?2|sq-?relu": '"squared-relu"',
        "(?i)l-?relu": '"leaky-relu"',
        "(?i)h-?swish": '"hardswish"',
        "(?i)tanh-?soft": '"tanhsoft-1"',
        "(?i)soft-?root-?sign": '"srs"',
        "(?i)pau|pade": '"rational"',
    },
)

_PLAIN = (
    ReLU6(), Hardswish(), Swish(), GELU(), ELU(), Tanh(), Softplus(), LogSigmoid(), Symlog(), Symexp(), TanhSoft1(),
    SRS(),
)  # fmt: skip

SPACES: Mapping[str, tuple[Activation, ...]] = {
    "paper": (*_PLAIN, ACON()),
    "official-code": (*_PLAIN, ACON(p1=1.0, p2=1.0)),
}
"""Name -> candidates for each site: the 13 of SAFS, with an ACON that works, and with that of its code."""


def space(name: str) -> tuple[Activation, ...]:
    """The candidates for each site, by the name of their space.

    Args:
        name: "paper": the 13 operators of SAFS, ACON started where it can learn; "official-code": the same with ACON as
            its code starts it, which stays linear for ever.

    Raises:
        UnknownName: with the nearest known name.

    >>> len(space("paper")), space("paper")[-1] == space("official-code")[-1]
    (13, False)
    """
    check_known(f"no space named {name!r}", name, SPACES)
    return SPACES[name]
