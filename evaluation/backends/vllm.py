"""Generation with vLLM, in this process."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from adhere.evaluation.generation import Generation, Sampling, Start, draw_seed, over_context
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

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in order, from its beginning in ``starts``.

        A prompt over the context is skipped.
        """
        starts, context = starts or [Start()] * len(items), self._llm.llm_engine.model_config.max_model_len
        texts = [
            self._tokenizer.apply_chat_template(
                [dict(message) for message in item.messages], add_generation_prompt=True, tokenize=False
            )
            for item in items
        ]
        # token ids, since vLLM would put a second start token before a templated text
        prompts, params, rows = [], [], list[tuple[Generation | None, str, int, bool]]()
        for item, text, start in zip(items, texts, starts, strict=True):
            begun = start.after(text)
            ids = self._tokenizer(text + begun, add_special_tokens=False)["input_ids"]
            held = len(ids) - len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if begun else 0
            room, prefilled = start.room(held, sampling.max_new_tokens), text.rstrip().endswith(THINK_OPEN)
            whole = over_context(len(ids), 1, context)
            if whole is None and room < 1:
                whole = Generation(begun, held, False, prefilled, spent=0)
            for sample in range(sampling.samples):
                rows.append((whole, begun, held, prefilled))
                if whole is not None:
                    continue
                prompts.append({"prompt_token_ids": ids})
                params.append(
                    self._sampling_params(
                        temperature=sampling.temperature,
                        top_p=sampling.top_p,
                        max_tokens=room,
                        seed=draw_seed(sampling.seed, item.id, sample),
                    )
                )
        outputs = iter(self._llm.generate(prompts, params)) if prompts else iter(())
        drawn = []
        for whole, begun, held, prefilled in rows:
            if whole is not None:
                drawn.append(whole)
                continue
            out = next(outputs).outputs[0]
            added = len(out.token_ids)
            spent = added if begun else None
            drawn.append(
                Generation(begun + out.text, held + added, out.finish_reason == "stop", prefilled, spent=spent)
            )
        n = sampling.samples
        return [drawn[i * n : (i + 1) * n] for i in range(len(items))]
