"""``adhere import-gguf``: turn a GGUF file into a model folder that transformers loads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from adhere.rewards.errors import ConfigError


def import_gguf(source: Path, folder: Path, /) -> int:
    """Dequantise a GGUF file into float32 safetensors, tokenizer and chat template.

    Args:
        source: The file, FILE.gguf.
        folder: Where the model folder goes.

    Raises:
        ConfigError: the file is missing, or the gguf package is.
    """
    if not source.is_file():
        raise ConfigError(f"{source}: no such file")
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ConfigError("import-gguf needs the gguf package: pip install gguf") from error
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # transformers' bar of this conversion has no switch of its own
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from adhere.train.model.quiet import quiet_libraries

    quiet_libraries()
    place, name = str(source.resolve().parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        place,
        gguf_file=name,
        quantization_config=GgufConfig(gguf_file=name, dequantize=True),
        dtype=torch.float32,
    )
    # The loaded weights are plain floats; what is left of the quantiser would refuse to save them.
    model.hf_quantizer = None  # type: ignore[assignment]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{folder}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, float32")
    return 0
