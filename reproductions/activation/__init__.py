"""Activation-based pruning and what it does to rank, measured: docs/reproduction/activation_based_pruning.md."""
