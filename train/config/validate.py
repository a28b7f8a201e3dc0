"""From a plain composed config to a checked ``Recipe``, with messages that name the key and what to do."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from adhere.evaluation.remedies import REMEDIES
from adhere.evaluation.suites import SUITES
from adhere.prompts.attach import Sampler
from adhere.prompts.generators import GENERATORS, check_params
from adhere.rewards.components import COMPONENTS
from adhere.rewards.errors import AdhereError, ConfigError, nearest
from adhere.train.config.ablation import name_problem
from adhere.train.config.generation import SERVER_KEYS, VllmConfig
from adhere.train.config.named_stages import DECLARED, ON_POLICY, WEIGHTS
from adhere.train.config.schema import GrpoConfig, Recipe, recipe_schema
from adhere.train.config.trackers import TRACKERS, tracker_named

TRL_CONFIGS = {stage: f"trl/trainer/{stage}_config.py" for stage in ("sft", "grpo", "dpo")}
OURS = {
    "beta": "grpo.kl_coefficient",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "gradient_accumulation_steps": "gradient_accumulation",
    "gradient_checkpointing": "gradient_checkpointing",
    "learning_rate": "learning_rate",
    "load_best_model_at_end": "grpo.hand_over",
    "logging_steps": "logging_steps",
    "loss_type": "grpo.loss",
    "lr_scheduler_type": "lr_scheduler",
    "max_completion_length": "grpo.max_completion_length",
    "max_grad_norm": "max_grad_norm",
    "max_length": "sft.max_length",
    "max_steps": "max_steps",
    "multi_objective_aggregation": "rewards.aggregation",
    "chat_template_kwargs": "model.chat_template_kwargs",
    "num_generations": "grpo.group_size",
    "num_train_epochs": "sft.epochs",
    "output_dir": "run.root",
    "per_device_train_batch_size": "per_device_batch_size",
    "report_to": "tracking",
    "reward_weights": "rewards.components",
    "save_only_model": "save_steps",
    "save_steps": "save_steps",
    "save_strategy": "save_steps",
    "save_total_limit": "save_steps",
    "scale_rewards": "rewards.scale",
    "seed": "seed",
    "temperature": "grpo.temperature",
    "top_p": "grpo.top_p",
    "use_transformers_continuous_batching": "grpo.generation",
    "use_vllm": "grpo.generation",
    "vllm_enable_sleep_mode": "grpo.vllm.sleep",
    "vllm_gpu_memory_utilization": "grpo.vllm.gpu_memory_utilization",
    "vllm_group_port": "grpo.vllm",
    "vllm_max_model_length": "grpo.vllm.max_model_length",
    "vllm_mode": "grpo.generation",
    "vllm_server_base_url": "grpo.vllm.base_url",
    "vllm_server_host": "grpo.vllm.base_url",
    "vllm_server_port": "grpo.vllm.base_url",
    "vllm_server_timeout": "grpo.vllm.start_seconds",
    "vllm_tensor_parallel_size": "grpo.vllm.tensor_parallel",
    "warmup_steps": "warmup_steps",
    "weight_decay": "weight_decay",
}
"""TRL fields that a key of the recipe decides; setting them twice would leave one of the two a lie."""

LEVERS = {
    "delta": "clip_ratio",
    "entropy_coef": "entropy_coefficient",
    "entropy_target": "entropy_target",
    "epsilon": "clip_low",
    "epsilon_high": "clip_high (cispo_weight with loss=cispo)",
    "importance_sampling_level": "ratio_level",
    "mask_truncated_completions": "mask_truncated",
    "num_iterations": "num_iterations",
    "ref_model_mixup_alpha": "reference_mix",
    "ref_model_sync_steps": "reference_every",
    "sapo_temperature_neg": "sapo_negative",
    "sapo_temperature_pos": "sapo_positive",
    "sync_ref_model": "reference_every",
    "top_entropy_quantile": "entropy_top",
    "use_adaptive_entropy": "entropy_target",
}
"""TRL fields that a key of GRPO's loss becomes."""

