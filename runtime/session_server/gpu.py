"""GPUs as NVIDIA's driver reports them (NVML), where there is one."""

from __future__ import annotations

import logging
from typing import Any

from runtime.protocol.control import Gpu

logger = logging.getLogger(__name__)


class GpuReader:
    """Reads every GPU; without driver or ``nvidia-ml-py`` there are none. Calls block for milliseconds."""

    def __init__(self) -> None:
        self._nvml: Any = None

    def open(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
        except ImportError:
            logger.info("nvidia-ml-py is not installed; GPUs are not reported")
        except Exception as error:  # NVML has one exception class per code, all made at import
            logger.info("no NVIDIA driver (%s); GPUs are not reported", error)
        else:
            self._nvml = pynvml

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml = None

    def read(self) -> tuple[Gpu, ...]:
        nvml = self._nvml
        if nvml is None:
            return ()
        try:
            return tuple(self._one(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError as error:
            # A driver update under our feet; the next heartbeat tries again.
            logger.warning("GPUs cannot be read now: %s", error)
            return ()

    def _one(self, nvml: Any, index: int) -> Gpu:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        name = nvml.nvmlDeviceGetName(handle)

        def optional(read: Any) -> Any:
            try:
                return read()
            except nvml.NVMLError:
                return None  # not every card knows every figure

        load = optional(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        encoder = optional(lambda: nvml.nvmlDeviceGetEncoderUtilization(handle)[0])
        sessions = optional(lambda: nvml.nvmlDeviceGetEncoderStats(handle)[0])
        return Gpu(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            memory_total_bytes=int(memory.total),
            memory_used_bytes=int(memory.used),
            utilisation=None if load is None else load / 100,
            encoder_utilisation=None if encoder is None else encoder / 100,
            encoder_sessions=sessions,
        )
