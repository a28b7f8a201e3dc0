"""Generation with transformers, in this process.

Shapes: B rows in a batch, P prompt tokens (left padded), V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adhere.evaluation.backends.decoding import Decoding, can_decode, decode, draw_tokens, noise
from adhere.evaluation.generation import Generation, Sampling, Start, draw_seed, over_context
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError
from adhere.rewards.segments import THINK_OPEN


@dataclass(frozen=True, slots=True)
class _Row:
    """One completion to draw: its place in the output, its prompt tokens, and the seed of its draws.

    The last ``held`` of the tokens are those of its beginning ``begun``; ``room`` is the most that are added.
    """

    place: int
    tokens: list[int]
    seed: int
    prefilled: bool
    begun: str
    held: int
    room: int


class TransformersGenerator:
    """Batched generation: rows sorted by length, decoding options of the model's own files ignored.

    Sampling draws one uniform number a token from a stream that belongs to the row, so that a response
    depends on the seed and its item, not on what shares the batch (up to rounding inside the model).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        batch_size: int = 64,
        chat_template: str | None = None,
        drawing: Callable[[bool], bool] = bool,
    ) -> None:
        """Wrap a loaded model, which stays on its device.

        Args:
            model: the model.
            tokenizer: its tokenizer.
            name: what tables call the model.
            batch_size: rows in one batch.
            chat_template: replaces the tokenizer's own (Jinja).
            drawing: as :func:`adhere.evaluation.backends.decoding.decode` takes it, for a model that ranks share.

        Raises:
            ConfigError: the tokenizer has no chat template, or no end token is known.
        """
        if chat_template is None and tokenizer.chat_template is None:
            raise ConfigError(f"{name}: the tokenizer has no chat template; add one to it, or pass chat_template")
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.chat_template = chat_template
        self.drawing = drawing
        self.end_ids = _end_ids(model, tokenizer)
        if not self.end_ids:
            raise ConfigError(f"{name}: neither model nor tokenizer names an end token, so no response could finish")

    @classmethod
    def load(
        cls,
        model: str,
        *,
        batch_size: int = 64,
        device: str = "auto",
        name: str | None = None,
        dtype: str = "auto",
    ) -> TransformersGenerator:
        """Load a folder or hub id; ``auto`` uses a GPU if the machine has one, in bfloat16, or fp32 on the CPU.

        Args:
            model: folder or hub id.
            batch_size: rows in one batch.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            name: what tables call the model; default: ``model``.
            dtype: ``auto``, or a name of a torch type.

        Raises:
            ConfigError: the model cannot be found or loaded.
        """
        where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        kind = ("bfloat16" if where.startswith("cuda") else "float32") if dtype == "auto" else dtype
        try:
            tokenizer = AutoTokenizer.from_pretrained(model)
            loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, kind))
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"model: '{model}' cannot be loaded ({reason}); name a folder or a hub id") from error
        return cls(loaded.to(where), tokenizer, name=name or model, batch_size=batch_size)

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in order, from its beginning in ``starts``.

        A prompt that does not fit into the model's context together with its longest response is skipped.
        """
        rows, found = self._rows(items, sampling, starts or [Start()] * len(items))
        # longest first: a batch too large for the memory fails at once, not at the end
        rows.sort(key=lambda row: len(row.tokens), reverse=True)
        was_training = self.model.training
        self.model.eval()
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            found.update(zip([row.place for row in batch], self._complete(batch, sampling), strict=True))
        self.model.train(was_training)
        n = sampling.samples
        return [[found[i * n + k] for k in range(n)] for i in range(len(items))]

    def _rows(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start]
    ) -> tuple[list[_Row], dict[int, Generation]]:
        """Return a row for each completion to draw, and by their place those that are skipped or have no room."""
        context = getattr(self.model.config, "max_position_embeddings", None)
        rows: list[_Row] = []
        others: dict[int, Generation] = {}
        for item, start in zip(items, starts, strict=True):
            text = self.tokenizer.apply_chat_template(
                [{"role": m["role"], "content": m["content"]} for m in item.messages],
                chat_template=self.chat_template,
                add_generation_prompt=True,
                tokenize=False,
            )
            assert isinstance(text, str)
            begun = start.after(text)
            # the template writes its own special tokens; adding more would double the first one
            tokens = self.tokenizer(text + begun, add_special_tokens=False)["input_ids"]
            held = len(tokens) - len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if begun else 0
            room = start.room(held, sampling.max_new_tokens)
            over = over_context(len(tokens), max(room, 0), context)
            prefilled = text.rstrip().endswith(THINK_OPEN)
            for sample in range(sampling.samples):
                place = len(rows) + len(others)
                if over is not None:
                    others[place] = over
                elif room < 1:
                    others[place] = Generation(begun, held, False, prefilled, spent=0)
                else:
                    seed = draw_seed(sampling.seed, item.id, sample)
                    rows.append(_Row(place, tokens, seed, prefilled, begun, held, room))
        return rows, others

    @torch.no_grad()  # training goes on with this model: it must not see tensors of inference mode
    def _complete(self, batch: Sequence[_Row], sampling: Sampling) -> list[Generation]:
        how = Decoding(
            limit=max(row.room for row in batch),
            end_ids=tuple(self.end_ids),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
        )
        prompts, seeds = [row.tokens for row in batch], [row.seed for row in batch]
        if can_decode(self.model):
            drawn = decode(self.model, prompts, seeds, how, drawing=self.drawing)
            return [self._cut(ids, row) for ids, row in zip(drawn, batch, strict=True)]
        width = max(map(len, prompts))
        ids_BP = torch.full((len(batch), width), self.end_ids[0], dtype=torch.long)
        mask_BP = torch.zeros_like(ids_BP)
        for i, tokens in enumerate(prompts):
            ids_BP[i, width - len(tokens) :] = torch.tensor(tokens, dtype=torch.long)
            mask_BP[i, width - len(tokens) :] = 1
        config = GenerationConfig(
            max_new_tokens=how.limit, do_sample=False, eos_token_id=self.end_ids, pad_token_id=self.end_ids[0]
        )
        device = self.model.device
        with _clean_defaults(self.model):
            out = self.model.generate(  # type: ignore[operator]
                input_ids=ids_BP.to(device),
                attention_mask=mask_BP.to(device),
                generation_config=config,
                logits_processor=LogitsProcessorList([_RowSampler(seeds, width, how)] if how.temperature else []),
            )
        return [self._cut(ids, row) for ids, row in zip(out[:, width:].tolist(), batch, strict=True)]

    def _cut(self, ids: list[int], row: _Row) -> Generation:
        ids = ids[: row.room]
        end = next((i for i, token in enumerate(ids) if token in self.end_ids), None)
        added = len(ids) if end is None else end + 1
        text = row.begun + continuation(self.tokenizer, row.tokens[len(row.tokens) - row.held :], ids[:end])
        return Generation(text, row.held + added, end is not None, row.prefilled, spent=added if row.begun else None)


def continuation(tokenizer: PreTrainedTokenizerBase, begun: Sequence[int], added: Sequence[int]) -> str:
    """Return the text of the tokens ``added`` behind those of ``begun``.

    They are decoded together, since some tokenizers drop the space before what they decode first.
    """
    if not begun:
        return str(tokenizer.decode(list(added), skip_special_tokens=True))
    before = str(tokenizer.decode(list(begun), skip_special_tokens=True))
    return str(tokenizer.decode([*begun, *added], skip_special_tokens=True))[len(before) :]


class _RowSampler(LogitsProcessor):
    """Lets ``generate`` draw as the decoding loop does, for models whose state the loop cannot keep."""

    def __init__(self, seeds: Sequence[int], prompt_width: int, how: Decoding) -> None:
        self._noise_BT, self._filters, self._prompt_width = noise(seeds, how.limit), how.filters(), prompt_width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        noise_B = self._noise_BT[:, input_ids.shape[1] - self._prompt_width].to(scores.device)
        token_B = draw_tokens(self._filters(input_ids, scores), noise_B)
        return torch.full_like(scores, -torch.inf).scatter(1, token_B[:, None], 0.0)


@contextlib.contextmanager
def _clean_defaults(model: PreTrainedModel) -> Iterator[None]:
    # `generate` fills what a config leaves open from the model's own file: penalties, top_k, a minimal length
    kept = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = kept


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    named: Any = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = list(named) if isinstance(named, list | tuple) else [named]
    return [i for i in dict.fromkeys([tokenizer.eos_token_id, *ids]) if i is not None]
