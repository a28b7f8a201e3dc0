"""The transformers back end on a real, tiny, random model built here."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adhere.evaluation.backends import load_generator
from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.generation import Sampling
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError

WORDS = ["<pad>", "<eos>", "<user>", "<model>", *(f"w{i}" for i in range(28))]
TURNS = "{% for m in messages %}<user> {{ m.content }} {% endfor %}"
TEMPLATE = TURNS + "{% if add_generation_prompt %}<model>{% endif %}"


def build(end_bias: float = 0.0) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A two-layer model over 32 words; ``end_bias`` makes the end token win (or never win) every step."""
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=False,
        initializer_range=0.5,
    )
    model = LlamaForCausalLM(config)
    head = torch.nn.Linear(32, len(WORDS))
    head.weight.data = model.lm_head.weight.data.clone()
    head.bias.data.zero_()
    head.bias.data[1] = end_bias
    model.lm_head = head
    return model, tokenizer


def items(count: int) -> list[PromptItem]:
    texts = [" ".join(f"w{(i * 7 + k) % 28}" for k in range(1 + i * 3 % 11)) for i in range(count)]
    return [PromptItem(f"i{i}", ({"role": "user", "content": t},), None) for i, t in enumerate(texts)]


def generator(end_bias: float = 0.0, **options) -> TransformersGenerator:
    return TransformersGenerator(*build(end_bias), name="tiny", **options)


def test_greedy_responses_do_not_depend_on_the_batch():
    alone, together = generator(batch_size=1), generator(batch_size=5)
    asked = items(9)
    sampling = Sampling(max_new_tokens=12)
    first = alone.generate(asked, sampling)
    assert first == together.generate(asked, sampling)
    assert len({answer[0].text for answer in first}) > 1
    assert together.generate(asked[::-1], sampling)[::-1] == first


def test_sampled_responses_depend_on_seed_and_item_alone():
    asked = items(6)
    sampling = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=8, samples=3, seed=5)
    drawn = generator(batch_size=4).generate(asked, sampling)
    assert [len(samples) for samples in drawn] == [3] * 6
    assert generator(batch_size=18).generate(asked[3:], sampling) == drawn[3:]
    assert len({g.text for g in drawn[0]}) > 1
    other = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=8, samples=3, seed=6)
    assert generator(batch_size=4).generate(asked, other) != drawn


def test_sampling_follows_the_models_distribution():
    made = generator(batch_size=500)
    asked = items(1)
    ids = made.tokenizer(f"<user> {asked[0].messages[0]['content']} <model>", return_tensors="pt").input_ids
    probs = torch.softmax(made.model(ids).logits[0, -1].detach(), dim=-1)
    drawn = made.generate(asked, Sampling(temperature=1.0, max_new_tokens=1, samples=2000))[0]
    top = int(probs.argmax())
    share = sum(g.text == WORDS[top] for g in drawn) / 2000
    assert share == pytest.approx(float(probs[top]), abs=0.04)
    nucleus = made.generate(asked, Sampling(temperature=1.0, top_p=1e-6, max_new_tokens=1, samples=20))[0]
    assert {g.text for g in nucleus} == {WORDS[top]}


def test_finished_means_that_the_end_token_came():
    (ended,), (cut,) = (
        generator(end_bias=bias).generate(items(1), Sampling(max_new_tokens=6))[0] for bias in (1e4, -1e4)
    )
    assert (ended.text, ended.tokens, ended.finished) == ("", 1, True)
    assert (cut.tokens, cut.finished) == (6, False) and len(cut.text.split()) == 6


def test_decoding_options_in_the_models_own_file_are_ignored_and_kept():
    plain, marked = generator(), generator()
    marked.model.generation_config = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, min_new_tokens=5, eos_token_id=1
    )
    kept = marked.model.generation_config
    asked = items(4)
    assert marked.generate(asked, Sampling(max_new_tokens=8)) == plain.generate(asked, Sampling(max_new_tokens=8))
    assert marked.model.generation_config is kept


def test_a_template_that_opens_the_reasoning_is_noticed():
    opened = generator(chat_template=TEMPLATE.replace("<model>{%", "<model> <think>\n{%"))
    assert opened.generate(items(1), Sampling(max_new_tokens=2))[0][0].prefilled
    assert not generator().generate(items(1), Sampling(max_new_tokens=2))[0][0].prefilled


def test_a_prompt_without_room_is_skipped_and_changes_no_other():
    short, long, last = items(3)
    long = replace(long, messages=({"role": "user", "content": "1 " * 40},))
    sampling = Sampling(temperature=1.0, samples=2, max_new_tokens=30)
    found = generator().generate([short, long, last], sampling)
    assert [[g.error is not None for g in drawn] for drawn in found] == [[False] * 2, [True] * 2, [False] * 2]
    assert (found[1][0].error or "").startswith("skipped, over the model's context: ")
    assert [found[0], found[2]] == generator().generate([short, last], sampling)


def test_what_cannot_run_says_so(tmp_path):
    model, tokenizer = build()
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="chat template"):
        TransformersGenerator(model, tokenizer, name="bare")
    tokenizer.chat_template = TEMPLATE
    tokenizer.eos_token = None
    model.generation_config.eos_token_id = None
    with pytest.raises(ConfigError, match="end token"):
        TransformersGenerator(model, tokenizer, name="endless")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_generator("transformers", str(tmp_path / "none"))


def test_a_saved_model_loads_by_its_folder(tmp_path):
    model, tokenizer = build()
    model.lm_head = torch.nn.Linear(32, len(WORDS), bias=False)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_generator("transformers", str(tmp_path), device="cpu", name="saved")
    assert loaded.name == "saved" and loaded.model.dtype == torch.float32
    assert loaded.generate(items(2), Sampling(max_new_tokens=3))[1][0].tokens <= 3


def test_vllm_says_how_to_get_it():
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is installed here")
    with pytest.raises(ConfigError, match=r"adhere\[vllm\]"):
        load_generator("vllm", "any")
