"""Surgery on networks of Hugging Face's transformers."""

import pytest
import torch

import budbreak as bb
from budbreak.activations import GELU, ActivationModule, ActivationPlan, Swish, Tanh

pytestmark = pytest.mark.slow  # transformers takes seconds to import

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IDS = torch.arange(14).view(2, 7)
OWN = {"GELUActivation": GELU(), "Tanh": Tanh(), "SiLUActivation": Swish()}


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=50, max_position_embeddings=20, **SMALL)), {"input_ids": IDS}


def vit():
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(image_size=8, patch_size=4, **SMALL)), torch.randn(2, 3, 8, 8)


def llama():
    from transformers import LlamaConfig, LlamaModel

    ids = {"bos_token_id": None, "eos_token_id": None}
    return LlamaModel(LlamaConfig(vocab_size=50, max_position_embeddings=20, **SMALL, **ids)), IDS


@pytest.mark.parametrize("make", [bert, vit, llama], ids=lambda make: make.__name__)
def test_own_operators_change_nothing_and_others_are_called(make):
    model, example = make()
    model.eval()
    sites = {site.name: type(model.get_submodule(site.name)).__name__ for site in bb.trace(model, example).sites}
    same = bb.replace_activations(model, {site: OWN[kind] for site, kind in sites.items()}, example=example)
    assert list(same.state_dict()) == list(model.state_dict())

    def output(model):
        with torch.no_grad():
            return (model(**example) if isinstance(example, dict) else model(example)).last_hidden_state

    torch.testing.assert_close(output(same), output(model))
    plan = ActivationPlan.uniform(sites, Swish(trainable=True, per="unit"))
    other = bb.replace_activations(model, plan, example=example)
    called = [module for module in other.modules() if isinstance(module, ActivationModule)]
    assert len(called) == len(sites)
    assert [site.name for site in bb.trace(other, example).sites] == list(sites)
    if "Swish" not in {type(OWN[kind]).__name__ for kind in sites.values()}:
        assert not torch.allclose(output(other), output(model))
