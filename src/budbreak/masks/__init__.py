"""Which weights stay: masks, scores, what is prunable, what goes as one, and the exact selection."""

from budbreak.masks.allocations import ERK, Allocation, InOrder, Uniform
from budbreak.masks.blocks import Block
from budbreak.masks.choices import ALLOCATIONS, GRANULARITIES, SCOPES, check_choices
from budbreak.masks.contest import Contest, Scope
from budbreak.masks.copying import copied
from budbreak.masks.counts import check_collapse, sparsity_of, survivors
from budbreak.masks.coverage import Coverage, coverage
from budbreak.masks.floors import check_floor
from budbreak.masks.granularity import Element, Granularity, Unit, count_removable, has_budget
from budbreak.masks.mask import Mask, check_mask
from budbreak.masks.parametrized import parameters_with_layers
from budbreak.masks.path import exponential_path
from budbreak.masks.patterns import NM
from budbreak.masks.prunable import (
    Prunable,
    check_prunable,
    conv_and_linear,
    every_weight,
    excluding,
    including,
    parameters_named,
    prunable_parameters,
    unwrap,
    warn_of_uncovered,
)
from budbreak.masks.quotas import Quotas, Room, check_exchangeable
from budbreak.masks.scopes import Global, Layer, Rows
from budbreak.masks.scores import Score, Scores, ScoreSlice
from budbreak.masks.selection import competing, reselect, select
from budbreak.masks.shares import ShareScore
from budbreak.masks.sparing import Asked, kept_in_any_case, spared_among, sparing, sparing_weights
from budbreak.masks.targets import check_rounds, check_targets, keeps_one_number
from budbreak.masks.unfolding import Unfolding, unfolding_of
from budbreak.masks.units import UnitLayout, output_layout
from budbreak.masks.zeroing import bits, factor_for, zero_pruned

__all__ = [
    "ALLOCATIONS",
    "ERK",
    "GRANULARITIES",
    "NM",
    "SCOPES",
    "Allocation",
    "Asked",
    "Block",
    "Contest",
    "Coverage",
    "Element",
    "Global",
    "Granularity",
    "InOrder",
    "Layer",
    "Mask",
    "Prunable",
    "Quotas",
    "Room",
    "Rows",
    "Scope",
    "Score",
    "ScoreSlice",
    "Scores",
    "ShareScore",
    "Unfolding",
    "Uniform",
    "Unit",
    "UnitLayout",
    "bits",
    "check_choices",
    "check_collapse",
    "check_exchangeable",
    "check_floor",
    "check_mask",
    "check_prunable",
    "check_rounds",
    "check_targets",
    "competing",
    "conv_and_linear",
    "copied",
    "count_removable",
    "coverage",
    "every_weight",
    "excluding",
    "exponential_path",
    "factor_for",
    "has_budget",
    "including",
    "keeps_one_number",
    "kept_in_any_case",
    "output_layout",
    "parameters_named",
    "parameters_with_layers",
    "prunable_parameters",
    "reselect",
    "select",
    "spared_among",
    "sparing",
    "sparing_weights",
    "sparsity_of",
    "survivors",
    "unfolding_of",
    "unwrap",
    "warn_of_uncovered",
    "zero_pruned",
]
