"""The evaluator starts without loading a model library."""

import subprocess
import sys

MODULES = "run, score_file, suites, table, plot, export, backends, floors, metrics"


def test_importing_the_evaluator_loads_no_model_library():
    code = f"from evaluation import {MODULES}; import sys; print({{'torch', 'transformers', 'openai'}} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
