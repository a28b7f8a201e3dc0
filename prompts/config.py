"""The configuration of prompt items: sources, attached constraints, SFT targets, and the mixture of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from adhere.rewards.config import Strict
from adhere.rewards.constraints import TRAINING_KEYWORDS, WordBand, WordClass, wide_keywords
from adhere.rewards.errors import nearest

Range = tuple[int, int]
Placement = Literal["after", "before", "system", "list", "woven", "repeated"]
"""Where the requirements stand: behind the question, before it, in the system turn, as a list behind it, between its
sentences, or before it and once more at the end."""

_MEANINGLESS = {
    "path": ("size", "seed", "params", "name", "split", "revision"),
    "dataset": ("size", "seed", "params"),
    "generator": ("skip", "limit", "name", "split", "revision"),
}
COLUMN_ROLES = ("id", "question", "answer", "solution", "options")


class SourceConfig(Strict):
    """Where problems come from: exactly one of ``path``, ``dataset`` and ``generator``."""

    path: str | None = None
    """A ``.jsonl``, ``.jsonl.gz``, ``.json`` or ``.parquet`` file, of prompt items (rows with ``messages``)
    or of raw rows."""

    dataset: str | None = None
    """A Hugging Face data set id, or a folder: one that ``save_to_disk`` wrote, or one of data files."""

    generator: str | None = None
    """A generator of reasoning-gym, such as ``gsm_symbolic`` or ``chain_sum``, or one that a plug-in registers."""

    label: str | None = None
    """The name of the source in items, reports and tables; null: the file's stem, the data set id or the generator."""

    name: str | None = None
    """The configuration of ``dataset`` (``main`` for ``openai/gsm8k``, where it is the default)."""

    split: str | None = None
    """The split of ``dataset``; null: ``train``, or ``test`` for ``HuggingFaceH4/MATH-500``."""

    revision: str | None = None
    """The commit, tag or branch of ``dataset``; pin it to be able to repeat a run."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Which column holds the ``question``, the gold ``answer``, the worked ``solution``, the ``id`` and, for multiple
    choice, the ``options``: a list, or a map from letters. Known data sets and the usual column names need none. A
    generator's columns are ``question``, ``answer`` and its metadata."""

    skip: int = Field(default=0, ge=0)
    """Leave out this many first rows of a file or data set."""

    limit: int | None = Field(default=None, ge=1)
    """Read at most this many rows (after ``skip``) of a file or data set."""

    size: int | None = Field(default=None, ge=1, le=1_000_000)
    """How many problems ``generator`` makes, up to a million."""

    seed: int = Field(default=0, ge=0)
    """The seed of ``generator``. Different seeds draw from different streams: they share a problem only by chance."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of ``generator``, such as ``{min_terms: 2, max_terms: 3}``."""

    weight: float = Field(default=1.0, gt=0.0)
    """Share in the mixture, relative to the other sources."""

    answer_instruction: str | None = None
    """The sentence that follows each question of this source; empty: none; null: that of the data."""

    format: Literal["ifeval", "open_instruct", "wildchecklists", "openr1", "s1k", "openthoughts", "dapo"] | None = None
    """The form of the rows; null: told from the columns. Rows that bring their requirements: IFEval's (``prompt``,
    ``instruction_id_list``, ``kwargs``), open-instruct's (``messages``, ``ground_truth``, ``dataset``;
    ``allenai/IF_multi_constraints_upto5`` has it) or WildChecklists' (``prompt``, ``requirements``). Reasoning traces:
    those of OpenR1-Math-220k, s1K-1.1 and OpenThoughts3. Problems: DAPO-Math-17k's."""

    unknown_constraints: Literal["error", "skip", "skip_row"] = "error"
    """What becomes of a requirement that nothing here decides, in a row of a known form: ``error`` names the row,
    ``skip`` leaves out the requirement, ``skip_row`` the row; what is left out is counted and warned of."""

    constrained: bool = True
    """Whether constraints are attached; false: the source's prompts only ask for an answer."""

    verified: bool = True
    """Whether the gold answers count; false: the prompts have none, and only their requirements are rewarded."""

    shuffled: bool = False
    """Score each prompt by the requirements of another prompt of the source, a control: what is asked and what is
    rewarded have nothing to do with each other."""

    held_out: bool = False
    """Attach only what ``constraints.hold_out`` keeps from training: the out-of-family part of an evaluation."""

    @model_validator(mode="after")
    def _one_origin(self) -> SourceConfig:
        given = [key for key in ("path", "dataset", "generator") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"a source needs one of path, dataset and generator, not {' and '.join(given) or 'none'}")
        if given == ["generator"] and self.size is None:
            raise ValueError(f"size: how many problems '{self.generator}' shall make is not said")
        # compared with the defaults, so that a configuration written out in full can be read again
        fields = type(self).model_fields
        misplaced = [
            key
            for key in _MEANINGLESS[given[0]]
            if getattr(self, key) != fields[key].get_default(call_default_factory=True, validated_data={})
        ]
        if misplaced:
            raise ValueError(f"{misplaced[0]}: has no meaning for a source with '{given[0]}'; remove it")
        if self.held_out and not self.constrained:
            raise ValueError("held_out: attaches constraints, and constrained is false; drop one of the two")
        if self.format is not None and (self.columns or self.generator):
            other = "columns" if self.columns else "generator"
            raise ValueError(f"format: '{self.format}' has its own columns and no generator; remove {other}")
        for role in self.columns:
            if role not in COLUMN_ROLES:
                raise ValueError(f"columns.{role}: not one of {', '.join(COLUMN_ROLES)}{nearest(role, COLUMN_ROLES)}")
        return self

    @property
    def source(self) -> str:
        """The name that items, reports and tables give to this source."""
        if self.label is not None:
            return self.label
        if self.path is not None:
            base = Path(self.path).name.split(".")[0]
        else:
            base = (self.dataset or self.generator or "").rstrip("/")
            if self.dataset is not None and Path(base).is_dir():
                base = Path(base).name
        return f"{base}+held_out" if self.held_out else base


