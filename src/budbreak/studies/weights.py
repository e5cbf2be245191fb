"""The weights of a finished task in a file that any tool reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from budbreak.errors import CorruptFile, MissingData
from budbreak.files import cannot_read, corrupt, is_exported, read_exported, write_bytes
from budbreak.iteration import Store
from budbreak.live import state_digest

WEIGHTS = "model.safetensors"


def save_weights(folder: Path, model: nn.Module, name: str = WEIGHTS) -> None:
    """Write the state dict of a network, its zeros in place, under its own names; extra state stays out."""
    from safetensors.torch import save

    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    # cloned: safetensors refuses tensors that share memory, as tied weights do
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(folder / name, save(state, {"format": "pt"}))


def check_weights(folder: Path) -> None:
    """Refuse weights that are not those of the newest checkpoint of a finished task.

    Raises:
        CorruptFile, StoreMismatch: with what to do about it.
    """
    store = Store(folder)
    store.look()
    stored = store.load_checkpoint()
    if stored is None or stored[1] != store.path("checkpoint"):
        return  # the last checkpoint was deleted: there is nothing to compare with
    path, checkpoint = folder / WEIGHTS, stored[0]
    again = "delete it: the same command writes it again from the checkpoint"
    try:
        state = read_state(path)
    except CorruptFile as error:
        raise CorruptFile(error.value, error.rule, again) from None
    ours = {name: tensor for name, tensor in checkpoint.model.items() if name in state}
    if not set(checkpoint.mask) <= set(ours) or state_digest(ours) != state_digest(state):
        raise corrupt(path, "it is not the network that this task ended with", again)


def read_state(path: Path) -> Mapping[str, Tensor]:
    """A state dict from a safetensors file: any, or one that `bb.export` wrote, whose checksum is then looked at.

    Raises:
        MissingData: if there is no such file.
        CannotRead: if it may not be read.
        CorruptFile: if it is no whole safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingData(
            f"no file {path}", "weights are a safetensors file", "write it with safetensors.torch.save_file"
        )
    if is_exported(path):
        return read_exported(path)
    try:
        return load_file(path)
    except PermissionError as error:
        raise cannot_read(path, error) from error
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        other = path.suffix in (".pt", ".pth", ".bin", ".ckpt")
        convert = (
            "convert it: safetensors.torch.save_file("
            f'torch.load("{path}", weights_only=True), "{path.with_suffix(".safetensors")}")'
        )
        fix = convert if other else "write it again"
        raise CorruptFile(f"{path}: {error}", "weights are a whole safetensors file", fix) from None
