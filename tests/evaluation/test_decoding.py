"""The decoding loop: the tokens of ``generate`` for every kind of cache, its distribution, and noise by row."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from adhere.evaluation.backends.decoding import Decoding, RoomyLayer, can_decode, decode, draw_tokens, noise
from adhere.rewards.errors import StageError

SIZES = {
    "vocab_size": 32, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2,
    "max_position_embeddings": 160, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 1, "head_dim": 16}
OLD = {"vocab_size": 32, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "rotary": ("llama", GROUPED),
    "tied weights": ("qwen2", GROUPED | {"tie_word_embeddings": True}),
    "learned positions": ("gpt2", OLD | {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 160}),
    "alibi": ("bloom", OLD | {"hidden_size": 32, "n_layer": 2, "n_head": 2}),
    "every layer in a window": ("mistral", GROUPED | {"sliding_window": 8}),
    "every second layer in a window": (
        "gemma3_text", GROUPED | {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2},
    ),
    "windows and experts": (
        "gpt_oss", GROUPED | {"sliding_window": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
    ),
    "convolutions between": (
        "lfm2", SIZES | {"num_key_value_heads": 1, "layer_types": ["conv", "full_attention"] * 2},
    ),
}  # fmt: skip
ENDS = (1, 7, 9)


def build(kind: str, sizes: dict[str, Any]) -> Any:
    """A random model of the family whose weights are large enough that its tokens vary."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(8)
    return model


def groups(lengths: tuple[int, ...], members: int) -> list[list[int]]:
    """``members`` equal prompts of each length."""
    drawn = random.Random(1)
    prompts = [[drawn.randrange(10, 32) for _ in range(length)] for length in lengths]
    return [prompt for prompt in prompts for _ in range(members)]


def generated(model: Any, prompts: list[list[int]], limit: int) -> list[list[int]]:
    """What ``generate`` writes greedily for the padded prompts, cut after the end token."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    config = GenerationConfig(do_sample=False, max_new_tokens=limit, eos_token_id=list(ENDS), pad_token_id=0)
    rows = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)[:, width:].tolist()
    return [list(itertools.takewhile(lambda t: t not in ENDS, row)) + [t for t in row if t in ENDS][:1] for row in rows]


@pytest.mark.parametrize(("kind", "sizes"), MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("lengths", [(3, 17, 9, 5, 12, 21), (11, 11, 11)], ids=["padded", "of one length"])
def test_greedy_tokens_are_those_of_generate(kind: str, sizes: dict[str, Any], lengths: tuple[int, ...]) -> None:
    model, prompts = build(kind, sizes), groups(lengths, 3)
    assert can_decode(model)
    expected = generated(model, prompts, 90)
    assert decode(model, prompts, [0] * len(prompts), Decoding(90, ENDS, temperature=0.0)) == expected
    assert any(len(row) > 64 for row in expected) or any(len(row) < 90 for row in expected)


def test_rows_leave_and_padding_with_them() -> None:
    """The batch shrinks, its prompts' padding is cut, and the tokens stay those of ``generate``."""
    model, prompts = build("llama", GROUPED), groups((3, 17, 9, 5, 12, 60), 2)
    seen: list[tuple[int, int]] = []
    inner = model.model.layers[0].self_attn.forward

    def watched(*given: Any, **named: Any) -> Any:
        out = inner(*given, **named)
        cache = named["past_key_values"].layers[0]
        seen.append((cache.keys.shape[0], cache.keys.shape[-2]))
        return out

    model.model.layers[0].self_attn.forward = watched
    rows = decode(model, prompts, [0] * 12, Decoding(40, ENDS, temperature=0.0))
    model.model.layers[0].self_attn.forward = inner
    assert rows == generated(model, prompts, 40)
    assert seen[0] == (6, 60), "one row a distinct prompt is prefilled"
    assert seen[1][0] == 12 and seen[-1][0] < 12, "rows that ended stay in the batch"
    assert len({len(row) for row in rows}) > 2
    places = [place for _, place in seen[1:]]
    assert min(places) < 60, "padding that no row needs any more stays"


@pytest.mark.parametrize("kind", ["mamba", "t5"])
def test_a_state_that_is_not_a_cache_is_refused(kind: str) -> None:
    from transformers import AutoModelForSeq2SeqLM

    small = {
        "vocab_size": 32,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "state_size": 4,
        "d_model": 16,
        "num_layers": 1,
    }
    family = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    assert not can_decode(family.from_config(AutoConfig.for_model(kind, **small)))


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"temperature": 0.5},
        {"top_k": 5},
        {"top_p": 0.6},
        {"min_p": 0.2},
        {"top_k": 12, "top_p": 0.8, "min_p": 0.05},
    ],
    ids=str,
)
def test_draws_follow_the_distribution_that_generate_samples_from(filters: dict[str, Any]) -> None:
    model, prompts = build("llama", GROUPED | {"initializer_range": 0.01}), groups((7,), 4000)
    rows = decode(model, prompts, range(4000), Decoding(1, (31,), **filters))
    counts = Counter(row[0] for row in rows)

    config = GenerationConfig(do_sample=True, **({"top_k": 0, "eos_token_id": None} | filters))
    processors = model._get_logits_processor(config)
    ids = torch.tensor(prompts[:1])
    with torch.no_grad():
        expected = torch.softmax(processors(ids, model(ids).logits[:, -1]), -1)[0].tolist()
    assert sum(p > 0.01 for p in expected) > 3, "the distribution is a point: nothing is shown"
    assert all(expected[token] > 0.0 for token in counts), "a token that the filters exclude was drawn"
    for token, p in enumerate(expected):
        assert abs(counts[token] - 4000 * p) <= 4.5 * (4000 * p * (1 - p)) ** 0.5 + 1e-9


