"""Evaluation: one model on one suite → ``results.json`` and ``responses.parquet``.

adhere train recipe=quickstart evaluation.without_constraints=true
"""

from __future__ import annotations

import time
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from adhere.evaluation.backends import load_generator
from adhere.evaluation.generation import Generator, Sampling
from adhere.evaluation.remedies import Remedied, parse_remedy, report
from adhere.evaluation.run import evaluate, write_results
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES, SuiteSource
from adhere.records.artifact import LOG, Artifact, Stopped
from adhere.rewards.engine import default_engine
from adhere.rewards.judge import load_judge
from adhere.train.config.schema import ModelConfig
from adhere.train.model.chat import check_template
from adhere.train.model.load import load_for_inference, load_tokenizer
from adhere.train.stages.data import load_items
from adhere.train.stages.setup import manifest, on_cpu

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from adhere.train.config.stage import StageSpec

CHUNK = 256
"""Prompts that a back end with its own scheduler gets at once, and that a stop waits for."""


def run_evaluate(spec: StageSpec, artifact: Artifact) -> None:
    """Generate, score and measure, resuming from the responses that an earlier attempt has written."""
    started = time.time()
    config = spec.recipe.evaluation
    suite = SUITES[config.suite].load(
        SuiteSource(
            None if config.path is None else Path(config.path),
            config.subsets,
            lambda: load_items(spec, artifact, _tokenizer(spec), "evaluation"),
        )
    )
    drawn, generator = config.sampling, _generator(spec, artifact)
    chosen = None if config.remedy is None else parse_remedy(config.remedy)
    if chosen is not None:
        generator = Remedied(generator, chosen, cache(lambda path: _generator(spec, artifact, path)))
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
            log=artifact.path / LOG,
            progress=show,
            chunk=config.batch_size if config.backend == "transformers" else CHUNK,
        )
    if chosen is not None:
        generations = [row.generation for row in (*evaluation.rows, *evaluation.twins)]
        evaluation.results["remedy"] = report(chosen, generations)
    provenance = manifest(spec, started, {"items": len(suite.items)})
    write_results(artifact.path, evaluation, provenance)
    artifact.finish(provenance)


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
    return load_generator(config.backend, path, base_url=config.base_url, batch_size=config.batch_size, name=spec.label)
