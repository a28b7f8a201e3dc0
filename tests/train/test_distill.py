"""Distillation: what equals plain GRPO bit for bit, its formulas, its routes, and an exact resume."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, prepare, step_by_step, whole

from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.records.artifact import Artifact
from adhere.records.tables import read_rollout_files, rollout_files
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.stage import read_spec
from adhere.train.model.chat import prompt_ids
from adhere.train.plan.describe import describe_run
from adhere.train.run.run import plan_run
from adhere.train.stages.distill import Distillation, divergence
from adhere.train.stages.teachers import load_teachers, teacher_of

COMMA = {"id": "c", "text": "Use no comma.", "weight": 100, "check": {"constraint": "punctuation:no_comma"}}
LEARNS = [
    "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null", "grpo.temperature=2", "grpo.max_steps=3",
    "grpo.max_completion_length=48", "grpo.max_clipped_steps=100",
]  # fmt: skip
DISTILL = "stages={student: {kind: distill}}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with every weight moved a little: a teacher that disagrees."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("teacher") / "model"
    base = read_spec(prepare(folder.parent / "plan", "stages=[grpo]").spec).recipe.model.path
    model = AutoModelForCausalLM.from_pretrained(base)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * 0.5 * weight.std())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def trained(root: Path, *overrides: str) -> Artifact:
    """Run a stage, without the hand-off check, which short responses fail."""
    artifact = prepare(root, *LEARNS, *overrides)
    artifact.handoff.write_text('{"stopped": 1.0}')
    whole(artifact)
    return artifact


def figures(artifact: Artifact, name: str) -> list[float]:
    rows = [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


@pytest.mark.slow
def test_without_its_weight_it_is_plain_grpo_bit_for_bit_and_with_it_the_policy_moves_to_the_teacher(
    tmp_path: Path, teacher: Path
) -> None:
    taught = [DISTILL, f"distill.models=[{teacher}]"]
    plain = trained(tmp_path / "plain", "stages=[grpo]")
    silent = trained(tmp_path / "silent", *taught, "distill.coefficient=0", "distill.reward=1")
    loud = trained(tmp_path / "loud", *taught, "grpo.max_steps=6")
    assert [text for text in differences(plain, silent) if "distill/" not in text] == []
    assert any(figures(silent, "distill/kl")), "the teacher is asked, though it does not count"
    distances = figures(loud, "distill/kl")
    assert sum(distances[-2:]) < 0.9 * sum(distances[:2]), distances


@pytest.mark.slow
@pytest.mark.parametrize("form", ["sampled", "forward_kl"])
def test_stopped_at_every_step_it_ends_the_same(tmp_path: Path, form: str) -> None:
    """With a teacher that moves: a copy of the policy, which is shown more."""
    keys = ["distill.teacher=self", "distill.context=requirements", "distill.ema=0.5", f"distill.form={form}"]
    further = ["distill.ratio_bounds=[0.5,2.0]", "+grpo.trl.num_iterations=2", "grpo.gradient_accumulation=2"]
    one = trained(tmp_path / "whole", DISTILL, *keys, *further)
    other = prepare(tmp_path / "steps", DISTILL, *LEARNS, *keys, *further)
    other.handoff.write_text('{"stopped": 1.0}')
    assert step_by_step(other) == [1, 2]
    assert differences(one, other) == []


def test_the_divergences_are_those_of_their_formulas() -> None:
    draw = torch.Generator().manual_seed(0)
    own, other = torch.randn(3, 4, generator=draw), torch.randn(3, 5, generator=draw)
    heads = torch.nn.Linear(4, 6), torch.nn.Linear(5, 8)
    p = torch.softmax(heads[0](own) / 2.0, -1)
    q = torch.softmax(heads[1](other)[:, :6] / 2.0, -1)
    reverse, forward = (
        [sum(float(a * math.log(a / b)) for a, b in zip(x, y, strict=True)) for x, y in zip(one, two, strict=True)]
        for one, two in ((p, q), (q, p))
    )
    assert divergence(*heads, own, other, 2.0, "reverse_kl").tolist() == pytest.approx(reverse, rel=1e-4)
    assert divergence(*heads, own, other, 2.0, "forward_kl").tolist() == pytest.approx(forward, rel=1e-4)


@pytest.mark.parametrize(
    ("routes", "plain", "constrained", "open_ended"),
    [
        (["all"], 0, 0, 0),
        (["requirements", "all"], 1, 0, 0),
        (["no_requirements", "answer"], 0, 1, None),
        (["source=maths"], 0, None, None),
        (["no_answer", "source=maths"], 1, None, 0),
    ],
)
def test_each_prompt_goes_to_the_first_teacher_whose_route_fits(
    routes: list[str], plain: int | None, constrained: int | None, open_ended: int | None
) -> None:
    ask: Any = ({"role": "user", "content": "What is 2+3?"},)
    bare = PromptItem("i", ask, "5", source="maths")
    checklist = parse_checklist([COMMA], where="test")
    asked = with_constraints(PromptItem("j", ask, "5", source="wide"), checklist)
    without = with_constraints(PromptItem("k", ask, None, source="wide"), checklist)
    assert [teacher_of(item, routes) for item in (bare, asked, without)] == [plain, constrained, open_ended]


SHUFFLED = "data.train=[{generator:basic_arithmetic,size:96,seed:1,shuffled:true}]"
ONLY_FORM = ["~rewards.components.math", "~rewards.components.checklist", "+rewards.components.form={kind:format}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "distill.teacher: models, and none is named"),
        (["distill.teacher=self"], "distill.context: none, and distill.teacher is self"),
        (["distill.models=[a,b]"], "distill.routes: 0 for 2 teachers"),
        (["distill.models=[a]", "distill.routes=[maths]"], "distill.routes: 'maths' is none of all"),
        (["distill.models=[a]", "distill.routes=['source=']"], "'source=' names no source"),
        (["distill.models=[a]", "distill.ema=0.1"], "distill.ema: only distill.teacher=self moves"),
        (["distill.models=[a]", "distill.coefficient=0"], "nothing to train on"),
        (["distill.models=[a]", "distill.ratio_bounds=[1.5,2]"], "leave 1 out"),
        (["distill.models=[a]", "grpo.exact_trl=true"], "grpo.exact_trl"),
        (["distill.models=[a]", "grpo.refill=true"], "grpo.refill: looks at the reward's advantages"),
        (["distill.models=[a]", "grpo.learning_rate_follows=live_share"], "grpo.learning_rate_follows: looks at"),
        (
            ["distill.models=[a]", "grpo.kl_coefficient=0.1", "grpo.kl_follows=live_share"],
            "grpo.kl_follows: looks at the reward's advantages",
        ),
        (["distill.models=[a]", "grpo.admission.spread=0.1"], "grpo.admission: looks at the reward's advantages"),
        (["distill.models=[a]", "grpo.admission.distinct=3"], "grpo.admission: looks at the reward's advantages"),
        (["distill.models=[a]", "grpo.token_credit.strength=1"], "grpo.token_credit.strength: looks at"),
        (["distill.models=[a]", "grpo.ladder.start=1"], "grpo.ladder.start: a teacher is asked about prompts with all"),
        (["distill.models=[a]", "grpo.require_signal=stop"], "grpo.require_signal: only stages of kind grpo"),
        *(
            (["distill.teacher=self", word, SHUFFLED], "distill.context: a teacher is told the requirements")
            for word in ("distill.context=requirements", "distill.context=feedback", "distill.constraint_weight=1")
        ),
        (["distill.models=[a]", "grpo.loss=vespo"], "grpo.loss: keeps TRL's own micro-batches"),
        (["distill.models=[a]", "grpo.entropy_top=0.2"], "grpo.entropy_top: keeps TRL's own micro-batches"),
        (["distill.models=[a]", "+grpo.trl.entropy_coef=0.1"], "grpo.trl.entropy_coef: keeps TRL's own"),
        (
            ["distill.teacher=self", "distill.context=feedback", *ONLY_FORM],
            "distill.context: feedback says which requirements",
        ),
        (["distill.models=[a]", "distill.form=reverse_kl", "distill.constraint_weight=2"], "distill.constraint_weight"),
        (["distill.models=[a]", "strategy=zero3", "launcher.device=auto"], "launcher.strategy: a distill stage runs"),
        (["distill.models=[./nowhere]"], "distill.models: there is no folder './nowhere'"),
        (["distill.form=js"], "distill.form"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        plan_run(["recipe=quickstart", "~arms", DISTILL, f"run.root={tmp_path}", "launcher.device=cpu", *words])


@pytest.mark.parametrize(
    "words",
    [
        ["distill.reward=1", "grpo.admission.spread=0.1"],
        ["distill.reward=0.5", "grpo.token_credit.strength=1"],
        ["distill.reward=1", "grpo.kl_coefficient=0.1", "grpo.kl_follows=live_share"],
        ["grpo.loss=cispo", "grpo.relabel.advantage=1"],
        ["+grpo.trl.entropy_coef=0.0", "grpo.imitation.weight=1"],
        ["distill.context=feedback", "~rewards.components.math", "rewards.components.checklist.gate=null"],
        ["distill.context=feedback", "~rewards.components.checklist"],
        ["grpo.curriculum.every=5", "grpo.ladder.until=0.5"],
        ["distill.context=solution", SHUFFLED],
    ],
)
def test_the_near_miss_of_each_is_planned(tmp_path: Path, words: list[str]) -> None:
    taught = [DISTILL, "distill.teacher=self", "distill.context=requirements", f"run.root={tmp_path}"]
    assert plan_run(["recipe=quickstart", "~arms", "launcher.device=cpu", *taught, *words]).graph.stages


@pytest.mark.slow
def test_feedback_teaches_the_rollouts_that_failed_and_no_others(tmp_path: Path) -> None:
    keys = ["distill.teacher=self", "distill.context=feedback", "distill.ema=0.05", "grpo.max_completion_length=64"]
    artifact = trained(tmp_path, DISTILL, *keys, "grpo.learning_rate=1e-4")
    rollouts = read_rollout_files(rollout_files(artifact.rollouts)).to_pylist()
    failed = [row["correct"] is False or row["followed"] is False for row in rollouts]
    left = figures(artifact, "distill/too_long")
    shares = [(sum(failed[i : i + 8]) - long) / 8 for i, long in zip(range(0, len(failed), 8), left, strict=True)]
    assert figures(artifact, "distill/taught") == pytest.approx(shares) and max(shares) > 0.0
    assert figures(artifact, "distill/withheld") == [0.0] * 3
    assert max(figures(artifact, "grad_norm")) > 0.0


@pytest.mark.slow
def test_adapters_of_one_base_are_one_model_that_switches(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = read_spec(prepare(tmp_path / "plan", "stages=[grpo]").spec).recipe
    base = recipe.model.path
    tokenizer = AutoTokenizer.from_pretrained(base)
    draw = torch.Generator().manual_seed(1)
    for name in ("one", "two"):
        adapted = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=2, target_modules="all-linear")
        )
        for weight in (w for w in adapted.parameters() if w.requires_grad):
            weight.data = torch.randn(weight.shape, generator=draw) * 0.1
        adapted.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    paths = [str(tmp_path / "one"), base, str(tmp_path / "two")]
    teachers = load_teachers(recipe.model, paths, tokenizer, temperature=1.0, device=torch.device("cpu"))
    ids = torch.tensor([[5, 6, 7, 8]])
    for _ in range(2):
        for number, path in enumerate(paths):
            plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
            if path != base:
                plain = PeftModel.from_pretrained(plain, path).merge_and_unload()
            with teachers.asked(number) as teacher:
                assert torch.allclose(teacher(ids).logits, plain(ids).logits, atol=1e-4)
                assert not any(weight.requires_grad for weight in teacher.parameters())
    with teachers.asked(0) as first, teachers.asked(2) as last:
        assert first is last, "the base is in memory once"


@pytest.mark.slow
def test_a_teacher_with_another_tokenizer_is_refused(tmp_path: Path, teacher: Path) -> None:
    from transformers import AutoTokenizer

    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["<|new|>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(StageError, match="has another tokenizer than the policy"):
        trained(tmp_path, DISTILL, f"distill.models=[{other}]")


class Scorer:
    """Scores completions one row at a time, without packing: what the trainer's own pass has to equal."""

    def log_probs_behind(self, model: Any, prompts: Any, slot: Any, kept: Any) -> torch.Tensor:
        found = torch.full(slot["completion_ids"].shape, torch.nan)
        for i in kept:
            before, after = prompts[i], slot["completion_ids"][i][: int(slot["completion_mask"][i].sum())].tolist()
            logits = model(torch.tensor([[*before, *after]])).logits[0, len(before) - 1 : -1]
            found[i, : len(after)] = torch.log_softmax(logits, -1)[range(len(after)), after]
        return found


