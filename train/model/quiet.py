"""Keep libraries from writing what asks nothing of anybody: progress bars of their own, and hints for developers."""

from __future__ import annotations

import logging
import warnings


def quiet_libraries() -> None:
    """Silence, for this process, bars of transformers and datasets, DeepSpeed's guess at a device, and deprecations."""
    import datasets
    import transformers

    # It is written to the standard output wherever DeepSpeed is installed and there is no GPU; we name the device.
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator to CPU" not in record.getMessage())
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
