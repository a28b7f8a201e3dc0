"""Rows of Hugging Face data sets: from the hub, from a folder of files, or saved to disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adhere.prompts.config import SourceConfig
from adhere.prompts.item import Row
from adhere.rewards.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """What a data set's page says: the configuration and split to take, and which column is what."""

    name: str | None = None
    split: str = "train"
    columns: dict[str, str] = field(default_factory=dict)


_MATH_COLUMNS = {"question": "problem", "answer": "answer", "solution": "solution"}

KNOWN: dict[str, KnownDataset] = {
    "openai/gsm8k": KnownDataset("main", columns={"question": "question", "answer": "answer"}),
    "HuggingFaceH4/MATH-500": KnownDataset(split="test", columns=_MATH_COLUMNS),
    "agentica-org/DeepScaleR-Preview-Dataset": KnownDataset(columns=_MATH_COLUMNS),
    "open-r1/OpenR1-Math-220k": KnownDataset("default"),
    "simplescaling/s1K-1.1": KnownDataset(),
    "open-thoughts/OpenThoughts3-1.2M": KnownDataset(),
    "BytedTsinghua-SIA/DAPO-Math-17k": KnownDataset(),
    "allenai/IF_multi_constraints_upto5": KnownDataset(),
    "viswavi/wildchecklists": KnownDataset(),
}


def is_saved(folder: Path) -> bool:
    """Whether ``folder`` was written by ``save_to_disk``, of a data set or of a dictionary of splits."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def cached_snapshot(kind: Literal["model", "dataset"], name: str, commit: str | None) -> Path | None:
    """Return the folder of a commit in the hub's local cache, where ``adhere fetch`` puts all files; else ``None``."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}" / "snapshots" / (commit or "")
    return folder if commit and folder.is_dir() else None


def read_dataset(config: SourceConfig) -> Iterator[Row]:
    """Yield the rows of ``config.dataset``, numbered from 1, without the first ``skip`` and up to ``limit``.

    Raises:
        DataError: the data set cannot be reached, or has no such configuration or split.
    """
    import datasets
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    known = KNOWN.get(config.dataset or "", KnownDataset())
    split = config.split or known.split
    folder = Path(config.dataset or "")
    try:
        if is_saved(folder):
            data = datasets.load_from_disk(str(folder))
            if isinstance(data, dict):
                if split not in data:
                    raise DataError(
                        f"data set '{config.dataset}': no split '{split}' (it has {', '.join(data)})"
                        f"{nearest(split, data)}; set split"
                    )
                data = data[split]
        else:
            name = config.name if config.name is not None else known.name
            offline = constants.HF_HUB_OFFLINE
            fetched = cached_snapshot("dataset", str(folder), config.revision) if offline else None
            where, revision = (config.dataset, config.revision) if fetched is None else (str(fetched), None)
            data = datasets.load_dataset(where, name, split=split, revision=revision)
    except FileNotFoundError as error:
        hint = nearest(config.dataset or "", KNOWN)
        raise DataError(f"data set '{config.dataset}': no data set or folder has that name{hint} ({error})") from error
    except (OSError, HfHubHTTPError) as error:
        raise DataError(
            f"data set '{config.dataset}': cannot be reached ({error}). Offline, copy it here first: "
            f"`datasets.load_dataset(...).save_to_disk(FOLDER)` where it can be; then dataset: FOLDER"
        ) from error
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"data set '{config.dataset}' (name {config.name}, split {split}): {error}") from error

    stop = len(data) if config.limit is None else min(len(data), config.skip + config.limit)
    for index in range(config.skip, stop):
        yield Row(data[index], f"{split}/{index + 1}", f"{config.dataset}[{split}] row {index + 1}")
