"""Each remedy changes what it says and nothing else: on the tiny base model, and on one whose replies are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.generation import Generation, Sampling, Start
from adhere.evaluation.remedies import REMEDIES, Remedied, Remedy, parse_remedy, remedy, remedy_report
from adhere.evaluation.remedies.classifier import read_selector, train_selector
from adhere.evaluation.remedies.steering import decoder_layers, find_direction
from adhere.evaluation.remedies.table import rows, write_remedies
from adhere.prompts.item import PromptItem
from adhere.records.artifact import TABLE
from adhere.records.tables import write_responses
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.cli import main
from adhere.train.commands.evaluate import remedy_stages
from adhere.train.config.compose import compose_recipe, recipes_folder
from adhere.train.run.run import plan_run

RULE = "Answer in English, every word in lower case."
CHECK = {"id": "a", "text": RULE, "check": {"constraint": "change_case:english_lowercase"}}
GREEDY = Sampling(0.0, 1.0, 60)
DRAWN = Sampling(1.0, 1.0, 60, samples=2, seed=3)


def item(name: str, request: str, *, rule: bool = True) -> PromptItem:
    text = f"{request} {RULE}" if rule else request
    return PromptItem(name, ({"role": "user", "content": text},), "5", parse_checklist([CHECK] if rule else [], name))


ITEMS = [item("a", "What is 2 + 3?"), item("b", "Calculate 6 - 1."), item("c", "What is 4 + 1?", rule=False)]


@pytest.fixture(scope="module")
def base() -> TransformersGenerator:
    return TransformersGenerator.load(str(recipes_folder() / "assets" / "tiny_base"), name="tiny", device="cpu")


class Scripted:
    """A model whose replies are written: ``reply`` gets the messages and the beginning, and returns what is added."""

    name = "scripted"

    def __init__(self, reply: Callable[[Sequence[Any], str], str], *, prefilled: bool = False) -> None:
        self.reply, self.prefilled = reply, prefilled
        self.asked: list[list[tuple[str, str]]] = []

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        found = []
        for one, start in zip(items, starts or [Start()] * len(items), strict=True):
            begun = start.after("<think>" if self.prefilled else "")
            self.asked.append([(message["role"], message["content"]) for message in one.messages])
            added = self.reply(one.messages, begun)
            words = len(added.split())
            drawn = Generation(begun + added, len(begun.split()) + words, True, self.prefilled, spent=words)
            found.append([drawn] * sampling.samples)
        return found


def texts(found: list[list[Generation]]) -> list[list[str]]:
    return [[generation.text for generation in samples] for samples in found]


def flat(found: list[list[Generation]]) -> list[Generation]:
    return [generation for samples in found for generation in samples]


def answers(base: Any, given: str | dict[str, Any], sampling: Sampling = GREEDY, **more: Any) -> list[list[Generation]]:
    return Remedied(base, parse_remedy(given), **more).generate(ITEMS, sampling)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("given", ["none", "budget_forcing", {"name": "budget_forcing", "limit": 60}])
def test_what_changes_nothing_is_plain_generation(base: Any, given: Any, sampling: Sampling) -> None:
    plain, found = base.generate(ITEMS, sampling), answers(base, given, sampling)
    assert texts(found) == texts(plain)
    for before, after in zip(flat(plain), flat(found), strict=True):
        assert replace(after, spent=None, seconds=None, applied=None) == before
        assert after.spent == before.tokens and after.applied is False
        assert after.seconds is not None and after.seconds > 0.0


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_repeat_keeps_the_reasoning_says_the_constraints_once_and_writes_a_new_answer(
    base: Any, sampling: Sampling
) -> None:
    plain, found = base.generate(ITEMS, sampling), answers(base, "repeat", sampling)
    seen = 0
    for one, before, after in zip(ITEMS, plain, found, strict=True):
        for first, second in zip(before, after, strict=True):
            closed = "</think>" in first.text
            assert second.applied is (closed and bool(one.checklist))
            if not second.applied:
                assert second.text == first.text, "without constraints, or without an end of reasoning"
                continue
            seen += 1
            thought = first.text.rpartition("</think>")[0].rstrip()
            assert second.text.startswith(
                f"{thought}\nWait, the answer has to meet these requirements: {RULE}\n</think>"
            )
            assert second.text.count(RULE) == second.text.count("</think>") == 1
            assert second.spent is not None and first.tokens is not None and second.spent >= first.tokens
    assert seen >= 2


def test_a_budget_cuts_the_reasoning_at_its_limit_and_touches_no_shorter_one(base: Any) -> None:
    plain = [samples[0] for samples in base.generate(ITEMS, GREEDY)]

    def thought(text: str) -> int:
        return len(base.tokenizer(text.partition("</think>")[0], add_special_tokens=False)["input_ids"])

    lengths = [thought(generation.text) for generation in plain]
    for limit in (4, max(lengths) + 1):
        found = [samples[0] for samples in answers(base, {"name": "budget_forcing", "limit": limit})]
        for length, before, after in zip(lengths, plain, found, strict=True):
            assert after.text.count("</think>") == 1
            if length > limit:
                assert thought(after.text) <= limit + 1 and after.applied, "the line break before the end is a token"
            else:
                assert not after.applied
                assert after.text == before.text, "an answer that the limit has cut is completed as it was begun"


def test_a_longer_reasoning_has_its_waits(base: Any) -> None:
    for waits in (1, 3):
        found = [samples[0] for samples in answers(base, {"name": "budget_forcing", "waits": waits})]
        assert [1 <= generation.text.count("Wait") <= waits for generation in found] == [True] * 3
        assert found[0].text.startswith(base.generate(ITEMS[:1], GREEDY)[0][0].text.rpartition("</think>")[0].rstrip())
    thinks = Scripted(lambda messages, begun: " so </think> done" if begun else "<think> one </think> done")
    chosen = parse_remedy({"name": "budget_forcing", "waits": 2, "wait": "Hm"})
    ((longer,),) = Remedied(thinks, chosen).generate(ITEMS[:1], GREEDY)
    assert longer.text == "<think> one\nHm so\nHm so </think> done" and longer.spent == 3 + 1 + 3 + 3


@pytest.mark.parametrize("prefilled", [False, True])
def test_an_intervention_begins_the_reasoning_once(prefilled: bool) -> None:
    model = Scripted(lambda messages, begun: "go </think> done", prefilled=prefilled)
    found = texts(answers(model, "thinking_intervention"))
    said = f"I must follow every requirement of the request: {RULE}\ngo </think> done"
    assert found[0] == [said if prefilled else f"<think>\n{said}"]
    assert found[2] == ["go </think> done"], "a prompt without constraints is asked as it is"
    assert [asked[0][1] for asked in model.asked] == [ITEMS[2].messages[0]["content"]] + [
        one.messages[0]["content"] for one in ITEMS[:2]
    ]


def test_the_parent_rewrites_the_answer_of_the_tuned_model(base: Any) -> None:
    tuned = Scripted(lambda messages, begun: "<think> sums </think> Five.")
    parent = Scripted(lambda messages, begun: "five.")
    found = answers(tuned, {"name": "sft_as_context", "parent": "P"}, load=lambda path: {"P": parent}[path])
    assert texts(found) == [["five."]] * 3 and found[0][0].spent == 4 + 1
    assert [role for role, _ in parent.asked[0]] == ["user", "assistant", "user"]
    assert parent.asked[0][0][1] == ITEMS[0].messages[0]["content"] and parent.asked[0][1][1] == "Five."
    real = answers(base, {"name": "sft_as_context", "parent": "P"}, load=lambda path: base)
    assert texts(real) != texts(base.generate(ITEMS, GREEDY))
    with pytest.raises(ConfigError, match="parent"):
        parse_remedy("sft_as_context")
    with pytest.raises(ConfigError, match="cannot be loaded here"):
        answers(tuned, {"name": "sft_as_context", "parent": "P"})


def test_examples_come_before_the_request_and_behind_a_system_turn(tmp_path: Path) -> None:
    model = Scripted(lambda messages, begun: "ok")
    system = {"role": "system", "content": "Be brief."}
    asked = replace(ITEMS[0], messages=(system, *ITEMS[0].messages))
    Remedied(model, parse_remedy("few_shot")).generate([asked], GREEDY)
    assert [role for role, _ in model.asked[0]] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert model.asked[0][-1][1] == ITEMS[0].messages[0]["content"]
    path = tmp_path / "shots.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "q"}], "target": "t"}) + "\n")
    Remedied(model, parse_remedy({"name": "few_shot", "path": str(path), "shots": 1})).generate([asked], GREEDY)
    assert model.asked[1][1:3] == [("user", "q"), ("assistant", "t")]
    with pytest.raises(ConfigError, match=r"remedy.shots: 2, but .*shots.jsonl has 1"):
        Remedied(model, parse_remedy({"name": "few_shot", "path": str(path)})).generate([asked], GREEDY)


def test_our_examples_meet_the_constraints_that_they_name() -> None:
    from adhere.evaluation.remedies.few_shot import EXAMPLES
    from adhere.rewards.constraints import check

    (_, first), (_, second) = EXAMPLES
    assert check("punctuation:no_comma", first) and check("change_case:english_lowercase", first)
    assert second.endswith("That is all.") and "\\boxed{11}" in second


def test_reflection_shows_the_model_its_reasoning_and_its_answer() -> None:
    model = Scripted(lambda messages, begun: "better" if len(messages) > 1 else "<think> sums </think> Five.")
    assert texts(answers(model, "self_reflection")) == [["better"]] * 3
    (_, question), (role, answer), (_, review) = model.asked[3]
    assert question == ITEMS[0].messages[0]["content"] and (role, answer) == ("assistant", "Five.")
    assert review.startswith("Your reasoning was: sums\n\nCheck your answer")


@pytest.mark.parametrize(
    ("reply", "thinks"),
    [
        ("NO", False), ("No.", False), ("<think> yes or no? </think> NO", False), ("YES", True), ("yes", True),
        ("Yes, not no.", True), ("I do not know.", True), ("Nothing", True), ("", True), ("<think> no", True),
    ],
)  # fmt: skip
def test_a_model_that_sees_no_need_to_reason_answers_directly(reply: str, thinks: bool) -> None:
    def answer(messages: Sequence[Any], begun: str) -> str:
        if "YES or NO" in messages[-1]["content"]:
            return reply
        return "five" if begun else "<think> sums </think> five"

    found = answers(Scripted(answer), "self_selective")
    assert texts(found) == [["<think> sums </think> five" if thinks else "<think>\n\n</think>\nfive"]] * 3
    assert {generation.applied for generation in flat(found)} == {not thinks}


def test_conditions_of_its_own_follow_the_request() -> None:
    model = Scripted(
        lambda messages, begun: "use small letters" if "Do not answer" in messages[-1]["content"] else "ok"
    )
    found = answers(model, "bridge")
    assert texts(found) == [["ok"]] * 3 and [s[0].applied for s in found] == [True, True, False]
    assert f"({RULE})" in model.asked[1][0][1]
    request = ITEMS[0].messages[0]["content"]
    assert model.asked[3][0][1].startswith(request) and model.asked[3][0][1].endswith("\nuse small letters")


@pytest.mark.parametrize(
    "name", [name for name in REMEDIES if name not in ("none", "classifier_selective", "steering")]
)
def test_a_response_that_could_not_be_drawn_stays_missing(name: str) -> None:
    class Down(Scripted):
        def generate(self, items: Any, sampling: Any, starts: Any = None) -> list[list[Generation]]:
            return [[Generation("", None, False, error="down")] for _ in items]

    model = Down(lambda messages, begun: "")
    given = {"name": name} | ({"parent": "P"} if name == "sft_as_context" else {})
    found = flat(answers(model, given, load=lambda path: model))
    assert [generation.error for generation in found] == ["down"] * 3
    assert {generation.spent for generation in found} == {None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("repaet", "there is no remedy 'repaet' .*repeat"),
        ({"name": "repeat", "txt": "x"}, "txt: repeat has no such option.*text"),
        ({"name": "budget_forcing", "limit": 0}, "limit: "),
        ({"text": "x"}, "name one of none, "),
        ({"name": "few_shot", "shots": "many"}, "shots: "),
    ],
)
def test_a_wrong_remedy_is_an_error_that_says_what_there_is(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_remedy(given)


def test_a_recipe_names_a_remedy_and_an_endpoint_refuses_what_it_cannot_do() -> None:
    evaluate = ["recipe=evaluate", "model.path=M", "evaluation.remedy=repeat"]
    assert compose_recipe(evaluate).evaluation.remedy["name"] == "repeat"  # type: ignore[index]
    one = compose_recipe([*evaluate[:2], "++evaluation.remedy.name=budget_forcing", "++evaluation.remedy.limit=9"])
    assert one.evaluation.remedy == {"name": "budget_forcing", "limit": 9, "waits": 0, "wait": "Wait"}
    endpoint = ["evaluation.backend=openai", "evaluation.base_url=http://127.0.0.1:1/v1"]
    with pytest.raises(ConfigError, match=r"evaluation\.remedy: repeat goes on with responses that are begun"):
        compose_recipe([*evaluate, *endpoint])
    assert compose_recipe([*evaluate[:2], "evaluation.remedy=self_reflection", *endpoint]).evaluation.remedy
    with pytest.raises(ConfigError, match=r"evaluation\.remedy.*there is no remedy 'nothing'"):
        compose_recipe([*evaluate[:2], "evaluation.remedy=nothing"])


def test_the_content_of_what_a_remedy_names_is_part_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "shots.jsonl"

    def key(*words: str) -> str:
        run = plan_run(["recipe=evaluate", "model.path=owner/name", f"run.root={tmp_path}", *words])
        return next(iter(run.graph.stages))

    few = ["++evaluation.remedy.name=few_shot", f"++evaluation.remedy.path={path}"]
    path.write_text("one")
    first = key(*few)
    assert key(*few) == first != key() == key("evaluation.remedy=null")
    path.write_text("two")
    assert key(*few) != first


@pytest.mark.parametrize("given", ["repeat", "[]", "{a: 1}", "[[1]]", "[repaet]", "[", "[{limit: 3}]"])
def test_a_comparison_needs_a_list_of_remedies(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^remedies: "):
        remedy_stages(given)


def test_a_plug_in_adds_a_remedy_of_its_own() -> None:
    @remedy("shout")
    class Shout(Remedy):
        def respond(self, model: Any, asked: Any) -> list[Generation]:
            return [replace(found, text=found.text.upper()) for found in model.answer(asked)]

    try:
        model = Scripted(lambda messages, begun: "five")
        assert texts(answers(model, "shout")) == [["FIVE"]] * 3
        assert Remedied(model, parse_remedy("shout")).name == "scripted+shout"
        with pytest.raises(ConfigError, match="has no method respond"):
            remedy("silent")(type("Silent", (Remedy,), {}))
    finally:
        REMEDIES.remove("shout")


def test_the_table_has_what_each_remedy_costs(tmp_path: Path) -> None:
    model = Scripted(lambda messages, begun: "<think> sums </think> five" if not begun else " five")
    found = flat(answers(model, "repeat"))
    cost = remedy_report(parse_remedy("repeat"), found)
    assert cost["name"] == "repeat" and cost["applied"] == pytest.approx(2 / 3)
    assert cost["tokens"] == pytest.approx((5 + 5 + 4) / 3) and cost["seconds"] >= 0.0
    estimate = {"mean": 0.5, "low": 0.25, "high": 0.75}
    results = [{"suite": "s", "remedy": cost, "metrics": dict.fromkeys(("accuracy", "hacc", "joint"), estimate)}]
    assert rows(results)[0][:5] == ["repeat", *["50.0 (25.0–75.0)"] * 3, "5"]
    write_remedies(tmp_path, results)
    assert (tmp_path / "remedies.md").read_text().splitlines()[0].startswith("| remedy | accuracy | HAcc | joint |")
    assert "repeat" in (tmp_path / "remedies.csv").read_text()


# --- a selector, from two recorded runs


def recorded(folder: Path, good: Callable[[PromptItem], float], prompts: Sequence[PromptItem]) -> Path:
    done = [
        {
            "id": one.id, "source": "s", "twin_of": None, "messages": list(one.messages), "question": one.question,
            "answer": one.answer, "constraints": [], "mathif": None, "response": "r", "error": None, "sample": 0,
            "tokens": 1, "finished": True, "prefilled": False, "verdicts": [],
            "correct": {"score": good(one), "status": "ok", "detail": ""}, "hacc": good(one), "sacc": good(one),
            "joint": good(one),
        }
        for one in prompts
    ]  # fmt: skip
    folder.mkdir()
    write_responses(folder / TABLE, done)
    return folder


def needs_thought(one: PromptItem) -> bool:
    return "What is" in one.messages[0]["content"]


MIXED = [item(f"m{n}", f"What is {n} + 3?" if n % 2 else f"Say a word about number {n}.") for n in range(64)]


def test_a_selector_learns_where_reasoning_helps_and_the_oracle_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    think = recorded(tmp_path / "think", lambda one: float(needs_thought(one)), MIXED)
    direct = recorded(tmp_path / "direct", lambda one: float(not needs_thought(one)), MIXED)
    path = tmp_path / "selector.json"
    assert main(["selector", str(think), str(direct), f"to={path}"]) == 0
    assert "oracle    1.000" in capsys.readouterr().out
    figures = read_selector(path).figures
    assert figures["selected"]["mean"] == figures["oracle"]["mean"] == 1.0
    assert 0.3 < figures["think"]["mean"] < 0.7 and figures["over_think"]["low"] > 0.0 < figures["over_direct"]["low"]

    model = Scripted(lambda messages, begun: "five" if begun else "<think> sums </think> five")
    chosen = parse_remedy({"name": "classifier_selective", "selector": str(path)})
    found = flat(Remedied(model, chosen).generate(MIXED[:6], GREEDY))
    assert [generation.applied for generation in found] == [not needs_thought(one) for one in MIXED[:6]]
    assert all(("sums" in g.text) is needs_thought(one) for g, one in zip(found, MIXED, strict=False))


def test_a_selector_learns_nothing_from_chance_and_says_where_there_is_nothing_to_learn(tmp_path: Path) -> None:
    import random

    def luck(seed: str) -> Callable[[PromptItem], float]:
        return lambda one: float(random.Random(seed + one.id).random() < 0.5)

    think = recorded(tmp_path / "think", luck("a"), MIXED)
    direct = recorded(tmp_path / "direct", luck("b"), MIXED)
    figures = train_selector(think, direct).figures
    assert figures["over_think"]["low"] <= 0.0 or figures["over_direct"]["low"] <= 0.0
    assert figures["oracle"]["mean"] >= figures["selected"]["mean"]
    with pytest.raises(DataError, match="reasoning is never worse"):
        train_selector(think, think)
    few = recorded(tmp_path / "few", luck("c"), MIXED[:5])
    with pytest.raises(DataError, match="share 5 prompts"):
        train_selector(think, few)
    with pytest.raises(DataError, match="no such file"):
        train_selector(think, tmp_path / "nowhere")
    (tmp_path / "other.json").write_text("{}")
    for name, message in (("other.json", "is not a selector"), ("none.json", "adhere selector THINK DIRECT")):
        with pytest.raises(DataError, match=message):
            answers(Scripted(lambda m, b: ""), {"name": "classifier_selective", "selector": str(tmp_path / name)})


# --- steering


def pairs(path: Path, count: int = 12, *, swapped: bool = False, chance: bool = False) -> Path:
    rows_of_it = []
    for n in range(count):
        short, long = f"<think>\n{n} + 3 = {n + 3}.", f"<think>\n{n} + 3 = {n + 3}. * * *final* *final* " * 3
        rows_of_it.append({"question": f"What is {n} + 3?", "short": short, "long": long})
        if swapped or (chance and n % 5 == 0):
            rows_of_it[-1]["short"], rows_of_it[-1]["long"] = long, short
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of_it))
    return path


def test_the_direction_is_tested_on_other_pairs_and_as_strong_as_the_bound_allows(base: Any, tmp_path: Path) -> None:
    file = pairs(tmp_path / "pairs.jsonl")
    weak, strong = (find_direction(base, file, None, bound) for bound in (1e-4, 1e-3))
    assert weak.layer == 2 * len(decoder_layers(base.model)) // 3
    assert 0.0 < weak.strength < strong.strength and 5e-5 < weak.kl <= 1e-4 and 5e-4 < strong.kl <= 1e-3
    assert weak.agreement > 0.3
    other = find_direction(base, pairs(tmp_path / "swapped.jsonl", swapped=True), None, 1e-3)
    assert float(torch.cosine_similarity(other.vector, weak.vector, dim=0)) == pytest.approx(-1.0, abs=1e-5)
    with pytest.raises(ConfigError, match="no common direction"):
        find_direction(base, pairs(tmp_path / "chance.jsonl", chance=True), None, 1e-3)
    with pytest.raises(ConfigError, match="layers are 0 to"):
        find_direction(base, file, 99, 1e-3)
    with pytest.raises(DataError, match="too few"):
        find_direction(base, pairs(tmp_path / "few.jsonl", 4), None, 1e-3)
    (tmp_path / "bad.jsonl").write_text('{"question": "q", "short": "s"}\n')
    with pytest.raises(DataError, match="is not a pair"):
        find_direction(base, tmp_path / "bad.jsonl", None, 1e-3)


def test_steering_changes_responses_and_leaves_nothing_in_the_model(base: Any, tmp_path: Path) -> None:
    plain = texts(base.generate(ITEMS, GREEDY))
    file = str(pairs(tmp_path / "pairs.jsonl"))
    assert texts(answers(base, {"name": "steering", "pairs": file, "kl": 1.0})) != plain
    assert texts(answers(base, {"name": "steering", "pairs": file, "kl": 1e-12})) == plain, "no strength, no change"
    assert texts(base.generate(ITEMS, GREEDY)) == plain
    with pytest.raises(ConfigError, match="needs the transformers back end"):
        answers(Scripted(lambda messages, begun: ""), {"name": "steering", "pairs": file})
