"""Lets accelerate run FSDP2 on the CPU, in the processes of a test that puts this folder on its PYTHONPATH.

accelerate takes FSDP for a GPU's and silently runs DDP on the CPU, which the product refuses; torch's own fully_shard
works over gloo. Nothing of adhere is touched: only accelerate's state learns that two CPU ranks may shard.
"""

import importlib.abc
import importlib.machinery
import os
import sys


def _patch(module):
    plain = module.AcceleratorState.__init__

    def initialise(self, *arguments, fsdp_plugin=None, **rest):
        fresh = module.AcceleratorState._shared_state == {}
        plain(self, *arguments, fsdp_plugin=fsdp_plugin, **rest)
        if fresh and fsdp_plugin is not None and self.distributed_type is module.DistributedType.MULTI_CPU:
            self.distributed_type = module.DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            module.PartialState._shared_state["distributed_type"] = self.distributed_type

    module.AcceleratorState.__init__ = initialise


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "accelerate.state":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def run_and_patch(module):
            run(module)
            _patch(module)

        spec.loader.exec_module = run_and_patch
        return spec


if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    sys.meta_path.insert(0, _Finder())
