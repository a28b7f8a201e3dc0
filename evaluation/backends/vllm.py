"""Generation with vLLM, in this process."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from adhere.evaluation.generation import Generation, Sampling, draw_seed, over_context
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError
from adhere.rewards.segments import THINK_OPEN


class VllmGenerator:
    """vLLM's offline engine; every sample is a request of its own, with a seed that belongs to it."""

    def __init__(
        self, model: str, *, name: str | None = None, chat_template: str | None = None, **options: Any
    ) -> None:
        """Load ``model``; ``options`` go to ``vllm.LLM`` as they are (``tensor_parallel_size``, ``max_model_len``, …).

        ``chat_template`` replaces the tokenizer's own (Jinja).

        Raises:
            ConfigError: vLLM is not installed, or the tokenizer has no chat template.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError("backend: vllm is not installed; run `pip install 'adhere[vllm]'` or use transformers")
        import vllm

        self.name = name or model
        self._sampling_params = vllm.SamplingParams
        self._llm = vllm.LLM(model=model, **options)
        self._tokenizer = self._llm.get_tokenizer()
        if chat_template is not None:
            self._tokenizer.chat_template = chat_template
        if self._tokenizer.chat_template is None:
            raise ConfigError(f"{self.name}: the tokenizer has no chat template; add one to it")

    def generate(self, items: Sequence[PromptItem], sampling: Sampling) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in order; a prompt over the context is skipped."""
        texts = [
            self._tokenizer.apply_chat_template(
                [dict(message) for message in item.messages], add_generation_prompt=True, tokenize=False
            )
            for item in items
        ]
        # token ids, since vLLM would put a second start token before a templated text
        context = self._llm.llm_engine.model_config.max_model_len
        tokens = [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        skipped = [over_context(len(ids), 1, context) for ids in tokens]
        asked = [i for i, over in enumerate(skipped) if over is None]
        prompts = [{"prompt_token_ids": tokens[i]} for i in asked for _ in range(sampling.samples)]
        params = [
            self._sampling_params(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                seed=draw_seed(sampling.seed, items[i].id, sample),
            )
            for i in asked
            for sample in range(sampling.samples)
        ]
        outputs = self._llm.generate(prompts, params)
        prefilled = [texts[i].rstrip().endswith(THINK_OPEN) for i in asked for _ in range(sampling.samples)]
        drawn = [
            Generation(
                out.outputs[0].text,
                len(out.outputs[0].token_ids),
                out.outputs[0].finish_reason == "stop",
                opened,
            )
            for out, opened in zip(outputs, prefilled, strict=True)
        ]
        n = sampling.samples
        found = {place: drawn[at * n : (at + 1) * n] for at, place in enumerate(asked)}
        return [found[i] if over is None else [over] * n for i, over in enumerate(skipped)]
