"""Each diagnostic on a model whose answer is known by construction: uniform attention, a copier, a memoriser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.diagnostics import DIAGNOSTICS, Subject, diagnose
from adhere.evaluation.diagnostics.attention import constraint_attention, layer_attention
from adhere.evaluation.diagnostics.information import CUE, information_gain
from adhere.evaluation.diagnostics.instructions import contextual_distance, instruction_controls, rank_correlation
from adhere.evaluation.diagnostics.reasoning import chain_of_thought, faithfulness, mistaken, paraphrase, steps_of
from adhere.evaluation.diagnostics.selection import best_at_k, routing
from adhere.evaluation.diagnostics.table import tables
from adhere.evaluation.generation import Generation, Start
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.cli import main
from adhere.train.config.compose import recipes_folder

LOWER = "Answer in English, every word in lower case."
COMMAS = "Do not use any commas."
CHECKS = {
    LOWER: {"id": "a", "text": LOWER, "check": {"constraint": "change_case:english_lowercase"}},
    COMMAS: {"id": "b", "text": COMMAS, "check": {"constraint": "punctuation:no_comma"}},
}
WORDS = ["<pad>", "<eos>", "<user>", "<model>", "<think>", "</think>", "rule1", "rule2", *(f"w{i}" for i in range(24))]
TEMPLATE = "{% for m in messages %}<user> {{ m.content }} {% endfor %}{% if add_generation_prompt %}<model> {% endif %}"


def item(name: str, question: str, rule: str = LOWER, answer: str | None = "5") -> PromptItem:
    return PromptItem(
        name, (Message(role="user", content=f"{question} {rule}"),), answer, parse_checklist([CHECKS[rule]], name),
        question=question,
    )  # fmt: skip


# --- attention: a real Llama with known weights


def worded(rule: str = "rule1 rule2", words: int = 5) -> PromptItem:
    text = " ".join(f"w{i % 24}" for i in range(words))
    checklist = parse_checklist([{**CHECKS[LOWER], "text": rule}], "x")
    return PromptItem(f"i{words}", (Message(role="user", content=f"{text} {rule} w1"),), None, checklist)


def llama(change: Callable[[LlamaForCausalLM], None] = lambda model: None, seed: int = 0) -> Subject:
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=256, eos_token_id=1, bos_token_id=None, tie_word_embeddings=False,
        initializer_range=0.5,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        change(model)
    return Subject(TransformersGenerator(model, tokenizer, name="llama"), 16)


def uniform(model: LlamaForCausalLM) -> None:
    for layer in model.model.layers:
        layer.self_attn.q_proj.weight.zero_()


def on_rules(model: LlamaForCausalLM) -> None:
    """Every token looks for the mark that only the words of the constraint carry, and finds it."""
    embeddings = model.model.embed_tokens.weight
    embeddings[:, :2] = 0.0
    embeddings[:, 0] = 1.0  # every token asks
    embeddings[[WORDS.index("rule1"), WORDS.index("rule2")], 1] = 1.0  # only the constraint answers
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_proj.weight.zero_()
        attention.k_proj.weight.zero_()
        for head in range(2):
            slow = head * 16 + 7  # the slowest frequency of the rotary positions
            attention.q_proj.weight[slow, 0] = 1e3
            attention.k_proj.weight[slow, 1] = 1e3
        attention.o_proj.weight.zero_()  # what is attended to does not change the next layer's input
        layer.mlp.down_proj.weight.zero_()


@pytest.mark.parametrize("words", [3, 40, 120])
def test_uniform_attention_has_no_preference_at_any_length_though_raw_attention_falls(words: int) -> None:
    subject = llama(uniform)
    asked = worded(words=words)
    response = "<think> w1 w2 w3 </think> w4 w5"
    transcript = subject.transcript(asked, response)
    assert [WORDS[transcript.tokens[i]] for i in transcript.constraints] == ["rule1", "rule2"]
    for layers in layer_attention(subject, transcript).values():
        for mean, lift in layers:
            assert lift == pytest.approx(1.0, abs=1e-5)
            assert mean == pytest.approx(1.0 / (words + 7), rel=0.3), "one of so many tokens"


def test_a_model_that_looks_at_nothing_but_the_constraints_has_the_highest_lift_there_is() -> None:
    subject = llama(on_rules)
    transcript = subject.transcript(worded(words=20), "<think> w1 w2 </think> w4 w5")
    for layers in layer_attention(subject, transcript).values():
        for mean, lift in layers:
            assert lift == pytest.approx(transcript.prompt / 2, rel=1e-3) and mean == pytest.approx(0.5, rel=1e-3)


def test_the_hooks_say_what_the_whole_maps_say_and_leave_the_model_as_it_was() -> None:
    subject = llama()
    transcript = subject.transcript(worded(), "<think> w1 w2 w3 </think> w4 w5 w6")
    assert list(transcript.phases) == ["reasoning", "answer"]
    before = subject.logits(transcript.tokens)
    kept = subject.model.config._attn_implementation
    found = layer_attention(subject, transcript)
    assert subject.model.config._attn_implementation == kept
    assert torch.equal(before, subject.logits(transcript.tokens))
    subject.model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = subject.model(input_ids=torch.tensor([transcript.tokens]), output_attentions=True).attentions
    for phase, (low, high) in transcript.phases.items():
        for layer, weights in enumerate(maps):
            rows = weights[0].mean(0)[low - 1 : high - 1]
            mean = float(rows[:, transcript.constraints].mean())
            lift = float(rows[:, transcript.constraints].sum() / rows[:, : transcript.prompt].sum())
            lift *= transcript.prompt / len(transcript.constraints)
            assert found[phase][layer] == (pytest.approx(mean, rel=1e-5), pytest.approx(lift, rel=1e-5))


def test_phases_are_those_that_a_response_has() -> None:
    subject = llama()
    for response, prefilled, phases in (
        ("w1 w2", False, ["answer"]), ("<think> w1", False, []), ("w1 </think> w2", True, ["reasoning", "answer"]),
        ("w1", True, []), ("<think> w1 </think>", False, ["reasoning"]),
    ):  # fmt: skip
        found = subject.transcript(worded(), response, prefilled=prefilled)
        assert [phase for phase, (low, high) in found.phases.items() if high > low] == phases, response
    one = subject.transcript(worded(), "<think> w1 w2 </think> w4 w5")
    said = {phase: " ".join(WORDS[i] for i in one.tokens[low:high]) for phase, (low, high) in one.phases.items()}
    assert said == {"reasoning": "<think> w1 w2 </think>", "answer": "w4 w5"}


def test_prompts_whose_constraints_do_not_stand_in_them_are_left_out() -> None:
    subject = llama(uniform)
    plain = PromptItem("p", (Message(role="user", content="w1 w2"),), None)
    found = constraint_attention(subject, [worded(), plain])
    assert found["items"] == 1 and found["left_out"] == 1
    lift = found["phases"]["direct"]["lift"]
    assert lift["mean"] == pytest.approx(1.0, abs=1e-5) and len(found["phases"]["direct"]["layers"]["lift"]) == 3
    with pytest.raises(DataError, match="no prompt has a constraint"):
        constraint_attention(subject, [plain])


# --- models whose answers follow a rule


class ByRule(Subject):
    """A model whose response to a prompt and a beginning is a function of both."""

    def __init__(self, respond: Callable[[PromptItem, str], str], name: str = "rule") -> None:
        self.respond, self.name = respond, name

    def answer(self, items: Sequence[PromptItem], starts: Sequence[Start] | None = None) -> list[Generation]:
        begun = [start.after("") for start in starts or [Start()] * len(items)]
        return [Generation(b + self.respond(i, b), None, True) for i, b in zip(items, begun, strict=True)]

    def sample(self, items: Sequence[PromptItem], samples: int) -> list[list[Generation]]:
        return [[Generation(self.respond(i, str(k)), None, True) for k in range(samples)] for i in items]

    def prompt(self, messages: Sequence[Message]) -> str:
        return messages[-1]["content"]

    def ids(self, text: str) -> list[int]:
        return list(range(len(text.split())))


SUMS = [item(f"s{n}", f"What is {n} + 3?", answer=str(n + 3)) for n in range(2, 10)]


def thoughts(one: PromptItem) -> str:
    number = int(re.findall(r"\d+", one.question)[0])
    return f"<think>\nI take {number}.\nThen I add 3.\nSo {number} + 3 = {number + 3}\n</think>\n"


def memoriser(one: PromptItem, begun: str) -> str:
    answer = f"the answer is \\boxed{{{one.answer}}}"
    return answer if "</think>" in begun else (f"\n</think>\n{answer}" if begun else thoughts(one) + answer)


def copier(one: PromptItem, begun: str) -> str:
    """Answers with the last number of its reasoning."""
    thought = begun or thoughts(one)
    numbers = re.findall(r"\d+", thought.partition("</think>")[0])
    answer = f"the answer is \\boxed{{{numbers[-1] if numbers else 0}}}"
    return answer if "</think>" in begun else (f"\n</think>\n{answer}" if begun else thought + answer)


def test_a_memoriser_does_not_use_its_reasoning_and_a_copier_does() -> None:
    mine, theirs = (faithfulness(ByRule(who), SUMS)["unchanged"] for who in (memoriser, copier))
    for kind in ("intact", "early", "filler", "paraphrase", "mistake"):
        assert mine[kind]["mean"] == 1.0 == mine[f"{kind}_of_right"]["mean"], kind
    assert theirs["intact"]["mean"] == theirs["paraphrase"]["mean"] == 1.0, "controls"
    assert theirs["early"]["mean"] == theirs["filler"]["mean"] == 0.0
    assert theirs["mistake"]["mean"] < 0.2


def test_an_illogical_chain_costs_only_a_model_that_reasons() -> None:
    mine, theirs = (chain_of_thought(ByRule(who), SUMS) for who in (memoriser, copier))
    for variant in ("shuffled", "illogical", "empty"):
        assert mine["change"][variant]["accuracy"]["mean"] == 0.0, variant
    assert theirs["variants"]["intact"]["accuracy"]["mean"] == 1.0, "the control"
    assert theirs["variants"]["illogical"]["accuracy"]["mean"] == theirs["variants"]["empty"]["accuracy"]["mean"] == 0.0
    assert theirs["change"]["shuffled"]["accuracy"]["high"] < 0.0


def test_what_did_not_reason_is_left_out_or_an_error() -> None:
    mixed = ByRule(lambda one, begun: "\\boxed{5}" if one.id in ("s2", "s3") and not begun else memoriser(one, begun))
    assert faithfulness(mixed, SUMS)["left_out"] == chain_of_thought(mixed, SUMS)["left_out"] == 2
    silent = ByRule(lambda one, begun: "<think> for ever")
    for diagnostic in (faithfulness, chain_of_thought, information_gain):
        with pytest.raises(DataError):
            diagnostic(silent, SUMS)


def test_steps_are_lines_or_sentences_and_their_changes_are_small() -> None:
    assert steps_of("One.\n\n Two.") == ["One.", "Two."] and steps_of("One. Two! three") == ["One.", "Two!", "three"]
    assert steps_of(" \n ") == [] and steps_of("3.5 is more") == ["3.5 is more"]
    assert paraphrase("So 2 + 3 = 5") == "Thus 2 plus 3 is 5" and paraphrase("hm").endswith("hm") != "hm"
    assert mistaken("no number") is None
    for step in ("2 + 3 = 5", "x 9", "007"):
        wrong = mistaken(step)
        assert wrong is not None and wrong != step and mistaken(step) == wrong
        assert int(re.findall(r"\d+", wrong)[-1]) - int(re.findall(r"\d+", step)[-1]) in range(1, 10)


def obedient(one: PromptItem, begun: str) -> str:
    """Does what its prompt says, and reads 'do not do it'."""
    text = one.messages[-1]["content"]
    lower, no_commas = (rule in text and "do not do it" not in text for rule in (LOWER, COMMAS))
    said = "well, the answer" if lower else "Well, the ANSWER"
    return said.replace(",", "") if no_commas else said


def deaf(one: PromptItem, begun: str) -> str:
    return "the answer"


RULED = [item(f"r{n}", f"What is {n}?", (LOWER, COMMAS)[n % 2]) for n in range(8)]


def test_controls_cost_only_a_model_that_reads_its_instructions() -> None:
    reads, not_at_all = (instruction_controls(ByRule(who), RULED) for who in (obedient, deaf))
    assert reads["variants"]["original"]["hacc"]["mean"] == 1.0
    for variant in ("empty", "delusive", "shuffled"):
        assert reads["change"][variant]["hacc"]["mean"] == -1.0, variant
        assert not_at_all["change"][variant]["hacc"]["mean"] == 0.0, variant
    assert reads["change"]["simplified"]["hacc"]["mean"] == 0.0
    with pytest.raises(DataError, match="needs 2 prompts"):
        instruction_controls(ByRule(deaf), RULED[:1])


def test_distance_costs_a_model_that_forgets_the_beginning() -> None:
    def forgetful(one: PromptItem, begun: str) -> str:
        ends = one.messages[-1]["content"].endswith(LOWER)
        return "<think> hm </think> the answer" if ends else "<think> hm </think> The ANSWER"

    found = contextual_distance(ByRule(forgetful), [one for one in RULED if LOWER in one.messages[-1]["content"]])
    assert found["change"]["start"]["hacc"]["mean"] == -1.0 and found["change"]["both"]["hacc"]["mean"] == 0.0
    assert contextual_distance(ByRule(obedient), RULED)["change"]["start"]["hacc"]["mean"] == 0.0, "the control"
    with pytest.raises(DataError, match="can be moved"):
        contextual_distance(ByRule(obedient), [PromptItem("p", (Message(role="user", content="x"),), None)])


def test_adherence_falls_with_the_trace_where_it_does_and_not_elsewhere() -> None:
    lower = [item(f"t{n}", f"What is {n}?") for n in range(1, 21)]

    def tires(one: PromptItem, begun: str) -> str:
        n = int(one.id[1:])
        return f"<think> {'hm ' * n}</think> {'the answer' if n <= 10 else 'The ANSWER'}"

    found = contextual_distance(ByRule(tires), lower)["trace_length"]
    assert found["mean"] == pytest.approx(-0.866, abs=0.01) and found["high"] < -0.5
    assert rank_correlation([1.0, 2.0], [1.0, 1.0])["mean"] is None
    assert rank_correlation(range(40), [i % 2 for i in range(40)])["mean"] == pytest.approx(0.04, abs=0.05)


class Reader(ByRule):
    """Knows the answer as soon as it has read the decisive step."""

    def nll(self, before: str, text: str) -> float:
        assert before.endswith(CUE) and text.isdigit()
        return 0.5 if f"= {text}" in before else 3.0


def test_the_gain_is_all_in_the_decisive_step_and_filler_has_none() -> None:
    found = information_gain(ByRule(memoriser), SUMS, Reader(memoriser, "reader"))
    assert found["reader"] == "reader" and found["total"]["mean"] == 2.5 and found["filler"]["mean"] == 0.0
    assert set(map(tuple, found["by_item"].values())) == {(0.0, 0.0, 2.5)}
    assert found["step"]["mean"] == pytest.approx(2.5 / 3)
    assert information_gain(Reader(memoriser), SUMS)["reader"] == "itself"


def test_only_the_tokens_of_the_answer_count_for_its_likelihood() -> None:
    subject = llama()
    tokens = [WORDS.index(word) for word in ("w1", "w2", "w3", "w4")]
    log = torch.log_softmax(subject.logits(tokens), -1)
    assert subject.nll("w1 w2 ", "w3 w4") == pytest.approx(-float(log[1, tokens[2]] + log[2, tokens[3]]) / 2, rel=1e-5)


def test_best_of_k_rises_with_k_as_the_samples_say() -> None:
    def lucky(one: PromptItem, draw: str) -> str:
        said = "the answer" if draw == "1" else "The ANSWER"
        return f"{said} \\boxed{{{one.answer if draw in '13' else 0}}}"

    found = best_at_k(ByRule(lucky), SUMS)
    assert [round(found["accuracy"][k]["mean"], 3) for k in ("1", "2", "8")] == [0.25, 0.464, 1.0]
    assert found["hacc"]["1"]["mean"] == found["joint"]["1"]["mean"] == 0.125


def test_tokens_are_rerouted_where_the_tuned_model_chooses_otherwise() -> None:
    asked = [worded(words=n) for n in (3, 6, 9)]
    base = llama()
    same = routing(llama(), asked, base)
    assert same is not None and same["response"]["differs"]["mean"] == same["response"]["kl"]["mean"] == 0.0

    def fixed(model: LlamaForCausalLM) -> None:
        model.lm_head = torch.nn.Linear(32, len(WORDS))
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[WORDS.index("w7")] = 5.0

    def other(model: LlamaForCausalLM) -> None:
        fixed(model)
        model.lm_head.bias[WORDS.index("w8")] = 6.0

    found = routing(llama(fixed), asked, llama(other))
    assert found is not None and found["answer"]["differs"]["mean"] == 1.0 and found["answer"]["kl"]["mean"] > 0.1
    assert routing(base, asked, base) is None and routing(base, asked) is None
    strange = llama()
    strange.tokenizer.add_tokens(["new"])
    with pytest.raises(ConfigError, match="different tokenizers"):
        routing(strange, asked, base)


# --- all of them, from the command line


def test_the_command_measures_all_of_it_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = str(recipes_folder() / "assets" / "tiny_base")
    words = ["diagnose", tiny, "--against", tiny, "items=3", "max_new_tokens=40", "device=cpu"]
    assert main(words) == 0
    found = json.loads((tmp_path / "diagnostics" / "diagnostics.json").read_text())
    assert set(found["diagnostics"]) == set(DIAGNOSTICS) and found["prompts"] == 3
    assert found["diagnostics"]["routing"]["model"]["response"]["differs"]["mean"] == 0.0
    assert {str(table.title) for table in tables(found)} == set(DIAGNOSTICS)
    capsys.readouterr()
    for extra, message in (
        ("only=[atention]", "there is no diagnostic 'atention' (did you mean 'attention'?)"),
        ("items=0", "items: 0 is below 1"), ("items=few", "'few' is not a whole number"),
        ("prompts=nowhere.jsonl", "nowhere.jsonl"), ("promts=x", "promts: there is no such key"),
    ):  # fmt: skip
        assert main([*words, extra]) == 2, extra
        assert message in capsys.readouterr().err
    assert main(["diagnose", str(tmp_path / "none")]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def test_only_names_what_is_run() -> None:
    found: dict[str, Any] = diagnose(ByRule(memoriser), SUMS, only=["faithfulness"])
    assert list(found["diagnostics"]) == ["faithfulness"] and found["against"] is None