@pytest.mark.slow
def test_what_each_requirement_changes_is_added_and_clipped(tmp_path: Path, teacher: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    words = [f"distill.models=[{teacher}]", "distill.constraint_weight=2", "distill.constraint_clip=0.05"]
    spec = read_spec(prepare(tmp_path, DISTILL, *words).spec)
    tokenizer, model = AutoTokenizer.from_pretrained(teacher), AutoModelForCausalLM.from_pretrained(teacher)
    ask: Any = ({"role": "user", "content": "What is 2+3?"},)
    lower = {
        **COMMA,
        "id": "l",
        "text": "Write in lowercase.",
        "check": {"constraint": "change_case:english_lowercase"},
    }
    both = with_constraints(PromptItem("a", ask, "5"), parse_checklist([COMMA, lower], where="test"))
    one = with_constraints(PromptItem("b", ask, "5"), parse_checklist([COMMA], where="test"))
    items = [both, one, PromptItem("c", ask, "5")]
    distillation = Distillation(spec, items, tokenizer)
    distillation._trainer = scorer = Scorer()
    output = {"completion_ids": torch.tensor([[9, 10, 11], [12, 13, 0], [9, 9, 9]])}
    output["completion_mask"] = (output["completion_ids"] != 0).long()
    with torch.no_grad():
        found = distillation._constraint_differences(model, items, [0, 1, 2], output)

        def behind(row: int, content: str) -> torch.Tensor:
            prompt = prompt_ids(tokenizer, [{"role": "user", "content": content}])
            return scorer.log_probs_behind(model, [prompt] * 3, output, [row])[row].nan_to_num()

        whole = behind(0, "What is 2+3? Use no comma. Write in lowercase.")
        rests = behind(0, "What is 2+3? Use no comma."), behind(0, "What is 2+3? Write in lowercase.")
        expected = 2 * whole - rests[0] - rests[1]
        alone = behind(1, "What is 2+3? Use no comma.") - behind(1, "What is 2+3?")
    assert found[0].tolist() == pytest.approx(expected.clamp(-0.05, 0.05).tolist(), abs=1e-5)
    assert found[1].tolist() == pytest.approx(alone.clamp(-0.05, 0.05).tolist(), abs=1e-5)
    assert found[2].tolist() == [0.0, 0.0, 0.0], "a prompt without requirements has no differences"
    assert float(expected.abs().max()) > 0.0


def test_a_teachers_content_is_part_of_the_key_and_its_place_is_not(tmp_path: Path) -> None:
    def key(folder: str, weights: bytes) -> str:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(weights)
        words = [DISTILL, f"distill.models=[{path}]", f"run.root={tmp_path}", "launcher.device=cpu"]
        (stage,) = plan_run(["recipe=quickstart", "~arms", *words]).graph.stages
        return stage

    assert key("one", b"a") == key("two", b"a") != key("one", b"b")


def test_plan_says_who_teaches_and_counts_their_weights(tmp_path: Path) -> None:
    plan = describe_run(plan_run(["recipe=mopd", f"run.root={tmp_path}", "launcher.device=cpu"]))
    assert (
        "taught by other models, routed by no_requirements, requirements: log-probs of the sampled tokens × 1" in plan
    )
    (title,) = (line for line in plan.splitlines() if line.split()[:2] == ["weights", "gradients"])
    assert "teachers" in title.split()
    student, maths = (
        next(line.split() for line in plan.splitlines() if line.startswith(f"  {name} ") and "backward" in line)
        for name in ("student", "maths")
    )
    place = title.split().index("teachers") + 1
    assert float(student[place]) > 0.0 and maths[place] == "-"
