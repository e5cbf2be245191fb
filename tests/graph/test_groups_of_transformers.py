"""Groups of Hugging Face's networks, small ones of each kind, against what a reader of their code expects."""

import pytest
import torch
from architectures import settle
from removal import unread, without
from torch import Tensor

from budbreak.graph import trace

pytestmark = pytest.mark.slow  # transformers takes seconds to import

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
WORDS = {"vocab_size": 50, "max_position_embeddings": 20}
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
IDS, IMAGE = torch.arange(14).view(2, 7), torch.randn(2, 3, 16, 16)


def made(kind, head="Model", **options):
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}{head}")(getattr(transformers, f"{kind}Config")(**options))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    return settle(model)


def clip():
    vision = {"image_size": 16, "patch_size": 4}
    return made(
        "CLIP",
        text_config={**WORDS, "eos_token_id": 13, **SMALL},
        vision_config={**vision, **SMALL},
        projection_dim=8,
    )


T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 4}
SWIN = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 2}
CONVNEXT = {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}
GPT2 = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 4, "n_positions": 20}
QWEN = {"num_key_value_heads": 2, "head_dim": 4}
OUT = "is an output of the model"
STREAM, HEADS, HIDDEN, CLASSES = (16, "inexact"), (4, "exact"), (32, "exact"), (2, OUT)

MODELS = {
    "BERT": (
        lambda: made("Bert", "ForSequenceClassification", **WORDS, **SMALL),
        {"input_ids": IDS, "attention_mask": (IDS % 7 < 5).long()},
        [STREAM, HEADS, HIDDEN, (16, "exact"), CLASSES],
    ),
    "ViT": (
        lambda: made("ViT", "ForImageClassification", image_size=16, patch_size=4, **SMALL),
        IMAGE,
        [STREAM, HEADS, HIDDEN, CLASSES],
    ),
    "GPT-2": (
        lambda: made("GPT2", "LMHeadModel", **GPT2, **NO_TOKENS),
        IDS,
        [STREAM, HEADS, (64, "exact"), (50, OUT)],
    ),
    "Llama, with keys shared by two heads": (
        lambda: made("Llama", "ForCausalLM", num_key_value_heads=2, **WORDS, **SMALL, **NO_TOKENS),
        IDS,
        [STREAM, (2, "exact"), HIDDEN, (50, OUT)],
    ),
    "Llama, with one key": (
        lambda: made("Llama", "ForCausalLM", num_key_value_heads=1, **WORDS, **SMALL, **NO_TOKENS),
        IDS,
        [STREAM, HEADS, (2, "is broadcast over units"), (4, "is broadcast over units"), HIDDEN, (50, OUT)],
    ),
    "Qwen3, heads normed": (
        lambda: made("Qwen3", "ForCausalLM", **QWEN, **WORDS, **SMALL, **NO_TOKENS),
        IDS,
        [STREAM, (2, "exact"), HIDDEN, (50, OUT)],
    ),
    "T5": (
        lambda: made("T5", "ForConditionalGeneration", decoder_start_token_id=0, **T5),
        {"input_ids": IDS, "decoder_input_ids": IDS},
        [(16, OUT), HEADS, HIDDEN, HEADS, (4, "meets a constant that the code makes"), HIDDEN, (50, OUT)],
    ),
    "CLIP": (
        clip,
        {"input_ids": IDS, "pixel_values": IMAGE},
        [(16, OUT), HEADS, HIDDEN, (8, "enters sum"), (16, "enters __getitem__"), HEADS, HIDDEN, (8, "enters sum")],
    ),
    "Swin": (
        lambda: made("Swin", **SWIN),
        IMAGE,
        [(8, OUT), (2, "exact"), (32, "exact"), (2, "exact"), (32, "exact")],
    ),
    "ConvNeXt": (
        lambda: made("ConvNext", "ForImageClassification", **CONVNEXT),
        IMAGE,
        [(8, "inexact"), (32, "exact"), (12, "inexact"), (48, "exact"), CLASSES],
    ),
    "ResNet": (
        lambda: made("ResNet", "ForImageClassification", embedding_size=8, hidden_sizes=[16], depths=[2]),
        IMAGE,
        [(size, "exact") for size in (8, 4, 4, 16, 4, 4)] + [CLASSES],
    ),
    "Mamba": (
        lambda: made("Mamba", vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4, **NO_TOKENS),
        IDS,
        None,
    ),
}


def told(group):
    return group.fixed.split(" in ")[0] if group.fixed else "inexact" if group.inexact else "exact"


def outputs(model, example):
    with torch.no_grad():
        found = model(**example) if isinstance(example, dict) else model(example)
    return [tensor for tensor in found.values() if isinstance(tensor, Tensor)]


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name][2] is not None])
def test_groups(name):
    make, example, expected = MODELS[name]
    groups = trace(make(), example).groups()
    assert [group.size for group in groups] == [size for size, _ in expected]
    assert all(told(group).startswith(why) for group, (_, why) in zip(groups, expected, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_cut_out_units_leave_what_unread_ones_leave(name):
    make, example, _ = MODELS[name]
    model = make()
    for group in trace(model, example).groups():
        if group.fixed or group.sizes:
            continue
        expected = outputs(unread(model, group, 0), example)
        found = outputs(without(model, group, 0), example)
        assert group.exact == all(
            torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(found, expected, strict=True)
        )


def test_a_scan_ties_what_it_multiplies_and_its_state_s_size_is_the_code_s():
    make, example, _ = MODELS["Mamba"]
    groups = {group.members[0].name: group for group in trace(make(), example).groups()}
    inner = groups["layers.0.mixer.in_proj.weight"]
    assert "meets a constant that the code makes" in inner.fixed
    assert {member.name.split(".")[-2] for member in inner.members if member.makes} == {
        "in_proj", "conv1d", "dt_proj"
    }  # fmt: skip
