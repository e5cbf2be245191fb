"""What touches a live model: hold, snapshot and rewind, prune, measure."""

from budbreak.live.averages import check_averages, mask_averages
from budbreak.live.connecting import PATH_NEEDS, connect, find_paths
from budbreak.live.dead_units import dead_neurons
from budbreak.live.emptying import emptying
from budbreak.live.held import held
from budbreak.live.holding import Hold, apply_mask, check_zeros, hold
from budbreak.live.measuring import measure
from budbreak.live.modelstate import (
    check_fits,
    extra_states,
    load_state,
    model_digest,
    model_state,
    state_digest,
    transient_state,
)
from budbreak.live.norms import refreshed_norms
from budbreak.live.optimizers import groups_of, nested, optimizers_of, steppers, unwrap_optimizer
from budbreak.live.ownership import check_disjoint, check_own, check_ownership, held_by
from budbreak.live.pruning import prune
from budbreak.live.rewinding import Resettable, Snapshot, Stateful, TrainingState, check_resettable, rewind
from budbreak.live.surgery import check_any_site, replace_activations

__all__ = [
    "PATH_NEEDS",
    "Hold",
    "Resettable",
    "Snapshot",
    "Stateful",
    "TrainingState",
    "apply_mask",
    "check_any_site",
    "check_averages",
    "check_disjoint",
    "check_fits",
    "check_own",
    "check_ownership",
    "check_resettable",
    "check_zeros",
    "connect",
    "dead_neurons",
    "emptying",
    "extra_states",
    "find_paths",
    "groups_of",
    "held",
    "held_by",
    "hold",
    "load_state",
    "mask_averages",
    "measure",
    "model_digest",
    "model_state",
    "nested",
    "optimizers_of",
    "prune",
    "refreshed_norms",
    "replace_activations",
    "rewind",
    "state_digest",
    "steppers",
    "transient_state",
    "unwrap_optimizer",
]
