"""How much device memory each stage needs, from the model's configuration alone. No torch.

A stage's peak is the largest of a few moments: the LM head's backward pass, the end of the layers' backward pass, and
generation. ``docs/plan.md`` says how each term is counted and how well the sum was found to hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adhere.train.config.generation import COLOCATED_MEMORY, SERVED_MEMORY
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import GrpoConfig, Recipe, SftConfig
from adhere.train.plan.activations import WORD, Pass
from adhere.train.plan.architecture import Architecture

GIB = 2**30
ASSUMED_PROMPT = 512
"""Prompt tokens where ``data.max_prompt_tokens`` does not limit them."""

ADAM_STATES = 2
FOUR_BITS = 0.5 + WORD / 64
"""Bytes of a 4-bit weight: half a byte, and a float32 scale per block of 64."""

BUCKET, LIVE = 500_000_000, 1_000_000_000
"""DeepSpeed's defaults ``reduce_bucket_size`` and ``stage3_max_live_parameters``, in elements."""

CUDA_CONTEXT, NCCL_BUFFERS = 0.6 * GIB, 0.4 * GIB
"""Outside torch's allocator, assumed: CUDA's context and libraries, and NCCL's channels where ranks talk."""

BUSY_CPU, BUSY_GPU = 2048, 16384
"""Tokens of a micro-batch from which more would not make a device busier (``bench/grpo_step.py``)."""

SAMPLED_LOGITS = 3
"""Float32 copies of a step's logits while it is sampled: scores, their warped copy, probabilities."""

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Moment:
    """What is in memory at once, in bytes by part; ``when`` names the moment."""

    when: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class StageMemory:
    """The moments of a stage on one device, and what it keeps in host memory, in bytes."""

    moments: list[Moment]
    host: float = 0.0
    assumptions: list[str] = field(default_factory=list)

    @property
    def peak(self) -> Moment:
        """The moment that needs the most."""
        return max(self.moments, key=lambda moment: moment.total)

    @property
    def dominant(self) -> str:
        """The largest part at the peak."""
        parts = self.peak.parts
        return max(parts, key=lambda name: parts[name])


def width_of(recipe: Recipe) -> int:
    """Return the bytes of the arithmetic's type; ``auto`` is bfloat16 unless the run is to stay on the CPU."""
    dtype = recipe.model.dtype
    if dtype == "auto":
        return WORD if recipe.launcher.device == "cpu" else 2
    return WORD if dtype == "float32" else 2


def adapter_weights(recipe: Recipe, a: Architecture) -> int:
    """Return the number of adapter weights, 0 where every weight is trained."""
    adapter = recipe.model.adapter
    if adapter.kind == "none":
        return 0
    if adapter.target_modules == "all-linear":
        return a.adapters(adapter.rank)
    named = [adapter.target_modules] if isinstance(adapter.target_modules, str) else adapter.target_modules
    sizes = dict(zip(LINEARS, a.linears, strict=True))
    return a.layers * sum(adapter.rank * sum(sizes[name]) for name in named if name in sizes)


