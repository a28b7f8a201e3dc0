"""Evaluation: one model on one suite → ``results.json`` and ``responses.parquet``.

adhere train recipe=quickstart evaluation.without_constraints=true
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from adhere.evaluation.backends import load_generator
from adhere.evaluation.backends.replay import ReplayGenerator
from adhere.evaluation.generation import Generation, Generator, Sampling, Start
from adhere.evaluation.remedies import Remedied, parse_remedy, remedy_report
from adhere.evaluation.run import evaluate, write_results
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES
from adhere.prompts.decontaminate import question_fingerprint
from adhere.prompts.item import PromptItem, read_items
from adhere.records.artifact import LOG, Artifact, Stopped
from adhere.rewards.engine import default_engine
from adhere.rewards.judge import load_judge
from adhere.train.config.schema import ModelConfig
from adhere.train.model.chat import check_template
from adhere.train.model.load import load_for_inference, load_tokenizer
from adhere.train.stages.data import load_items
from adhere.train.stages.setup import manifest, on_cpu
from adhere.train.stages.tracking import track_evaluation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from adhere.train.config.stage import StageSpec

CHUNK = 256
"""Prompts that a back end with its own scheduler gets at once, and that a stop waits for."""


LEFT_OVER = {
    "missing": "prompts of the suite have no response in the file; they are left out of every figure",
    "unknown": "rows of the file belong to no prompt of the suite; they are left out",
    "reworded": "rows have the key of a prompt and another version of its text",
    "empty": "responses are empty; they count as wrong",
}


def run_evaluate(spec: StageSpec, artifact: Artifact) -> None:
    """Generate, score and measure, resuming from the responses that an earlier attempt has written."""
    started = time.time()
    config = spec.recipe.evaluation
    suite = SUITES[config.suite].load(
        replace(config.source, recipe_items=lambda: load_items(spec, artifact, _tokenizer(spec), "evaluation"))
    )
    drawn = config.sampling
    replay = None
    if config.backend == "replay":
        replay = ReplayGenerator.load(Path(config.responses or ""), suite.items, spec.recipe.model.path)
        suite = replace(suite, items=tuple(item for item in suite.items if item.id in replay.found))
        for what, count in replay.counts.items():
            if count and what in LEFT_OVER:
                print(f"replay: {count} {LEFT_OVER[what]}", flush=True)
    timed = Timed(replay or _generator(spec, artifact))
    generator: Generator = timed
    chosen = None if config.remedy is None else parse_remedy(config.remedy)
    if chosen is not None:
        generator = Remedied(timed, chosen, cache(lambda path: _generator(spec, artifact, path)))
    with tqdm(desc=spec.label, unit="prompt", dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done < total and artifact.stop.exists():
                raise Stopped(done)

        evaluation = evaluate(
            suite,
            generator,
            Sampling(drawn.temperature, drawn.top_p, drawn.max_new_tokens, drawn.samples, spec.recipe.seed),
            mode=config.mode,
            without_constraints=config.without_constraints,
            bootstrap=Bootstrap(resamples=config.bootstrap),
            engine=default_engine(),
            judge=load_judge(config.judge) if config.judge is not None else None,
            log=None if replay else artifact.path / LOG,
            progress=show,
            chunk=config.batch_size if config.backend == "transformers" else CHUNK,
        )
    evaluation.results["contamination"] = trained_on(spec, suite.items)
    counted = [row.generation.tokens for row in (*evaluation.rows, *evaluation.twins)]
    devices = 0 if replay or config.backend == "openai" or on_cpu(spec.recipe.launcher) else 1
    evaluation.results["cost"] = {
        "responses": len(counted),
        "tokens": None if None in counted else sum(tokens or 0 for tokens in counted),
        "seconds": None if replay else round(timed.seconds, 1),
        "gpu_seconds": None if replay else round(devices * timed.seconds, 1),
    }
    if replay:
        evaluation.results.update(sampling=None, replay={"file": replay.path.name, **replay.counts})
    if chosen is not None:
        generations = [row.generation for row in (*evaluation.rows, *evaluation.twins)]
        evaluation.results["remedy"] = remedy_report(chosen, generations)
    provenance = manifest(spec, started, {"items": len(suite.items)})
    metrics = evaluation.results["metrics"]
    means = {name: found["mean"] for name, found in metrics.items() if isinstance(found, dict) and "mean" in found}
    track_evaluation(spec, artifact, {name: float(mean) for name, mean in means.items() if mean is not None})
    write_results(artifact.path, evaluation, provenance)
    artifact.finish(provenance)


class Timed:
    """A generator that counts the seconds that it generates; those of an earlier attempt are not in it."""

    def __init__(self, generator: Generator) -> None:
        self.name, self.seconds, self._generator = generator.name, 0.0, generator

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return what the generator returns."""
        started = time.monotonic()
        drawn = self._generator.generate(items, sampling, starts)
        self.seconds += time.monotonic() - started
        return drawn