OURS_OF_DPO = {
    "beta": "dpo.beta",
    "loss_type": "dpo.loss",
    "max_length": "pairs.max_completion_length",
    "num_train_epochs": "dpo.epochs",
}
"""The same where a DPO stage has another key."""

BASE_CONFIGS = ("trl/trainer/base_config.py", "transformers/training_args.py")


def validate_recipe(config: Mapping[str, Any]) -> Recipe:
    """Check ``config`` against the schema and across fields.

    Raises:
        ConfigError: names every offending dotted key, the nearest known one, and what to do.
    """
    try:
        recipe = recipe_schema().model_validate(config)
    except ValidationError as error:
        # What a value of several types is not stands in one line: 'auto' or greater than or equal to 1.
        lines: dict[tuple[str, str], str] = {}
        for found in error.errors():
            line = _explain(found, config)
            start, should, rest = line.partition(": Input should be ")
            expected, got, value = rest.rpartition(", got ")
            before = lines.get((start, value)) if should and got else None
            key = (start, value) if should and got else (line, "")
            lines[key] = line if before is None else f"{before.rpartition(got)[0]} or {expected}{got}{value}"
        raise ConfigError("\n".join(lines.values())) from error
    grpo, ranks, total = recipe.grpo, recipe.launcher.processes, recipe.completions_per_step
    trains, problems = bool(recipe.kinds & ON_POLICY), list[str]()
    if trains and total % grpo.group_size:
        problems.append(
            f"grpo.group_size: {grpo.group_size} does not divide the {total} completions of a step "
            f"({grpo.per_device_batch_size} per device × {ranks} ranks × {grpo.gradient_accumulation} accumulated); "
            f"change grpo.per_device_batch_size or grpo.gradient_accumulation"
        )
    context, prompt = recipe.model.context, recipe.data.max_prompt_tokens
    if context is not None and prompt is not None:
        wanted = {"grpo.max_completion_length": grpo.max_completion_length} if trains else {}
        if "evaluate" in recipe.kinds:
            wanted["evaluation.sampling.max_new_tokens"] = recipe.evaluation.sampling.max_new_tokens
        problems += [
            f"{key}: {length} + data.max_prompt_tokens {prompt} exceeds model.context {context}; lower one of them"
            for key, length in wanted.items()
            if length + prompt > context
        ]
    sources = {f"data.{role}[{i}].path": source.path for role in ("train", "evaluation")
               for i, source in enumerate(getattr(recipe.data, role))}  # fmt: skip
    paths = {
        "run.root": recipe.run.root,
        "model.path": recipe.model.path,
        "model.chat_template": recipe.model.chat_template,
        "evaluation.path": recipe.evaluation.path,
        "evaluation.responses": recipe.evaluation.responses,
        "launcher.slurm.profile": recipe.launcher.slurm.profile,
    }
    paths |= {f"data.decontaminate_against[{i}]": path for i, path in enumerate(recipe.data.decontaminate_against)}
    if (name := recipe.run.name) is not None:
        problem = name_problem(name)
        if problem is None and (
            name in ("artifacts", "latest") or name.startswith((".", "-", "~")) or name != name.strip()
        ):
            problem = "cannot be the name of a run; use another, such as first-try"
        if problem is not None:
            problems.append(f"run.name: '{name}' {problem}")
    for key, path in (paths | sources).items():
        if path is not None and not path.isprintable():
            problems.append(f"{key}: {path!r} holds a line break or another control character; rename it")

    evaluation = recipe.evaluation
    if not evaluation.suites:  # the stage of each of several suites is checked with its own settings
        suite, replay = SUITES[evaluation.suite], evaluation.backend == "replay"
        problems += suite.problems(evaluation.source)
        if evaluation.few_shot and not suite.examples:
            having = ", ".join(name for name, kind in SUITES.items() if kind.examples)
            problems.append(f"evaluation.few_shot: {evaluation.suite} has no examples, {having} has; leave it out")
        if evaluation.revision is not None and (evaluation.path is not None or suite.hub is None):
            problems.append("evaluation.revision: belongs to a suite's data set on the hub, and this one is a file")
        if evaluation.mode not in suite.modes:
            problems.append(
                f"evaluation.mode: the suite {evaluation.suite} has no mode {evaluation.mode}; use {suite.modes[0]}"
            )
        if evaluation.without_constraints and not suite.twins:
            problems.append(
                f"evaluation.without_constraints: the suite {evaluation.suite} has no prompts without constraints"
            )
        if replay and evaluation.responses is None:
            problems.append("evaluation.responses: the replay back end reads responses from a file; name it")
        if replay and suite.fingerprint(evaluation.source) is None:
            problems.append(
                "evaluation.path: replay scores responses to prompts of a benchmark or file; name the suite, or its "
                "file"
            )
        if not replay and evaluation.responses is not None:
            problems.append(
                f"evaluation.responses: the back end {evaluation.backend} generates its own responses; use "
                f"backend=replay, or leave the file out"
            )
        if replay and evaluation.without_constraints:
            problems.append("evaluation.without_constraints: a file has no second set of responses; leave it out")
    remedy = None if evaluation.remedy is None else REMEDIES[evaluation.remedy["name"]]
    if remedy is not None and evaluation.backend == "replay":
        problems.append("evaluation.remedy: responses from a file are what they are; leave it out")
    if remedy is not None and remedy.continues and evaluation.backend == "openai":
        problems.append(
            f"evaluation.remedy: {remedy.name} goes on with responses that are begun, which an endpoint's chat cannot; "
            f"use evaluation.backend=transformers or vllm"
        )
    if evaluation.backend == "openai" and not evaluation.base_url:
        problems.append(
            "evaluation.base_url: the openai back end needs an endpoint, for example http://127.0.0.1:8000/v1"
        )
    # Combinations that the engines cannot run, or would run as something else.
    launcher, strategy = recipe.launcher, recipe.launcher.strategy
    if launcher.offload and strategy in ("single", "ddp"):
        problems.append(
            f"launcher.offload: {strategy} keeps everything on its GPU; use strategy=zero2_offload or zero3"
        )
    if strategy == "fsdp2" and launcher.device == "cpu":
        problems.append("launcher.strategy: accelerate runs DDP where fsdp2 is asked for on a CPU; use strategy=ddp")
    if strategy == "fsdp2" and launcher.processes == 1:
        problems.append("launcher.strategy: fsdp2 shards over ranks, and there is one; use strategy=single")
    if launcher.device == "cpu" and recipe.model.dtype in ("float16", "bfloat16") and strategy.startswith("zero"):
        problems.append(f"model.dtype: {strategy} on a CPU computes in float32; use dtype=auto or float32")
    if launcher.stages_per_gpu > 1 and launcher.processes > 1:
        problems.append(
            f"launcher.stages_per_gpu: only stages of one process share a GPU, launcher.processes is "
            f"{launcher.processes}; set one of them to 1"
        )
    if launcher.stages_per_gpu > 1 and launcher.kind == "slurm":
        problems.append("launcher.stages_per_gpu: every job of Slurm has GPUs of its own; set it to 1")
    if recipe.model.kernels and launcher.device == "cpu":
        problems.append("model.kernels: the hub's kernels are for GPUs; leave it out on a CPU")
    if launcher.device == "cpu" and recipe.model.dtype == "float16":
        problems.append("model.dtype: float16 needs a GPU's loss scaling; use auto, which is float32 on a CPU")
    if launcher.nodes > launcher.processes:
        problems.append(
            f"launcher.nodes: {launcher.nodes} machines have at least a rank each, launcher.processes is "
            f"{launcher.processes}, over all nodes"
        )
    elif launcher.processes % launcher.nodes:
        problems.append(
            f"launcher.processes: {launcher.processes} ranks cannot be divided among {launcher.nodes} equal machines"
        )

    # The rollouts' generation. A composed recipe names every key: one at its default counts as left out.
    vllm, generation = grpo.vllm, grpo.generation if trains else "transformers"
    given = {key for key in type(vllm).model_fields if getattr(vllm, key) != getattr(VllmConfig(), key)}
    if generation == "vllm_colocate":
        problems += [
            f"grpo.vllm.{key}: is for a server, grpo.generation is vllm_colocate; leave it out, or use vllm_server"
            for key in SERVER_KEYS
            if key in given
        ]
        if ranks % vllm.tensor_parallel:
            problems.append(
                f"grpo.vllm.tensor_parallel: {vllm.tensor_parallel} does not divide the {ranks} ranks "
                f"(launcher.processes); choose a divisor"
            )
    if generation == "vllm_server":
        if vllm.sleep:
            problems.append(
                "grpo.vllm.sleep: a server has GPUs of its own and never sleeps; leave it out, or use vllm_colocate"
            )
        if launcher.device == "cpu":
            problems.append(
                "grpo.generation: vllm_server receives weights over NCCL, so it needs GPUs; use vllm_colocate on a CPU"
            )
        if vllm.base_url is not None:
            problems += [
                f"grpo.vllm.{key}: is for a server that the launcher starts, and base_url names one that runs"
                for key in ("gpus", "port", "options", "tensor_parallel", "gpu_memory_utilization")
                if key in given
            ]
        elif vllm.gpus % vllm.tensor_parallel:
            problems.append(
                f"grpo.vllm.tensor_parallel: {vllm.tensor_parallel} does not divide the server's {vllm.gpus} GPUs "
                f"(grpo.vllm.gpus); choose a divisor"
            )
        if vllm.base_url is None and launcher.kind == "local" and launcher.nodes > 1:
            problems.append(
                f"grpo.vllm.base_url: training on {launcher.nodes} nodes started by hand, every node has to find the "
                f"same server; start it and name its address, or use launcher=slurm"
            )
    if trains and grpo.token_credit.strength > 0.0 and grpo.exact_trl:
        problems.append("grpo.token_credit.strength: needs adhere's own updates, not exact_trl=true")
    if trains and grpo.refill and (generation != "transformers" or grpo.exact_trl):
        other = "exact_trl=true" if grpo.exact_trl else f"generation={generation}"
        problems.append(f"grpo.refill: works with grpo.generation=transformers in adhere's own loop, not {other}")
    if trains and grpo.refill and strategy == "fsdp2":
        problems.append("grpo.refill: ranks draw different numbers of rollouts, which fsdp2 cannot; use ddp or zero3")
    room = vllm.max_model_length
    if generation.startswith("vllm") and room is not None and grpo.max_completion_length + (prompt or 1) > room:
        problems.append(
            f"grpo.vllm.max_model_length: {room} has no room for {prompt or 1} prompt tokens "
            f"(data.max_prompt_tokens) and {grpo.max_completion_length} of completion (grpo.max_completion_length); "
            f"raise it, or lower one of them"
        )

    # A schedule may name weights that its training never reaches.
    weights = (recipe.rewards.weights(n, grpo.max_steps) for n in range(grpo.max_steps))
    if "grpo" in recipe.kinds and not any(any(of_step.values()) for of_step in weights):
        problems.append(
            f"rewards.components: every weight is 0 in each of the {grpo.max_steps} steps, so there is nothing to "
            f"train on"
        )

    models = [name for name, stage in recipe.stages.items() if DECLARED[stage.kind].makes == WEIGHTS]
    if (judged := recipe.ablation.judge_by) is not None and judged not in models:
        problems.append(
            f"ablation.judge_by: no stage that makes a model is called '{judged}'{nearest(judged, models)}; there are "
            f"{', '.join(models) or 'none'}"
        )

    # What types cannot say: each component, the sampler and each generator is asked itself, before a worker is.
    asked: list[tuple[str, Callable[[], object]]] = [
        ("", partial(component.check, name)) for name, component in recipe.rewards.components.items()
    ]
    if recipe.data.constraints is not None:
        asked.append(("data.", partial(Sampler, recipe.data.constraints)))
    for role in ("train", "evaluation"):
        for i, source in enumerate(getattr(recipe.data, role)):
            if source.generator in GENERATORS:  # reasoning-gym's are checked when they are used
                asked.append((f"data.{role}[{i}]: ", partial(check_params, source)))
    for where, check in asked:
        try:
            check()
        except AdhereError as error:
            problems.append(f"{where}{error}")
    for stage, extra in (("sft", recipe.sft.trl), ("grpo", recipe.grpo.trl), ("dpo", recipe.dpo.trl)):
        known = trl_fields(stage) if extra else frozenset()
        ours = OURS | (OURS_OF_DPO if stage == "dpo" else {})
        problems += [
            f"{stage}.trl.{key}: TRL's config has no such field{nearest(key, known)}"
            for key in extra
            if key not in known
        ]
        problems += [f"{stage}.trl.{key}: is set by {ours[key]}" for key in extra if key in ours]
    # A lever has a key of its own; the field that it becomes may still be given in trl, but not both.
    fields, plain = grpo.trl_fields(), GrpoConfig().trl_fields()
    problems += [
        f"grpo.trl.{field}: grpo.{LEVERS[field]} sets it already; leave one of them out"
        for field in sorted(LEVERS.keys() & grpo.trl.keys())
        if fields[field] != plain[field]
    ]
    for name in recipe.tracking.trackers:
        if name in TRACKERS and TRACKERS.package(name) == "adhere":
            problems.append(f"tracking.trackers: '{name}' is switched on by tracking.{name}; name only others here")
            continue
        try:
            tracker_named(name)
        except ConfigError as error:
            problems.append(f"tracking.trackers: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return recipe


def _explain(error: Any, config: Mapping[str, Any]) -> str:
    location = error["loc"]
    component = location[:2] == ("rewards", "components")
    if component and location[3:4] == ("weight",):  # pydantic puts the tag of a union after a weight
        location = location[:4] + location[5:]
    value: Any = config
    named: list[int | str] = []
    for part in location:  # of a union, the types follow the key: they are not part of it
        tag = part == "str" or "[" in str(part) if isinstance(value, list) else not isinstance(value, Mapping)
        if isinstance(part, int) or not tag:
            named.append(part)
            fits = isinstance(part, int) and isinstance(value, list) and part < len(value)
            value = value.get(part, {}) if isinstance(value, Mapping) else value[part] if fits else {}
    key = ".".join(str(part) for part in named)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        # The fields of the schema where the key stands; indices, names and union tags are passed.
        models: list[type[BaseModel]] = [recipe_schema()]
        path = location[:-1]
        if component and len(path) > 2:
            models = [COMPONENTS[config["rewards"]["components"][path[2]]["kind"]]]
            path = path[3:]
        for part in path:
            step = [field.annotation for model in models if (field := model.model_fields.get(str(part))) is not None]
            if step:
                models = [model for annotation in step for model in _models_in(annotation)]
        tagged = [m for m in models if (kind := m.model_fields.get("kind")) and kind.default in path]
        known = sorted({f.alias or name for m in tagged or models for name, f in m.model_fields.items()})
        return f"{key}: there is no such key{nearest(str(location[-1]), known)}"
    if error["type"] == "missing":
        return f"{key}: is required"
    if error["type"] == "component_without_kind":
        return f"{key}: {message}{nearest(location[-1], COMPONENTS)}; a new one needs a kind: {', '.join(COMPONENTS)}"
    if error["type"] == "value_error":
        return f"{key}.{message}" if ":" in message.split(" ")[0] else f"{key}: {message}"
    return f"{key}: {message}, got {error['input']!r}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


@cache
def trl_fields(stage: str) -> frozenset[str]:
    """Return the field names of TRL's config class for ``stage``, read from its source without importing it."""
    names: set[str] = set()
    for relative in (TRL_CONFIGS[stage], *BASE_CONFIGS):
        package, _, inner = relative.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(f"{package} is not installed; install adhere with its dependencies")
        source = Path(spec.origin).parent / inner
        if not source.exists():
            continue
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return frozenset(names)
