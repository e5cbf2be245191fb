"""The papers' networks, by name; one row enrols a new one in the command and the tests."""

from budbreak.networks.factory import NETWORKS, build, check_init, check_network
from budbreak.networks.initialisation import INITIALISATIONS
from budbreak.networks.lenet import lenet_300_100, mlp
from budbreak.networks.resnet import resnet_20

__all__ = ["INITIALISATIONS", "NETWORKS", "build", "check_init", "check_network", "lenet_300_100", "mlp", "resnet_20"]
