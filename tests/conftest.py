import gc
import importlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # several test processes share few cores

# A file that takes the place of another one waits for the disk: 3-6 ms on ext4, thousands of times.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2**31:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))  # where tmp_path lies

# no deadline: the first example pays for torch's lazy start, and shared machines stall
settings.register_profile("local", deadline=None, max_examples=60)
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_ignore_collect(collection_path):
    """What tests share has no doctests, and is imported by those that need it, if they are run."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None


def pytest_collection_finish():
    importlib.import_module("torch._dynamo")  # the first optimizer would: as many objects as all else together


@pytest.fixture(autouse=True, scope="module")
def _frozen():
    """What is there by now stays: iterate and the garbage collector look through all other objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks():
    """What a power cut would leave, no test sees: those of writes that fail put their own in place of this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _seeded():
    if torch.accelerator.is_available():
        torch.manual_seed(0)
    else:  # it would queue a call, with the whole stack in words, for each kind of device that is not there
        torch.default_generator.manual_seed(0)
