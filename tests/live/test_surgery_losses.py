"""What a forward that torch.fx writes anew would lose, silently, is refused; what it holds for good is checked."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.activations import Swish
from budbreak.errors import InvalidValue, InvariantBroken

X = torch.randn(3, 4)


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.log, self.share = nn.Linear(4, 6), [], 0.25
        self.register_buffer("seen", torch.zeros(()))


class Adding(Base):
    def forward(self, x):
        self.seen += 1
        return functional.relu(self.fc(x))


class Averaging(Base):
    def forward(self, x):
        if self.training:
            self.seen.mul_(0.9).add_(x.mean())
        return functional.relu(self.fc(x))


class Logging(Base):
    def forward(self, x):
        self.log.append(x)
        return functional.relu(self.fc(x))


class Drawing(Base):
    def forward(self, x):
        return functional.relu(self.fc(x)) * (random.random() if self.training else 1)


class Skipping(Base):
    def forward(self, x):
        if self.training and torch.rand(()).item() < 0.5:
            return functional.relu(self.fc(x))
        return functional.relu(self.fc(x)) * 2


class Constant(Base):
    def forward(self, x):
        return functional.relu(self.fc(x) + torch.ones(6))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Adding, "it sets self.seen"),
        (Averaging, "it sets self.seen"),
        (Logging, "it sets self.log"),
        (Drawing, "it draws or seeds random numbers without its inputs"),
        (Skipping, "it draws or seeds random numbers without its inputs"),
        (Constant, "it makes a tensor without its inputs"),
    ],
)
def test_what_a_call_changes_or_draws_by_itself_is_refused(kind, words):
    model = kind()
    with pytest.raises(InvalidValue, match=words):
        bb.replace_activations(model, {"relu": Swish()}, example=X)
    assert float(model.seen) == 0


class Dropping(Base):
    def forward(self, x):
        return functional.dropout(functional.relu(self.fc(x)), self.share, self.training)


def test_attributes_that_a_forward_read_are_held_and_a_change_is_told():
    model = Dropping()
    copy = bb.replace_activations(model, {"relu": Swish()}, example=X)
    assert type(copy) is not Dropping
    copy.other = 3  # which the forward does not read
    copy(X)
    copy.share = 0.5
    with pytest.raises(InvalidValue, match=r"self\.share of Dropping is 0\.5\n.*with self\.share = 0\.25"):
        copy(X)
    copy.share = 0.25
    copy(X)
    assert type(model) is Dropping


class Counted(Base):
    """Gives other, small outputs where gradients are off, which a graph does not hold."""

    def forward(self, x):
        y = functional.relu(self.fc(x)) * 1e-8
        return (y, y > 0) if torch.is_grad_enabled() else (y * 2, y > 0)


def test_small_outputs_are_compared_as_large_ones_are():
    with pytest.raises(InvariantBroken, match="gives other outputs"):
        bb.replace_activations(Counted(), {"relu": Swish()}, example=X)