def trained_on(spec: StageSpec, items: Sequence[PromptItem]) -> dict[str, Any]:
    """Return which prompts of a suite the measured model was trained on in this run's stages.

    Every stage that the model comes from keeps the items that it trained on. ``training_items`` counts them, and
    ``shared`` are the ids of the suite's items whose question is among them: none, unless a file got past the
    decontamination. What the model saw before these stages is not known.
    """
    waiting, seen = list(spec.inputs.values()), dict[Path, None]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen[path] = None
        waiting += [path.parent / name for name in Artifact(path).manifest().get("inputs", {}).values()]
    trained = [
        question_fingerprint(item.question)
        for path in seen
        if (file := Artifact(path).items("train")).exists()
        for item in read_items(file)
    ]
    known = frozenset(trained)
    shared = [item.id for item in items if question_fingerprint(item.question) in known]
    if shared:
        print(
            f"warning: the model was trained on {len(shared)} prompts of the suite: {', '.join(shared[:5])}", flush=True
        )
    return {"training_items": len(trained), "shared": shared}


def _tokenizer(spec: StageSpec) -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(spec.recipe.model, spec.model_path)
    check_template(tokenizer, prefilled=spec.recipe.model.prefilled_reasoning)
    return tokenizer


@lru_cache(maxsize=1)
def _loaded(config: str, path: str, device: str) -> PreTrainedModel:
    """Load the model, or return it to the next stage of this process that measures the same one."""
    print(f"loading {path}", flush=True)
    model = load_for_inference(ModelConfig.model_validate_json(config), path)
    model.to(device)  # type: ignore[arg-type]
    return model


def _generator(spec: StageSpec, artifact: Artifact, other: str | None = None) -> Generator:
    """Return the model of the stage behind its back end, or ``other``: a folder, a hub id or an endpoint's model."""
    config, model = spec.recipe.evaluation, spec.recipe.model
    assert config.backend != "replay"
    if other is not None:
        device = "cpu" if on_cpu(spec.recipe.launcher) else "cuda"
        return load_generator(
            config.backend, other, base_url=config.base_url, batch_size=config.batch_size, device=device
        )
    if config.backend == "transformers":
        from adhere.evaluation.backends.transformers import TransformersGenerator

        device = "cpu" if on_cpu(spec.recipe.launcher) else "cuda"
        loaded = _loaded(model.model_dump_json(), spec.model_path, device)
        return TransformersGenerator(loaded, _tokenizer(spec), name=spec.label, batch_size=config.batch_size)
    path = spec.model_path
    if config.backend == "vllm" and (Path(path) / "adapter_config.json").exists():
        path = str(artifact.path / "merged")
        load_for_inference(model, spec.model_path).save_pretrained(path)
        _tokenizer(spec).save_pretrained(path)
    return load_generator(
        config.backend,
        path,
        base_url=config.base_url,
        batch_size=config.batch_size,
        name=spec.label,
        chat_template=str(_tokenizer(spec).chat_template) if config.backend == "vllm" else None,
        chat_template_kwargs=model.chat_template_kwargs,
    )
