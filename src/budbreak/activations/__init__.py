"""Which nonlinearity? Each operator is one file; `ALL` enrols it everywhere."""

from budbreak.activations.acon import ACON
from budbreak.activations.activation import Activation, ActivationModule, Facts, Per
from budbreak.activations.elish import ELiSH
from budbreak.activations.elu import ELU
from budbreak.activations.evaluating import Scalar
from budbreak.activations.falu import FALU
from budbreak.activations.families import ALL, FAMILY, SPACES, space
from budbreak.activations.gelu import GELU
from budbreak.activations.groups import parameter_groups, scalar_parameters
from budbreak.activations.hardswish import Hardswish
from budbreak.activations.identity import Identity
from budbreak.activations.leaky_relu import LeakyReLU
from budbreak.activations.logsigmoid import LogSigmoid
from budbreak.activations.mish import Mish
from budbreak.activations.plan import ActivationPlan
from budbreak.activations.prelu import PReLU
from budbreak.activations.rational import Rational
from budbreak.activations.relu import ReLU
from budbreak.activations.relu6 import ReLU6
from budbreak.activations.scaled import Scaled
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

__all__ = [
    "ACON",
    "ALL",
    "ELU",
    "FALU",
    "FAMILY",
    "GELU",
    "SELU",
    "SPACES",
    "SRS",
    "Activation",
    "ActivationModule",
    "ActivationPlan",
    "ELiSH",
    "Facts",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "Per",
    "Rational",
    "ReLU",
    "ReLU6",
    "SReLU",
    "Scalar",
    "Scaled",
    "Sin",
    "Softplus",
    "SquaredReLU",
    "Swish",
    "Symexp",
    "Symlog",
    "Tanh",
    "TanhSoft1",
    "TanhSoft2",
    "parameter_groups",
    "scalar_parameters",
    "space",
]
