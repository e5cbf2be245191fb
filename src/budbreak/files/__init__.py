"""Files that are whole or absent: JSON documents, trees of tensors, locks, checksums."""

from budbreak.files.documents import conform, read_json, write_json
from budbreak.files.staging import staging
from budbreak.files.storage import (
    FolderLock,
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
    "FolderLock",
    "as_stored",
    "cannot_read",
    "check_readable",
    "conform",
    "corrupt",
    "digest",
    "read_bytes",
    "read_json",
    "read_tree",
    "staging",
    "sweep",
    "tensor_bytes",
    "tree_digest",
    "write_bytes",
    "write_json",
    "write_text",
    "write_tree",
]
