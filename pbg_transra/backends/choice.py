"""Which backend trains: processors, or a GPU."""

import torch

from artifacts.errors import ConfigError, ResourceError
from artifacts.formats.graph import Graph
from artifacts.machine.resources import GIB
from pbg_transra.backends.backend import Backend
from pbg_transra.backends.cpu import CPUBackend
from pbg_transra.backends.device.backend import DeviceBackend
from pbg_transra.config import ModelConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def require_device(config: ModelConfig) -> None:
    """Raises ConfigError where `model.device` asks for a GPU and there is none."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"model.device: 'cuda': torch {torch.__version__} sees no GPU here; expected 'cpu' or 'auto'")


def chosen_device(config: ModelConfig, needed: int) -> torch.device:
    """The one for a training that needs so many bytes of a GPU. Raises ConfigError where the GPU that is asked for is
    not there, ResourceError where the training does not fit."""
    require_device(config)
    if config.device == "cpu" or not config.fused or not torch.cuda.is_available():
        return CPU
    free = free_bytes()
    if needed <= free:
        return CUDA
    if config.device == "auto":
        return CPU
    raise ResourceError(
        f"training needs about {needed / GIB:.1f} GiB of the GPU's memory, {free / GIB:.1f} GiB are free; raise "
        f"graph.partitions, lower model.dimension or model.batch_size, or set model.device to 'auto' or 'cpu'"
    )


def free_bytes() -> int:
    """Of the GPU's memory, with what torch has taken and does not use."""
    free: int = torch.cuda.mem_get_info()[0]
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def make_backend(graph: Graph, config: ModelConfig, workers: int, device: torch.device) -> Backend:
    if device.type == "cpu":
        return CPUBackend(graph, config, workers)
    return DeviceBackend(graph, config, device)