def stage_memory(recipe: Recipe, kind: str, a: Architecture) -> StageMemory:
    """Estimate one stage of ``recipe`` per device; its kind names the workload."""
    workload = kind_of(kind).workload
    if workload in ("evaluation", "rehearse"):
        return _inference(recipe, a, rehearsal=workload == "rehearse")
    config: SftConfig | GrpoConfig = recipe.sft if workload == "sft" else recipe.grpo
    fixed, gradients, host = _states(recipe, config, a)
    notes: list[str] = []
    packed = False
    if workload == "sft":
        tokens = min(recipe.sft.max_length, a.context or recipe.sft.max_length)
        scored, generation, sequences = tokens - 1, [], config.per_device_batch_size
        budget = sft_microbatch_tokens(recipe, tokens, cpu=recipe.launcher.device == "cpu")
        if packed := budget is not None:
            sequences = max(1, (budget or 0) // tokens)
    else:
        prompt, completion = prompt_tokens(recipe, a), recipe.grpo.max_completion_length
        if recipe.data.max_prompt_tokens is None:
            notes.append(f"prompts of {prompt} tokens are assumed; data.max_prompt_tokens would say")
        config, tokens = recipe.grpo, prompt + completion
        packed, cpu = not config.exact_trl, recipe.launcher.device == "cpu"
        scored = completion if packed or not cpu else tokens - 1  # TRL's own head scores prompts too without Triton
        sequences = config.per_device_batch_size
        if packed:
            sequences = max(1, microbatch_tokens(recipe, prompt, cpu=cpu) // tokens)
        if config.kl_coefficient > 0.0:
            # The model that a KL is taken to: TRL loads a second one in float32, of adapters a frozen copy.
            split = recipe.launcher.processes if recipe.launcher.strategy in ("zero3", "fsdp2") else 1
            adapters = adapter_weights(recipe, a)
            fixed["reference"] = float(adapters * WORD) if adapters else a.parameters * WORD / split
        if kind == "distill":
            fixed["teachers"] = _teachers(recipe, a)
            notes.append("teachers are assumed to be as large as the policy")
        engine: dict[str, float] = {}
        if config.generation == "vllm_colocate":
            # An engine inside the training process takes its share of the GPU, at least its weights.
            weights = a.parameters * width_of(recipe) / config.vllm.tensor_parallel
            share, total = config.vllm.gpu_memory_utilization or COLOCATED_MEMORY, recipe.launcher.gpu_memory_gib
            engine = {"vLLM": max(weights, share * total * GIB) if total else weights}
        if config.generation == "vllm_server":
            generation = [Moment("generation on the server", dict(fixed))]
        elif config.generation == "vllm_colocate":
            generation = [Moment("generation by vLLM beside the trainer", fixed | engine)]
        else:
            drawn = config.per_device_batch_size * steps_per_generation(recipe)
            rank = 0 if recipe.model.adapter.kind == "none" else recipe.model.adapter.rank
            cache = generation_bytes(a, drawn, prompt, tokens, width_of(recipe), rank=rank)
            gathered = gathered_to_generate(recipe, a)
            cache |= {"gathered": gathered} if gathered else {}
            generation = [Moment("generation", fixed | cache)]
        # Only an engine that sleeps leaves its share to the optimizer.
        fixed |= {} if config.vllm.sleep else engine
    micro = Pass(
        architecture=a,
        sequences=sequences,
        tokens=tokens,
        scored=scored,
        width=width_of(recipe),
        rank=0 if recipe.model.adapter.kind == "none" else recipe.model.adapter.rank,
        checkpointing=config.gradient_checkpointing,
        attention=recipe.model.attention,
        triton=recipe.launcher.device != "cpu",
        masked=not packed,
    )
    moments = training_moments(micro, fixed, gradients, accumulated=packed or config.gradient_accumulation > 1)
    return StageMemory([*moments, *generation], host, notes)


def training_moments(micro: Pass, fixed: dict[str, float], gradients: float, *, accumulated: bool) -> list[Moment]:
    """Return the moments of a micro batch that can be its peak.

    ``fixed`` is what stays (weights, optimizer and so on), ``gradients`` the bytes of all gradients on this device;
    ``accumulated`` says that those of an earlier micro batch are there already.
    """
    embedding = micro.architecture.embedding * WORD if micro.full else 0
    kept = gradients if accumulated else 0
    recomputed = micro.working + (micro.layer if micro.checkpointing else 0)
    at_head = {"gradients": kept, "activations": micro.activations, "logits": micro.head}
    after = {"gradients": kept + embedding, "activations": micro.activations + recomputed}
    last = micro.layer + micro.working + (micro.boundary if micro.checkpointing else 0)
    # A tied embedding's gradient is the sum of two, which are all three in memory at the very end.
    extra = 2 * embedding if micro.architecture.tied else 0
    at_end = {"gradients": gradients + extra, "activations": last}
    return [
        Moment("backward pass, at the head", fixed | at_head),
        Moment("backward pass, at the last layer", fixed | after),
        Moment("backward pass, at its end", fixed | at_end),
    ]


def prompt_tokens(recipe: Recipe, a: Architecture) -> int:
    """Return the longest prompt that is assumed, in tokens."""
    limit, completion = recipe.data.max_prompt_tokens, recipe.grpo.max_completion_length
    context = recipe.model.context or a.context
    if limit is not None:
        return limit
    return min(ASSUMED_PROMPT, max(1, context - completion)) if context else ASSUMED_PROMPT


def moment_bytes(optimizer: str, width: int) -> float:
    """Return the bytes of AdamW's moments for one weight of ``width`` bytes; 8-bit ones have a float32 per block."""
    return ADAM_STATES * (1.0 + WORD / 256 if optimizer == "adamw_8bit" else width)


def _states(recipe: Recipe, config: SftConfig | GrpoConfig, a: Architecture) -> tuple[dict[str, float], float, float]:
    """Return what stays on a device while training, the bytes of its gradients, and what lies in host memory."""
    launcher, width = recipe.launcher, width_of(recipe)
    ranks, deepspeed = launcher.processes, launcher.strategy.startswith("zero")
    adapters = adapter_weights(recipe, a)
    trained = adapters or a.parameters
    each = 2 if recipe.model.adapter.kind == "qlora" else WORD
    frozen = base_bytes(recipe, a) if adapters else 0.0
    shared = ranks if launcher.strategy in ("zero2", "zero3", "fsdp2") else 1
    split = ranks if launcher.strategy in ("zero3", "fsdp2") else 1
    # DeepSpeed trains weights of the arithmetic's type and keeps float32 ones beside them; torch's autocast needs none.
    trained_width = width if deepspeed else each
    weights = (frozen + trained * trained_width) / split
    optimizer = trained * moment_bytes(config.optimizer, each) / shared + (trained * WORD / shared if deepspeed else 0)
    gradients = trained * trained_width / shared
    host = 0.0
    if launcher.offload:
        host, optimizer = optimizer, 0.0
        if launcher.strategy == "zero3":
            host, weights = host + weights, 0.0
    outside = 0.0 if launcher.device == "cpu" else CUDA_CONTEXT + (NCCL_BUFFERS if ranks > 1 else 0)
    buffers = _buffers(recipe, a, trained, trained_width)
    fixed = {"weights": weights, "optimizer": optimizer, "buffers": buffers, "outside": outside}
    fixed |= {} if config.ema is None else {"average": float(trained * each)}
    return fixed, gradients, host


def _teachers(recipe: Recipe, a: Architecture) -> float:
    """Return the bytes of the teachers of a distill stage; of several such stages, those of the one with the most."""
    if recipe.distill.teacher == "self":  # a copy of the policy, as it is trained
        adapters = adapter_weights(recipe, a)
        return base_bytes(recipe, a) + adapters * WORD if adapters else float(a.parameters * WORD)
    stages = [stage for stage in recipe.stages.values() if stage.kind == "distill"]
    count = max((len(stage.inputs.get("teachers", [])) for stage in stages), default=0) + len(recipe.distill.models)
    return float(count * a.parameters * width_of(recipe))


def base_bytes(recipe: Recipe, a: Architecture) -> float:
    """Return the bytes of a frozen base in the arithmetic's type; under qlora the layers' linear maps have 4 bits."""
    if recipe.model.adapter.kind != "qlora":
        return float(a.parameters * width_of(recipe))
    quantised = a.layers * sum(x * y for x, y in a.linears)
    return quantised * FOUR_BITS + (a.parameters - quantised) * width_of(recipe)


def _buffers(recipe: Recipe, a: Architecture, trained: int, width: int) -> float:
    """Return what the strategy needs for communication: buckets of gradients, and weights gathered to compute with."""
    launcher = recipe.launcher
    if launcher.processes == 1 and not launcher.strategy.startswith("zero"):
        return 0.0
    bucket = min(trained, BUCKET) * width
    match launcher.strategy:
        case "ddp":
            return float(trained * WORD)
        case "zero2":
            return float(bucket)
        case "zero3":
            return float(bucket + min(a.parameters, LIVE) * width_of(recipe))
        case "fsdp2":
            gathered = a.embedding * (1 if a.tied else 2) + 2 * a.layer
            return float(gathered * width_of(recipe) + a.layer * width_of(recipe))
        case _:
            return 0.0


def cache_bytes(a: Architecture, sequences: int, tokens: int, width: int, key_width: int) -> float:
    """Return the bytes of keys and values; while a token is appended, one layer has its old and its new ones."""
    layer = sequences * tokens * a.keys * (key_width + width)
    return float(layer * (a.layers + 1))


def generation_bytes(
    a: Architecture, sequences: int, prompt: int, tokens: int, width: int, *, rank: int = 0
) -> dict[str, float]:
    """Return what transformers' generation needs beside the weights, in bytes, at the larger of its two moments.

    They are the prompts' forward pass and the last token; ``rank`` is that of adapters, 0 where all weights train.
    """
    full, mixed = rank == 0, width < WORD
    # Rotary embeddings are float32 where weights are, so autocast leaves the cached keys in float32 and not the values.
    keys = WORD if full else width
    logits = sequences * a.vocabulary * WORD * SAMPLED_LOGITS
    linears = a.layers * sum(x * y for x, y in a.linears) + a.embedding
    casts = (linears if full else a.adapters(rank)) * width if mixed else 0
    repeated = 2 * a.queries * width + (a.queries * WORD if mixed and full else 0) if a.heads > a.kv_heads else 0
    last = cache_bytes(a, sequences, tokens, width, keys) + sequences * tokens * repeated
    mlp = 4 * a.intermediate * width + 2 * a.hidden * WORD + (a.intermediate if mixed and not full else 0)
    first = cache_bytes(a, sequences, prompt, width, keys) + sequences * prompt * mlp
    # The prompts' pass lets its temporaries go before it makes logits.
    if first > last + logits:
        return {"cache": first, "casts": float(casts)}
    return {"cache": last, "casts": float(casts), "logits": float(logits)}


def gathered_to_generate(recipe: Recipe, a: Architecture) -> float:
    """Return the bytes of the whole weights that each rank holds while it generates, beside its shards.

    Under ZeRO-3 TRL gathers all parameters for a generation by transformers (``ds3_gather_for_generation``), from host
    memory too. Without that each layer is gathered for every token, which DeepSpeed's own buffers hold.
    """
    gathers = recipe.grpo.trl.get("ds3_gather_for_generation", True)
    shards = recipe.launcher.processes > 1 or recipe.launcher.offload
    if recipe.launcher.strategy != "zero3" or not shards or not gathers:
        return 0.0
    adapters = adapter_weights(recipe, a)
    base = base_bytes(recipe, a) if adapters else float(a.parameters * width_of(recipe))
    return base + adapters * width_of(recipe)


def microbatch_tokens(recipe: Recipe, prompt: int, *, cpu: bool) -> int:
    """Return the padded tokens of a GRPO micro-batch at most, ``grpo.tokens_per_microbatch``.

    Args:
        recipe: says it, or ``auto``.
        prompt: tokens of the longest prompt.
        cpu: whether the stage runs on one.
    """
    config = recipe.grpo
    if config.tokens_per_microbatch != "auto":
        return config.tokens_per_microbatch
    planned = config.per_device_batch_size * (prompt + config.max_completion_length)
    return min(planned, BUSY_CPU if cpu else BUSY_GPU)


def sft_microbatch_tokens(recipe: Recipe, longest: int, *, cpu: bool) -> int | None:
    """Return the padded tokens of an SFT micro-batch at most, ``sft.tokens_per_microbatch``; ``None`` packs nothing.

    Args:
        recipe: says it, or ``auto``.
        longest: tokens of the longest row.
        cpu: whether the stage runs on one.
    """
    wanted = recipe.sft.tokens_per_microbatch
    planned = recipe.sft.per_device_batch_size * longest
    return min(planned, BUSY_CPU if cpu else BUSY_GPU) if wanted == "auto" else wanted


def steps_per_generation(recipe: Recipe) -> int:
    """Return how many micro batches TRL fills by one generation."""
    return int(recipe.grpo.trl.get("steps_per_generation") or recipe.grpo.gradient_accumulation)


def _inference(recipe: Recipe, a: Architecture, *, rehearsal: bool) -> StageMemory:
    """Estimate an evaluation or a rehearsal: one process, whole weights in the arithmetic's type."""
    config, width = recipe.evaluation, width_of(recipe)
    if config.backend == "openai" and not rehearsal:
        return StageMemory([Moment("an endpoint generates", {"weights": 0.0})])
    outside = 0.0 if recipe.launcher.device == "cpu" else CUDA_CONTEXT
    fixed = {"weights": float(a.parameters * width), "outside": outside}
    if config.backend == "vllm" and not rehearsal:
        total = recipe.launcher.gpu_memory_gib
        return StageMemory(
            [
                Moment(
                    "generation by vLLM",
                    fixed | ({"cache": SERVED_MEMORY * total * GIB - fixed["weights"]} if total else {}),
                )
            ]
        )
    sequences, longest = config.batch_size, config.sampling.max_new_tokens
    if rehearsal:
        # Whole groups at a time, however small the batch.
        sequences = max(recipe.grpo.per_device_batch_size, recipe.grpo.group_size)
        longest = recipe.grpo.max_completion_length
    prompt = prompt_tokens(recipe, a)
    # The weights have the arithmetic's type already, as a frozen base has.
    needed = generation_bytes(a, sequences, prompt, prompt + longest, width, rank=1)
    return StageMemory([Moment("generation", fixed | needed)])
