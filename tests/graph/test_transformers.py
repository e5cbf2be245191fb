"""Networks of Hugging Face's transformers, small ones of each kind."""

import pytest
import torch

import budbreak as bb
from budbreak.graph import Kind

pytestmark = pytest.mark.slow  # transformers takes seconds to import

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IDS = torch.arange(14).view(2, 7)


def bert(**more):
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=50, max_position_embeddings=20, **SMALL, **more)).eval()


def vit(**more):
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(image_size=8, patch_size=4, **SMALL, **more)).eval()


def gpt2(**more):
    from transformers import GPT2Config, GPT2Model

    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20}
    return GPT2Model(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None, **more)).eval()


def llama():
    from transformers import LlamaConfig, LlamaModel

    ids = {"bos_token_id": None, "eos_token_id": None}
    return LlamaModel(LlamaConfig(vocab_size=50, max_position_embeddings=20, **SMALL, **ids)).eval()


MODELS = {
    "BERT": (
        bert,
        {"input_ids": IDS, "attention_mask": torch.ones(2, 7).long()},
        {f"encoder.layer.{i}.intermediate.intermediate_act_fn": f"encoder.layer.{i}.intermediate.dense" for i in (0, 1)}
        | {"pooler.activation": "pooler.dense"},
    ),
    "BERT, relu, a part of its sentences": (
        lambda: bert(hidden_act="relu", attn_implementation="eager", add_cross_attention=False),
        {"input_ids": IDS, "attention_mask": (IDS % 7 < 5).long()},
        {f"encoder.layer.{i}.intermediate.intermediate_act_fn": f"encoder.layer.{i}.intermediate.dense" for i in (0, 1)}
        | {"pooler.activation": "pooler.dense"},
    ),
    "ViT": (
        vit,
        torch.randn(2, 3, 8, 8),
        {f"layers.{i}.mlp.activation_fn": f"layers.{i}.mlp.fc1" for i in (0, 1)}
        | {"pooler.activation": "pooler.dense"},
    ),
    "GPT-2": (gpt2, IDS, {f"h.{i}.mlp.act": f"h.{i}.mlp.c_fc" for i in (0, 1)}),
    "Llama": (llama, IDS, {f"layers.{i}.mlp.act_fn": f"layers.{i}.mlp.gate_proj" for i in (0, 1)}),
}


@pytest.mark.parametrize("name", MODELS)
def test_sites_and_their_feeds(name):
    make, example, feeds = MODELS[name]
    model = make()
    graph = bb.trace(model, example)
    assert {site.name: site.feed and site.feed.weight for site in graph.sites} == {
        site: f"{layer}.weight" for site, layer in feeds.items()
    }
    assert {site.unit_dims for site in graph.sites} == {(-1,)}
    assert (graph.unseen, graph.uncalled) == ((), ())
    weights = {name for name, weight in model.named_parameters() if weight.dim() >= 2 and "norm" not in name.lower()}
    used = {name for node in graph.nodes for name in node.weights}
    assert weights <= used


@pytest.mark.parametrize("name", MODELS)
def test_dead_neurons_count_what_a_hook_counts(name):
    make, example, feeds = MODELS[name]
    model, kept = make(), {}
    batch = example if isinstance(example, dict) else [example]
    result = bb.dead_neurons(
        model, [batch], threshold=0.02, prunable=lambda name, module, parameter: parameter.dim() >= 2
    )
    for site in feeds:
        model.get_submodule(site).register_forward_hook(lambda m, i, out, site=site: kept.update({site: out}))
    with torch.no_grad():
        model(**example) if isinstance(example, dict) else model(example)
    assert {site.site: site.weight.removesuffix(".weight") for site in result.sites} == feeds
    for site in result.sites:
        assert site.total == pytest.approx(float((kept[site.site].abs() <= 0.02).double().mean()))
        assert site.samples == kept[site.site].shape[0] * (
            1 if kept[site.site].dim() == 2 else kept[site.site].shape[1]
        )
    assert result.unseen == ()


def test_residual_sums_and_norms_of_gpt2():
    graph = bb.trace(gpt2(), IDS)
    sums = [node for node in graph.nodes if node.kind == Kind.ADD]
    assert len(sums) == 1 + 2 * 2  # positions, and two a block
    assert [node.owner for node in graph.nodes if node.kind == Kind.NORM] == [
        "h.0.ln_1", "h.0.ln_2", "h.1.ln_1", "h.1.ln_2", "ln_f"
    ]  # fmt: skip


def test_a_norm_that_is_written_out_is_one_node():
    graph = bb.trace(llama(), IDS)
    norms = [node for node in graph.nodes if node.kind == Kind.NORM]
    assert [norm.weight for norm in norms] == [
        "layers.0.input_layernorm.weight", "layers.0.post_attention_layernorm.weight",
        "layers.1.input_layernorm.weight", "layers.1.post_attention_layernorm.weight", "norm.weight",
    ]  # fmt: skip
