"""Recipes, run directories, and comparison with confidence intervals."""
