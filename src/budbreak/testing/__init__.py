"""For the tests of plug-ins: contracts to check, small networks and data to check them on."""

from budbreak.testing.activating import check_activation
from budbreak.testing.contracts import check_criterion, check_probe, check_schedule
from budbreak.testing.diagnosing import check_diagnostic
from budbreak.testing.observing import check_observer
from budbreak.testing.promises import check_value
from budbreak.testing.samples import sample_findings
from budbreak.testing.sampling import check_sampler, check_tuner
from budbreak.testing.toys import ResidualCNN, mlp, residual_cnn, separable, toy_evidence

__all__ = [
    "ResidualCNN",
    "check_activation",
    "check_criterion",
    "check_diagnostic",
    "check_observer",
    "check_probe",
    "check_sampler",
    "check_schedule",
    "check_tuner",
    "check_value",
    "mlp",
    "residual_cnn",
    "sample_findings",
    "separable",
    "toy_evidence",
]
