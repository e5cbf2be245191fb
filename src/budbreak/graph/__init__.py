"""How a live model is wired, seen while it runs: activation sites, their units and feeds, MACs."""

from budbreak.graph.breaks import said_nodes
from budbreak.graph.call import plain_name
from budbreak.graph.channels import Bundle, groups_of
from budbreak.graph.comparing import check_finite_outputs, example_outputs, largest_difference, too_far
from budbreak.graph.examples import call_example, count_samples
from budbreak.graph.feeding import (
    Batches,
    Forward,
    Loss,
    call_model,
    holds_samples,
    is_single,
    loss_of,
    outlined,
    outputs_of,
    target_of,
    to_device,
    with_tensors,
)
from budbreak.graph.groups import Group, Member
from budbreak.graph.hooking import Hooks
from budbreak.graph.kinds import multiplies
from budbreak.graph.layercalls import Entered, LayerCall
from budbreak.graph.links import Link, NormPassed
from budbreak.graph.listening import opened, unseen_by_modes
from budbreak.graph.macs import Macs, count_macs
from budbreak.graph.modelgraph import ModelGraph
from budbreak.graph.node import Kind, Node, replay
from budbreak.graph.nonlinearities import CLAMPS, MAXIMA, RECURRENT, may_be_activation
from budbreak.graph.nonlinearities import FUNCTIONS as ACTIVATION_FUNCTIONS
from budbreak.graph.parts import Axis, Part
from budbreak.graph.places import calling_line
from budbreak.graph.reachability import Reachability
from budbreak.graph.recorder import is_recorded
from budbreak.graph.site import Feed, Site
from budbreak.graph.tracing import trace, trace_entering
from budbreak.graph.tracking import tensors_of
from budbreak.graph.undisturbed import observing, recurrent_backward, requiring_grad, restored, undisturbed
from budbreak.graph.watching import SiteWatcher, as_written

__all__ = [
    "ACTIVATION_FUNCTIONS",
    "CLAMPS",
    "MAXIMA",
    "RECURRENT",
    "Axis",
    "Batches",
    "Bundle",
    "Entered",
    "Feed",
    "Forward",
    "Group",
    "Hooks",
    "Kind",
    "LayerCall",
    "Link",
    "Loss",
    "Macs",
    "Member",
    "ModelGraph",
    "Node",
    "NormPassed",
    "Part",
    "Reachability",
    "Site",
    "SiteWatcher",
    "as_written",
    "call_example",
    "call_model",
    "calling_line",
    "check_finite_outputs",
    "count_macs",
    "count_samples",
    "example_outputs",
    "groups_of",
    "holds_samples",
    "is_recorded",
    "is_single",
    "largest_difference",
    "loss_of",
    "may_be_activation",
    "multiplies",
    "observing",
    "opened",
    "outlined",
    "outputs_of",
    "plain_name",
    "recurrent_backward",
    "replay",
    "requiring_grad",
    "restored",
    "said_nodes",
    "target_of",
    "tensors_of",
    "to_device",
    "too_far",
    "trace",
    "trace_entering",
    "undisturbed",
    "unseen_by_modes",
    "with_tensors",
]
