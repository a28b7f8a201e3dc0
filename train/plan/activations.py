"""What one forward and backward pass of a decoder keeps in memory, in bytes. No torch.

The terms follow what autograd saves for backward in transformers' decoder layers and in TRL's fused LM head, tensor by
tensor; ``bench/memory_estimate.py`` compares their sum with what is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass

from adhere.train.plan.architecture import Architecture

WORD = 4
"""Bytes of a float32, which norms, the residual stream and trained weights have whatever the arithmetic."""

TILE_TOKENS, TILE_WORDS = 4096, 32768
"""Tile of TRL 1.16's fused LM head: tokens (``TOKEN_CHUNK_SIZE``) by vocabulary (``_CHUNKED_LOGPROB_CHUNK_SIZE``)."""

TORCH_TILE_COPIES = 7 * WORD + 1
"""Bytes per logit of the temporaries of its backward where there is no Triton: seven float32 and a mask."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A micro batch as one device sees it.

    ``tokens`` are prompt and completion, ``scored`` those the head scores, both per sequence; ``width`` is the bytes of
    the arithmetic's type, ``rank`` that of adapters on a frozen base (0: every weight is trained). ``masked`` says that
    attention gets a mask of its padding; packed rows need none.
    """

    architecture: Architecture
    sequences: int
    tokens: int
    scored: int
    width: int
    rank: int = 0
    checkpointing: bool = False
    attention: str | None = None
    triton: bool = True
    masked: bool = True

    @property
    def mixed(self) -> bool:
        """Whether the arithmetic has another type than trained weights."""
        return self.width < WORD

    @property
    def total(self) -> int:
        """Tokens of the micro batch, padding included."""
        return self.sequences * self.tokens

    @property
    def full(self) -> bool:
        """Whether every weight is trained."""
        return self.rank == 0

    @property
    def layer(self) -> int:
        """Bytes that the backward pass of one layer needs, without checkpointing."""
        a, w = self.architecture, self.width
        residual = 2 * a.hidden * WORD
        normed = 2 * a.hidden * WORD if self.full else 0
        # In mixed precision every linear map keeps a cast copy of its input of its own; in float32 they share it.
        inputs = 5 * a.hidden * w if self.mixed else 2 * a.hidden * w
        inputs += a.queries * w if self.mixed and not self.full else 0
        adapters = len(a.linears) * self.rank * w
        return self.total * (residual + normed + inputs + adapters + 4 * a.intermediate * w + self._attention)

    @property
    def _attention(self) -> int:
        """Bytes per token and layer between the projections: a masked batch repeats shared heads and keeps its mask."""
        a, w = self.architecture, self.width
        norms = 0
        if a.head_norms:
            norms = (a.queries + a.keys) * (WORD + (w if self.full else 0))
        flash = self.attention in ("flash_attention_2", "flash_attention_3", "kernels-community/flash-attn")
        if flash or (not self.masked and self.attention != "eager"):
            return norms + (2 * a.queries + 2 * a.keys) * w + a.heads * WORD
        if self.attention == "eager":
            scores = a.heads * self.tokens * (WORD + (w if self.mixed else 0))
            return norms + 4 * a.queries * w + scores
        return norms + 4 * a.queries * w + a.heads * WORD + self.tokens * w

    @property
    def boundary(self) -> int:
        """Bytes of a layer's input, which is all that checkpointing keeps of it."""
        return self.total * self.architecture.hidden * (WORD if self.full else self.width)

    @property
    def working(self) -> int:
        """Bytes of gradients in flight inside a layer's backward pass, beside what it had saved."""
        a = self.architecture
        return self.total * (2 * a.intermediate * self.width + (2 * a.hidden * WORD if self.mixed else 0))

    @property
    def casts(self) -> int:
        """Bytes of autocast's copies of the layers' trained weights, which live as long as the graph of the forward."""
        a = self.architecture
        return self.width * a.layers * sum(x * y for x, y in a.linears) if self.mixed and self.full else 0

    @property
    def activations(self) -> int:
        """Bytes alive when the backward pass begins: all layers, or their inputs, and what surrounds them."""
        a = self.architecture
        layers = a.layers * (self.boundary if self.checkpointing else self.layer)
        ends = self.total * a.hidden * (WORD + WORD * self.full) + self.sequences * self.scored * a.hidden * self.width
        return layers + ends + (0 if self.checkpointing else self.casts)

    @property
    def head(self) -> int:
        """Bytes that the fused LM head needs in its backward pass: tiles, and float32 sums of its gradients.

        The tile is as wide as the kernel's constant, whatever the vocabulary.
        """
        a = self.architecture
        scored = self.sequences * self.scored
        tokens, words = min(scored, TILE_TOKENS), min(a.vocabulary, TILE_WORDS)
        tile = tokens * TILE_WORDS * self.width
        copies = 0 if self.triton else tokens * words * TORCH_TILE_COPIES
        # A mixed head casts a slice of the vocabulary's weights at a time.
        slices = words * a.hidden * self.width if self.mixed and self.full else 0
        gradients = scored * a.hidden * WORD + (a.embedding * WORD if self.full else 0)
        return tile + copies + slices + gradients
