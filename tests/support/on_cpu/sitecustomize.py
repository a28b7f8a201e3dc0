"""Lets GPU-only parts of other packages run on a CPU, in the processes of a test that puts this folder on PYTHONPATH.

Nothing of adhere is touched, and each part is a transport:

- accelerate takes FSDP for a GPU's and silently runs DDP on the CPU, which the product refuses; torch's own
  fully_shard works over gloo. Only accelerate's state learns that two CPU ranks may shard.
- vLLM sends a server's new weights by NCCL and packs them on CUDA streams, so that TRL refuses anything but CUDA.
  The same packed broadcasts go over gloo; rendezvous, requests and the reload of the layers are vLLM's and TRL's.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import sys
import types


def _fsdp(module):
    plain = module.AcceleratorState.__init__

    def initialise(self, *arguments, fsdp_plugin=None, **rest):
        fresh = module.AcceleratorState._shared_state == {}
        plain(self, *arguments, fsdp_plugin=fsdp_plugin, **rest)
        if fresh and fsdp_plugin is not None and self.distributed_type is module.DistributedType.MULTI_CPU:
            self.distributed_type = module.DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            module.PartialState._shared_state["distributed_type"] = self.distributed_type

    module.AcceleratorState.__init__ = initialise


class _Gloo:
    """What vLLM's NCCL communicator is to both ends of a transfer."""

    def __init__(self, host, port, rank, world_size):
        from vllm.distributed.utils import stateless_init_torch_distributed_process_group

        self._ranks = stateless_init_torch_distributed_process_group(host, port, rank, world_size, "gloo")
        self.group = types.SimpleNamespace(store=None, socket=None)  # TRL lets go of both at its end

    def broadcast(self, tensor, src, stream=None):
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = src
        self._ranks.broadcast([tensor], options).wait()

    def destroy(self):
        self._ranks = None


class _Stream:
    def synchronize(self):
        pass


def _transport(module):
    import torch

    module.stateless_init_process_group = lambda host, port, rank, size, device: _Gloo(host, port, rank, size)
    torch.accelerator.current_device_index = lambda: 0


def _streams(module):
    module._get_streams = lambda device, count: [_Stream() for _ in range(count)]
    module.torch.cuda.stream = lambda stream: contextlib.nullcontext()


def _client(module):
    joined = module.VLLMClient.init_communicator
    module.VLLMClient.init_communicator = lambda self, device=None: joined(self, device="cuda")


PATCHES = {
    "vllm.distributed.weight_transfer.nccl_common": _transport,
    "vllm.distributed.weight_transfer.packed_tensor": _streams,
    "trl.generation.vllm_client": _client,
}
if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    PATCHES["accelerate.state"] = _fsdp


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        patch = PATCHES.get(name)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def run_and_patch(module):
            run(module)
            patch(module)

        spec.loader.exec_module = run_and_patch
        return spec


sys.meta_path.insert(0, _Finder())
