"""What leaves runs where budbreak is not: in a process that refuses to import it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from budbreak import activations
from budbreak.exporting import export

READER = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "budbreak":
            raise ImportError("budbreak is not there")
sys.meta_path.insert(0, Refusal())
try:
    import budbreak
except ImportError:
    pass
else:
    raise SystemExit("it is there")
folder = sys.argv[1]
import numpy as np
x, expected = np.load(folder + "/x.npy"), np.load(folder + "/y.npy")
import torch
given = {"torch": torch.export.load(folder + "/it.pt2").module()(torch.from_numpy(x)).detach().numpy()}
import onnxruntime
given["onnx"] = onnxruntime.InferenceSession(folder + "/it.onnx").run(None, {"input": x})[0]
import openvino
compiled = openvino.Core().compile_model(folder + "/it.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
given["openvino"] = compiled(x)[0]
for name, found in given.items():
    assert found.shape == expected.shape, name
    assert np.abs(found - expected).max() < 1e-5, name
print(*given)
"""


@pytest.mark.slow
def test_files_run_without_budbreak(tmp_path):
    """A network with operators that only we have, their scalars for each unit, and what a convolution's norm became."""
    acts = [activations.SRS(trainable=True, per="unit").module((4, 1, 1)), activations.FALU(trainable=True).module()]
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), acts[0], nn.Flatten(), nn.Linear(64, 5))
    model.append(acts[1])
    for suffix in (".pt2", ".onnx", ".xml"):
        export(model, tmp_path / f"it{suffix}", example=torch.randn(2, 3, 6, 6))
    x = torch.randn(7, 3, 6, 6)
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "y.npy", model.eval()(x).detach().numpy())
    command = [sys.executable, "-I", "-W", "ignore", "-c", READER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["torch", "onnx", "openvino"]), done.stderr
