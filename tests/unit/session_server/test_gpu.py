"""The reader against an NVML that behaves as NVIDIA's documentation says; no GPU is where tests run."""

from __future__ import annotations

from types import SimpleNamespace

from runtime.protocol.control import Gpu
from runtime.session_server.gpu import GpuReader


class NVMLError(Exception):
    pass


class FakeNvml:
    NVMLError = NVMLError
    lost = False

    def nvmlDeviceGetCount(self) -> int:
        if self.lost:
            raise NVMLError("GPU is lost")
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=24 << 30, used=handle << 30, free=0)

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"NVIDIA L4" if handle else "NVIDIA A10"  # older bindings answer bytes

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=37, memory=5)

    def nvmlDeviceGetEncoderUtilization(self, handle: int) -> list[int]:
        if handle:
            raise NVMLError("Not Supported")
        return [50, 100_000]

    def nvmlDeviceGetEncoderStats(self, handle: int) -> list[int]:
        if handle:
            raise NVMLError("Not Supported")
        return [3, 60, 1000]


def test_every_figure_a_card_knows_is_reported() -> None:
    reader = GpuReader()
    reader._nvml = FakeNvml()
    assert reader.read() == (
        Gpu(
            index=0,
            name="NVIDIA A10",
            memory_total_bytes=24 << 30,
            memory_used_bytes=0,
            utilisation=0.37,
            encoder_utilisation=0.5,
            encoder_sessions=3,
        ),
        Gpu(index=1, name="NVIDIA L4", memory_total_bytes=24 << 30, memory_used_bytes=1 << 30, utilisation=0.37),
    )


def test_a_lost_gpu_does_not_stop_heartbeats() -> None:
    reader = GpuReader()
    reader._nvml = nvml = FakeNvml()
    nvml.lost = True
    assert reader.read() == ()
    nvml.lost = False
    assert len(reader.read()) == 2


def test_a_machine_without_driver_has_no_gpus() -> None:
    reader = GpuReader()
    reader.open()
    assert reader.read() == ()
    reader.close()
