"""Networks of a folder in Hugging Face's layout, from a config alone with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers as hf
from architectures import TEXT, VISION

import whet
from whet.core.errors import LiftError

GPT = {
    "vocab_size": 64,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def saved(model: hf.PreTrainedModel, folder: Path) -> hf.PreTrainedModel:
    hf.utils.logging.disable_progress_bar()
    model.eval().save_pretrained(folder)
    return model


def test_a_folder_is_the_network_that_was_saved(tmp_path: Path) -> None:
    model = saved(hf.BertForSequenceClassification(hf.BertConfig(**TEXT, num_labels=5)), tmp_path)
    net = whet.lift(str(tmp_path))
    assert [port.name for port in net.inputs] == ["input_ids", "attention_mask"] and net.name == tmp_path.stem
    ids, mask = torch.randint(0, 64, (2, net.example[0].shape[1])), torch.ones(2, net.example[0].shape[1]).long()
    mask[0, 5:] = 0
    assert torch.allclose(net(ids, mask)["logits"], model(ids, mask).logits, atol=1e-5)
    assert "bert.embeddings.word_embeddings" in dict(net.module.named_modules()), "layers keep their names"


def test_language_models_give_no_caches(tmp_path: Path) -> None:
    saved(hf.GPT2LMHeadModel(hf.GPT2Config(**GPT)), tmp_path)
    net = whet.lift(tmp_path, {"input_ids": torch.randint(0, 64, (2, 16))})
    assert [port.name for port in net.outputs] == ["logits"]
    assert net(torch.zeros(3, 16).long())["logits"].shape == (3, 16, 64)


def test_the_example_of_images_and_sounds_is_made_up(tmp_path: Path) -> None:
    from whet.graph.hugging_face import made_up, read_folder

    saved(hf.ViTForImageClassification(hf.ViTConfig(**VISION)), tmp_path)
    module, example = read_folder(tmp_path)
    assert example["pixel_values"].shape == (2, 3, 32, 32) and module(**example).logits.shape == (2, 5)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sound = hf.Wav2Vec2Config(**small, num_conv_pos_embedding_groups=2, num_conv_pos_embeddings=16)
    assert made_up(hf.Wav2Vec2Model(sound))["input_values"].shape == (2, 16_000)


def test_nothing_remote_and_no_pickle_is_read(tmp_path: Path) -> None:
    saved(hf.GPT2LMHeadModel(hf.GPT2Config(**GPT)), tmp_path)
    own = json.loads((tmp_path / "config.json").read_text())

    def refused(config: dict[str, object], told: str) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(LiftError, match=told):
            whet.lift(tmp_path)

    remote = {"AutoModel": "model.Own"}
    refused(
        own | {"architectures": ["OwnModel"], "auto_map": remote}, "no architecture 'OwnModel'. Its own code is not run"
    )
    refused({"vocab_size": 3}, "names no model_type")
    refused(own | {"n_layer": 3}, r"lacks weights of 12 parameters: transformer.h.2")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused(own, "no weights in safetensors but pytorch_model.bin, a pickle")
    (tmp_path / "pytorch_model.bin").unlink()
    refused(own, "no weights in safetensors")


def test_weights_of_half_precision_are_float32_and_a_cut_file_is_said(tmp_path: Path) -> None:
    saved(hf.GPT2LMHeadModel(hf.GPT2Config(**GPT)).half(), tmp_path)
    net = whet.lift(tmp_path)
    assert {p.dtype for p in net.module.parameters()} == {torch.float32}
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(LiftError, match="does not load"):
        whet.lift(tmp_path)
