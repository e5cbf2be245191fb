"""One matrix as a product of two of low rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import check_count, check_known
from budbreak.errors import InvalidValue

METHODS = ("svd", "pca")


@dataclass(frozen=True)
class Factors:
    """``second @ first`` stands for a matrix [rows, columns].

    Args:
        first: [inner, columns], float64; what is multiplied with the input.
        second: [rows, inner].
    """

    first: Tensor
    second: Tensor

    @property
    def product(self) -> Tensor:
        """The matrix that they stand for: [rows, columns]."""
        return self.second @ self.first


def factors_of(matrix: Tensor, rank: int, method: str = "svd") -> Factors:
    """The factors of a matrix W [rows = units, columns = inputs].

    - "svd": W = U S V^T cut after ``rank``: first = S^(1/2) V^T, second = U S^(1/2); of all matrices of that rank the
      nearest in the Frobenius norm.
    - "pca": as activation-based pruning is compared with: inputs are samples, units features. With mu[unit] the mean
      over the inputs, it is mu 1^T + the same of W - mu 1^T: of rank up to ``rank`` + 1, and so are the factors, whose
      last row of first is ones, and last column of second mu.

    Args:
        matrix: any real dtype; computed in float64.
        rank: from 1 to min(rows, columns).
        method: "svd" or "pca".

    Raises:
        InvalidValue, UnknownName: for another rank or method.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048 (the comparison with PCA).
    """
    check_method(method)
    check_count("rank", rank)
    if matrix.is_complex():
        raise InvalidValue(f"the matrix is {matrix.dtype}", "factors are of real numbers", "leave this weight out")
    if rank > min(matrix.shape):
        rule = f"the full rank of this matrix is {min(matrix.shape)}"
        raise InvalidValue(f"rank is {rank}", rule, f"write {min(matrix.shape)} or less")
    whole = matrix.detach().double()
    mean = whole.mean(1, keepdim=True)
    left, values, right = torch.linalg.svd(whole - mean if method == "pca" else whole, full_matrices=False)
    root = values[:rank].sqrt()
    first, second = root.unsqueeze(1) * right[:rank], left[:, :rank] * root
    if method == "svd":
        return Factors(first, second)
    return Factors(torch.cat([first, torch.ones_like(first[:1])]), torch.cat([second, mean], 1))


def rank_within(rows: int, columns: int, parameters: int, *, method: str = "svd") -> int:
    """The largest rank whose factors hold at most so many weights.

    The factors of "svd" hold rank * (rows + columns), those of "pca" (rank + 1) * (rows + columns): its mean is one of
    them. So a weight of which a mask keeps k of rows * columns is compared at equal parameters by ``parameters=k``.

    >>> rank_within(300, 784, 47_040), rank_within(300, 784, 47_040, method="pca")
    (43, 42)

    Raises:
        InvalidValue: if not even rank 1 fits.
        UnknownName: for another method.
    """
    check_method(method)
    for name, number in (("rows", rows), ("columns", columns), ("parameters", parameters)):
        check_count(name, number)
    extra = int(method == "pca")
    rank = parameters // (rows + columns) - extra
    if rank < 1:
        least = (1 + extra) * (rows + columns)
        rule = f"the factors of a {rows}x{columns} matrix hold at least {least} by {method!r}"
        raise InvalidValue(f"parameters is {parameters}", rule, f"write {least}, or leave this weight dense")
    return min(rank, rows, columns)


def check_method(method: object) -> None:
    """Refuse what is no way to lower a rank.

    Raises:
        UnknownName: with the choices.
    """
    check_known(f"method is {method!r}", method, METHODS)
