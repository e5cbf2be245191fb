"""The safetensors files that `bb.export` writes, packed or plain: recognised, and read back without a pickle."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Generator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from budbreak.errors import BudbreakError, MissingData
from budbreak.files.packed_reader import Array, open_packed, unpack_tensors
from budbreak.files.storage import as_path, cannot_read, check_readable, corrupt

EXPORT_AGAIN = "export it again, or give a file that bb.export wrote as safetensors"
"""What helps against a file that is damaged, or is none of these."""

DTYPE_NAMES: Mapping[torch.dtype, str] = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
}
"""What the format calls each dtype that it knows."""

DTYPES: Mapping[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAMES.items()}
"""And the other way round."""

_LONGEST = 100_000_000  # bytes of a header of safetensors
_ODD = (ValueError, LookupError, TypeError, AttributeError, MemoryError, OverflowError, RecursionError, zlib.error)
"""What rows and notes of another form raise."""


def is_exported(path: str | Path) -> bool:
    """Whether a file is one of these, damaged or not; False if there is none, or it is any other."""
    try:
        with open(path, "rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST)))
        return "budbreak" in header["__metadata__"]
    except (OSError, *_ODD):
        return False


def read_exported(path: str | Path) -> dict[str, Tensor]:
    """The state_dict in a safetensors file, packed or plain, in the dtypes that it is stored in.

    Raises:
        MissingData: if there is no file.
        CannotRead: if it is none, or the system refuses.
        CorruptFile: if it was changed, is none of ours, or of a newer version.
    """
    path = as_path(path)
    with reading_exported(path):
        check_readable(path)
        return {name: tensor_of(*entry) for name, entry in unpack_tensors(*open_packed(path)).items()}


@contextlib.contextmanager
def reading_exported(path: Path) -> Generator[None, None, None]:
    """Errors of the reader, which stands alone, as ours; see `read_exported`."""
    try:
        yield
    except BudbreakError:
        raise
    except FileNotFoundError:
        raise MissingData(
            f"no file {path}", "what is loaded is a file that bb.export wrote", "check the path"
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from error
    except _ODD as error:
        why = str(error) if isinstance(error, ValueError) else f"a row is of another form ({error!r})"
        raise corrupt(path, why, EXPORT_AGAIN) from None


def tensor_of(dtype: str, bits: Array) -> Tensor:
    """A tensor from its dtype, as the format calls it, and its bits as unsigned integers."""
    tensor = torch.from_numpy(bits.copy())
    if dtype == "BOOL" and bits.size and bits.max() > 1:
        raise ValueError("it holds a bool that is neither 0 nor 1")
    return tensor.view(DTYPES[dtype])