class HoldOutConfig(Strict):
    """What training never shows, so that evaluation can ask for it."""

    ids: list[str] = Field(default_factory=list)
    """Constraint ids; the name of a collection (``ifeval``) or of a family (``paragraphs``) stands for all its ids."""

    keywords: list[str] = Field(default_factory=list)
    """Words that no constraint asks for or forbids. At least two: one constraint may name two."""

    ranges: dict[str, Range] = Field(default_factory=dict)
    """Inclusive ranges of a numeric argument, by its name: ``{num_bullets: [4, 5]}``."""

    count: list[float] | None = Field(default=None, min_length=1, max_length=6)
    """Relative proportions of held-out items with one, two, three … constraints; null: ``constraints.count``."""

    @property
    def empty(self) -> bool:
        """Whether nothing is held out."""
        return not (self.ids or self.keywords or self.ranges)


class ConstraintSamplerConfig(Strict):
    """How constraints are drawn and attached to problems."""

    share: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the items that get constraints."""

    count: list[float] = Field(default=[1.0, 1.0, 1.0], min_length=1, max_length=6)
    """Relative proportions of items with one, two, three … constraints, up to six."""

    ids: list[str] | None = None
    """Constraint ids to draw from. ``mathif``, ``ifeval`` (what IFEval has and MathIF lacks) and ``reasonif`` (on the
    reasoning) stand for all ids of a collection, and ``startend`` or another prefix for those of a family; null:
    MathIF's that a compliant text can be built for."""

    keywords: list[str] | None = None
    """Words that keyword constraints draw from; null: the library's own pool. None of MathIF's 54 words may
    be among them."""

    variety: Literal["core", "wide"] = "core"
    """``core``: 113 keywords, 3 or 4 wordings a constraint, a few phrases. ``wide``: 3,200 keywords of WordNet, 8
    wordings or more, phrases out of a grammar."""

    word_classes: list[WordClass] = Field(default=["noun", "verb", "adjective", "adverb"], min_length=1)
    """With ``variety: wide``, the parts of speech of the keywords."""

    word_bands: list[WordBand] = Field(default=["common", "usual", "rare"], min_length=1)
    """With ``variety: wide``, how frequent the keywords are."""

    placement: dict[Placement, float] = Field(default={"after": 1.0}, min_length=1)
    """Where the requirements stand in the prompt, with relative proportions: ``after`` the question, ``before`` it, in
    the ``system`` turn, as a ``list`` behind it, ``woven`` between its sentences, or ``repeated``: before it and again
    at the end. Requirements that speak of the request above always stand after it."""

    ranges: dict[str, Range] = Field(default_factory=dict)
    """Inclusive ranges to draw a numeric argument from, by its name; others keep their default."""

    hold_out: HoldOutConfig = Field(default_factory=HoldOutConfig)
    """What is never attached to training items."""

    paraphrase: bool = True
    """Draw one of several wordings of each constraint; false: always the first."""

    tries: int = Field(default=200, ge=1)
    """How many draws an item gets before it counts as impossible."""

    seed: int = Field(default=0, ge=0)
    """Seed of the draws; an item's constraints depend on this seed and its id only."""

    @model_validator(mode="after")
    def _proportions(self) -> ConstraintSamplerConfig:
        for key, count in (("count", self.count), ("hold_out.count", self.hold_out.count)):
            if count is not None and (min(count) < 0 or sum(count) <= 0):
                raise ValueError(f"{key}: {count} are not proportions; give one non-negative number a count, not all 0")
        if min(self.placement.values()) < 0 or sum(self.placement.values()) <= 0:
            raise ValueError(
                f"placement: {self.placement} are not proportions; give non-negative numbers, not all of them 0"
            )
        if self.variety == "wide" and self.keywords is None and len(self.pool()) < 10:
            raise ValueError(
                f"word_classes, word_bands: there are {len(self.pool())} {'/'.join(self.word_bands)} words that are "
                f"{'/'.join(self.word_classes)}; name more classes or bands"
            )
        for owner, ranges in (("ranges", self.ranges), ("hold_out.ranges", self.hold_out.ranges)):
            for key, (low, high) in ranges.items():
                if low > high:
                    raise ValueError(f"{owner}.{key}: {low} is above {high}; give [lowest, highest]")
        if self.ids is not None and not set(self.ids) - set(self.hold_out.ids):
            raise ValueError("ids: every constraint id is held out, so there is nothing to attach")
        return self

    def pool(self) -> tuple[str, ...]:
        """Return the words that keyword constraints draw from."""
        if self.keywords is not None:
            return tuple(self.keywords)
        if self.variety == "core":
            return TRAINING_KEYWORDS
        return wide_keywords(tuple(self.word_classes), tuple(self.word_bands))


