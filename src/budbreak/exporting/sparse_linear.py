"""A linear layer that multiplies by its living weights alone: compressed sparse rows, for inference on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class SparseLinear(nn.Module):
    """y = x W^T + b with W in compressed sparse rows (CSR).

    It gives what the dense layer gives, but for the order of sums, for infinite inputs (what is zero in W does not look
    at them), and for the memory format: several rows come transposed, for copying them would take a third of the time.
    It learns nothing. Indices are 32-bit, as the kernels want them: 64-bit ones are converted in each call.

    Args:
        linear: which stays as it is; its weights are copied.
    """

    indptr: Tensor
    columns: Tensor
    values: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        with warnings.catch_warnings():  # torch calls its sparse rows a beta, once a process
            warnings.simplefilter("ignore", UserWarning)
            rows = linear.weight.detach().to_sparse_csr()
        self.register_buffer("indptr", rows.crow_indices().to(torch.int32))
        self.register_buffer("columns", rows.col_indices().to(torch.int32))
        self.register_buffer("values", rows.values().clone())
        self.register_buffer("bias", linear.bias.detach().clone() if isinstance(linear.bias, Tensor) else None)  # pyright: ignore[reportUnnecessaryIsInstance]
        self.train(linear.training)
        self._join()

    def _join(self) -> None:
        """The matrix over the buffers' own memory, made once: that takes as long as a small product does."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            shape = self.out_features, self.in_features
            self._weight = torch.sparse_csr_tensor(self.indptr, self.columns, self.values, shape)
        # as plain attributes: a buffer is found by nn.Module.__getattr__, which is slow
        self._bias = self.values.new_zeros(self.out_features) if self.bias is None else self.bias
        self._column = self._bias[:, None]

    def forward(self, input: Tensor) -> Tensor:
        """Outputs [..., out_features] for inputs [..., in_features]."""
        if input.dim() != 2:
            rows = self.forward(input.reshape(-1, self.in_features))
            return rows.reshape(*input.shape[:-1], self.out_features)
        if input.shape[0] == 1:
            return torch.addmv(self._bias, self._weight, input.reshape(-1)).unsqueeze(0)
        return torch.addmm(self._column, self._weight, input.t()).t()

    def dense(self) -> nn.Linear:
        """A layer of torch that gives the same."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        layer.weight = nn.Parameter(self._weight.to_dense())
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.clone())
        return layer.train(self.training)

    def extra_repr(self) -> str:
        """As `torch.nn.Linear` says it, with what is left of the weights."""
        weights = self.in_features * self.out_features
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, weights={len(self.values)} of {weights}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SparseLinear:
        super()._apply(fn, recurse)
        self._join()  # other dtypes and devices are other memory
        return self

    def __getstate__(self) -> dict[str, Any]:
        joined = ("_weight", "_bias", "_column")
        return {name: value for name, value in self.__dict__.items() if name not in joined}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._join()
