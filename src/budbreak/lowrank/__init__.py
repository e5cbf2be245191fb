"""Low rank: ranks and spectra of weights, penalties that lower them, and layers as products of thinner ones."""

from budbreak.lowrank.factorizing import factorize, reconstruct
from budbreak.lowrank.factors import METHODS, Factors, factors_of, rank_within
from budbreak.lowrank.layer_rank import NUMBERS, LayerRank, summed
from budbreak.lowrank.nuclear_norm import WeightedNuclearNorm
from budbreak.lowrank.penalties import singular_values
from budbreak.lowrank.ranks import Ranks, Spectra, matrix_text, ranks, ranks_of
from budbreak.lowrank.ratios import LayerRatio, Ratios, spectra_of, spectrum_ratios
from budbreak.lowrank.schatten import SchattenP
from budbreak.lowrank.shrinking import PENALTIES, Penalty, Shrinking
from budbreak.lowrank.splitting import SplitLayer
from budbreak.lowrank.tolerance import Tolerance

__all__ = [
    "METHODS",
    "NUMBERS",
    "PENALTIES",
    "Factors",
    "LayerRank",
    "LayerRatio",
    "Penalty",
    "Ranks",
    "Ratios",
    "SchattenP",
    "Shrinking",
    "Spectra",
    "SplitLayer",
    "Tolerance",
    "WeightedNuclearNorm",
    "factorize",
    "factors_of",
    "matrix_text",
    "rank_within",
    "ranks",
    "ranks_of",
    "reconstruct",
    "singular_values",
    "spectra_of",
    "spectrum_ratios",
    "summed",
]