def test_a_later_token_follows_the_distribution_too() -> None:
    """Rows share no noise between steps: the pair of the first two tokens has the product of the probabilities."""
    model, prompts = (
        build("llama", GROUPED | {"vocab_size": 3, "pad_token_id": None, "bos_token_id": None}),
        groups((1,), 1),
    )
    prompts = [[0, 1, 2]] * 6000
    rows = decode(model, prompts, range(6000), Decoding(2, (99,), temperature=4.0))
    counts = Counter(map(tuple, rows))
    with torch.no_grad():
        first = torch.softmax(model(torch.tensor(prompts[:1])).logits[0, -1] / 4.0, -1).tolist()
        for a, b in itertools.product(range(3), range(3)):
            p = first[a] * float(torch.softmax(model(torch.tensor([[0, 1, 2, a]])).logits[0, -1] / 4.0, -1)[b])
            assert abs(counts[a, b] - 6000 * p) <= 4.5 * (6000 * p * (1 - p)) ** 0.5 + 1e-9
    assert sum(count > 50 for count in counts.values()) > 3


def test_a_row_is_the_same_alone_and_in_any_company() -> None:
    model, prompts = build("llama", GROUPED), groups((3, 17, 9, 30), 4)
    how = Decoding(24, ENDS, temperature=2.0, top_p=0.95)
    seeds = list(range(16))
    together = decode(model, prompts, seeds, how)
    assert [decode(model, [prompt], [seed], how)[0] for prompt, seed in zip(prompts, seeds, strict=True)] == together
    halves = [decode(model, prompts[part], seeds[part], how) for part in (slice(0, 6), slice(6, 16))]
    assert halves[0] + halves[1] == together
    order = random.Random(3).sample(range(16), 16)
    mixed = decode(model, [prompts[i] for i in order], [seeds[i] for i in order], how)
    assert [mixed[order.index(i)] for i in range(16)] == together
    assert len({tuple(row) for row in together[:4]}) == 4, "members of a group are alike"
    assert decode(model, prompts, [seed + 100 for seed in seeds], how) != together


def test_a_draw_never_leaves_the_kept_tokens() -> None:
    tiny, inf = 1e-30, float("inf")
    logits = torch.tensor([[-inf, 0.0, -inf, 0.0, -inf], [0.0, -inf, -inf, -inf, -inf]]).repeat(3, 1)
    noise = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0 - 2**-53, 1.0 - 2**-53], dtype=torch.float64)
    assert draw_tokens(logits, noise).tolist() == [1, 0, 3, 0, 3, 0]
    assert draw_tokens(torch.tensor([[0.0, -200.0]]), torch.tensor([1.0 - tiny], dtype=torch.float64)).tolist() == [0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_stop_the_draw(bad: float) -> None:
    with pytest.raises(StageError, match="logits are not finite"):
        draw_tokens(torch.tensor([[0.0, 1.0], [0.0, bad]]), torch.tensor([0.5, 0.5], dtype=torch.float64))
    model = build("llama", GROUPED)
    model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(StageError, match="lower the learning rate"):
        decode(model, groups((4,), 2), [0, 1], Decoding(3, ENDS))


def test_streams_are_uniform_and_apart() -> None:
    drawn_BT = noise(range(400), 50)
    assert drawn_BT.dtype == torch.float64 and drawn_BT.shape == (400, 50)
    assert float(drawn_BT.min()) >= 0.0 and float(drawn_BT.max()) < 1.0
    assert len(set(drawn_BT.flatten().tolist())) == 20_000
    assert float(drawn_BT.mean()) == pytest.approx(0.5, abs=0.01)
    assert torch.equal(noise([7], 60)[0, :50], drawn_BT[7]), "a longer limit changes earlier draws"


def test_the_cache_has_room_and_keeps_what_is_written() -> None:
    layer, states = RoomyLayer(), torch.randn(2, 1, 150, 4)
    for place in range(150):
        keys, values = layer.update(states[:, :, place : place + 1], states[:, :, place : place + 1] + 1)
    assert torch.equal(keys, states) and torch.equal(values, states + 1) and layer.get_seq_length() == 150
    layer.keep(torch.tensor([1, 1, 0]), 20)
    keys, _ = layer.update(torch.zeros(3, 1, 1, 4), torch.zeros(3, 1, 1, 4))
    assert torch.equal(keys[:, :, :-1], states[[1, 1, 0], :, 20:]) and layer.get_seq_length() == 131


def test_weights_are_cast_once_a_generation() -> None:
    model = build("llama", GROUPED)
    casts: Counter[int] = Counter()
    weights = {parameter.data_ptr() for parameter in model.parameters() if parameter.dim() > 1}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
            if function is torch.ops.aten._to_copy.default and given[0].data_ptr() in weights:
                casts[given[0].data_ptr()] += 1
            return function(*given, **(named or {}))

    with torch.autocast("cpu", torch.bfloat16), Watch():
        rows = decode(model, groups((5, 8), 2), range(4), Decoding(12, (31,)))
    assert max(map(len, rows)) > 3 and casts and set(casts.values()) == {1}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_adapters_draw_too() -> None:
    from peft import LoraConfig, get_peft_model

    base, prompts = build("llama", GROUPED), groups((3, 9, 14), 3)
    plain = decode(base, prompts, range(9), Decoding(12, ENDS))
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).eval()
    assert can_decode(adapted)
    assert decode(adapted, prompts, range(9), Decoding(12, ENDS)) == plain, "new adapters change nothing"
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    assert decode(adapted, prompts, [0] * 9, Decoding(12, ENDS, temperature=0.0)) == generated(adapted, prompts, 12)
    assert decode(adapted, prompts, range(9), Decoding(12, ENDS)) != plain
