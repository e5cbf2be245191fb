"""The reader stands alone: one file, numpy, and nothing of ours."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import net
from test_packing import CASES

import budbreak as bb
from budbreak.exporting import write_packed
from budbreak.files import packed_reader, tensor_bytes

FILE = Path(packed_reader.__file__)
ALONE = """
import importlib.util, json, sys
sys.modules["torch"] = sys.modules["budbreak"] = sys.modules["safetensors"] = None  # importing them fails
spec = importlib.util.spec_from_file_location("packed_reader", sys.argv[1])
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)
try:
    read = reader.read(sys.argv[2])
except ValueError as error:
    raise SystemExit(str(error))
print(json.dumps({name: [str(a.dtype), list(a.shape), a.tobytes().hex()] for name, a in read.items()}))
"""


def alone(tmp_path, path):
    """What a copy of the reader gives, in a process that can import nothing of ours."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy = shutil.copy(FILE, folder / "packed_reader.py")
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", ALONE, copy, path], capture_output=True, text=True, cwd=folder
    )


def seen(tensor):
    """As numpy sees it: bf16 widened."""
    tensor = tensor.detach()
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return [str(wide.numpy().dtype), list(wide.shape), bytes(tensor_bytes(wide)).hex()]


def test_it_reads_packed_files_alone(tmp_path):
    write_packed(tmp_path / "f", CASES)
    done = alone(tmp_path, tmp_path / "f")
    assert done.stderr == ""
    assert json.loads(done.stdout) == {name: seen(tensor) for name, tensor in CASES.items()}


def test_it_reads_plain_files_alone(tmp_path):
    model, example = net("bf16")
    bb.export(model, tmp_path / "x.safetensors", example=example)
    done = alone(tmp_path, tmp_path / "x.safetensors")
    assert json.loads(done.stdout) == {name: seen(tensor) for name, tensor in model.state_dict().items()}


def test_it_refuses_what_was_changed_alone(tmp_path):
    write_packed(tmp_path / "f", CASES)
    (tmp_path / "f").write_bytes((tmp_path / "f").read_bytes()[:-1])
    done = alone(tmp_path, tmp_path / "f")
    assert done.stderr == "its content does not match its checksum: it was cut off or changed\n"


def test_it_is_short_and_imports_numpy_and_the_standard_library():
    source = FILE.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 100
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(node.module)] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_nan_of_bf16_keeps_its_payload_when_widened(tmp_path):
    bits = torch.tensor([0x7F81, 0, -1, 0x3F80], dtype=torch.int16)
    write_packed(tmp_path / "f", {"x": bits.view(torch.bfloat16)})
    read = packed_reader.read(tmp_path / "f")["x"]
    assert read.dtype == np.float32
    assert (read.view(np.uint32) >> 16).astype(np.uint16).view(np.int16).tolist() == bits.tolist()


def test_what_is_missing_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        packed_reader.read(tmp_path / "absent")