class SftTargetConfig(Strict):
    """The responses that SFT learns, made from worked solutions."""

    compliance: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the constrained items whose target obeys its constraints; the rest answers as if there were none."""

    think: bool = False
    """Put the solution into a ``<think>`` block, followed only by the closing sentence. A reasoning trace keeps its own
    block and what follows it."""

    preview: bool = False
    """With ``think``, let targets that obey begin their reasoning by repeating the requirements, and end it by checking
    each of them (preview and self-check, Light-IF, arXiv 2508.03178)."""

    template: str = "Therefore, the final answer is \\boxed{{answer}}."
    """The closing sentence after the solution. ``{answer}`` stands for the gold answer, and has to be in a box."""

    seed: int = Field(default=0, ge=0)
    """Seed of who obeys; it depends on this seed and the item's id only."""

    @model_validator(mode="after")
    def _boxed(self) -> SftTargetConfig:
        if self.preview and not self.think:
            raise ValueError("preview: stands in the reasoning, and think is false; set think=true, or preview=false")
        if "\\boxed{{answer}}" not in self.template:
            raise ValueError("template: it has to contain \\boxed{{answer}}, got '" + self.template + "'")
        return self


class DataConfig(Strict):
    """Everything that decides which prompt items a run trains on and which it is measured on."""

    train: list[SourceConfig] = Field(min_length=1)
    """The sources of training items."""

    evaluation: list[SourceConfig] = Field(default_factory=list)
    """The sources of evaluation items; none of their questions is trained on."""

    constraints: ConstraintSamplerConfig | None = Field(default_factory=ConstraintSamplerConfig)
    """Constraints to attach to problems that bring none; null: attach nothing."""

    targets: SftTargetConfig = Field(default_factory=SftTargetConfig)
    """SFT targets."""

    system_prompt: str | None = None
    """The system message of every prompt that is built; null: none."""

    answer_instruction: str = "Put the final answer in \\boxed{}."
    """The sentence that follows the question; empty: none."""

    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Longer prompts are left out, and counted; null: no limit."""

    train_size: int | None = Field(default=None, ge=1)
    """Number of training items, mixed by the sources' weights; null: all there are."""

    evaluation_size: int | None = Field(default=None, ge=1)
    """Number of evaluation items, mixed by the sources' weights; null: all there are."""

    seed: int = Field(default=0, ge=0)
    """Seed of the mixture and of its order."""

    max_bad_gold: float = Field(default=0.05, ge=0.0, le=1.0)
    """Share of a source's gold answers that may fail to verify against themselves (they are left out) before
    it is an error."""

    decontaminate: bool = True
    """Leave out training items whose question overlaps an evaluation question."""

    ngram: int = Field(default=8, ge=1)
    """Number of consecutive words that count as an overlap."""

    decontaminate_against: list[str] = Field(default_factory=list)
    """More files of questions that must not be trained on, MathIF's for one."""

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        for role, sources, size in (
            ("train", self.train, self.train_size),
            ("evaluation", self.evaluation, self.evaluation_size),
        ):
            names = [source.source for source in sources]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{role}: two sources are called '{twice}'; give one of them a label")
            if size is None and len({source.weight for source in sources}) > 1:
                raise ValueError(
                    f"{role}_size: proportions need a number of items to divide; set it, or drop the weights"
                )
        for i, source in enumerate([*self.train, *self.evaluation]):
            if source.held_out and i < len(self.train):
                raise ValueError(f"train[{i}].held_out: training never shows what is held out; only evaluation may")
            if source.held_out and (self.constraints is None or self.constraints.hold_out.empty):
                raise ValueError(f"evaluation[{i - len(self.train)}].held_out: constraints.hold_out holds nothing out")
        return self
