"""The evaluator starts without loading a model library."""

import subprocess
import sys

MODULES = "run, score_file, suites, table, plot, export, backends, floors, metrics"


def test_importing_the_evaluator_loads_no_model_library():
    code = f"import sys; from adhere.evaluation import {MODULES}; print({{'torch', 'transformers'}} & {{*sys.modules}})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
