"""Files that are whole or absent: JSON documents, trees of tensors, locks, checksums."""

from budbreak.files.documents import conform, read_json, write_json
from budbreak.files.exported import (
    DTYPE_NAMES,
    DTYPES,
    EXPORT_AGAIN,
    is_exported,
    read_exported,
    reading_exported,
    tensor_of,
)
from budbreak.files.packed_reader import BITS, VERSION, Array, open_packed, unpack_tensors
from budbreak.files.staging import staging
from budbreak.files.storage import (
    FolderLock,
    as_path,
    cannot_read,
    check_readable,
    corrupt,
    digest,
    read_bytes,
    sweep,
    write_bytes,
    write_text,
)
from budbreak.files.trees import as_stored, read_tree, tensor_bytes, tree_digest, write_tree

__all__ = [
    "BITS",
    "DTYPES",
    "DTYPE_NAMES",
    "EXPORT_AGAIN",
    "VERSION",
    "Array",
    "FolderLock",
    "as_path",
    "as_stored",
    "cannot_read",
    "check_readable",
    "conform",
    "corrupt",
    "digest",
    "is_exported",
    "open_packed",
    "read_bytes",
    "read_exported",
    "read_json",
    "read_tree",
    "reading_exported",
    "staging",
    "sweep",
    "tensor_bytes",
    "tensor_of",
    "tree_digest",
    "unpack_tensors",
    "write_bytes",
    "write_json",
    "write_text",
    "write_tree",
]
