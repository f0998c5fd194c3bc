"""What NVML, the driver's own library, says of the cards; torch may see others, or none of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card as NVML describes it; what it does not tell of a card is None."""

    name: str
    uuid: str = ""
    memory: int = 0  # bytes
    used: int = 0  # bytes, by whom it may be
    busy: int | None = None  # percent of the last second or less in which something computed on it
    processes: int = 0  # that compute on it
    mig: bool = False
    ecc_errors: int | None = None  # uncorrected ones since the driver was loaded
    remap_pending: bool = False  # rows of broken memory that the next reset puts out of use
    remap_failed: bool = False
    persistence: bool | None = None
    exclusive: bool = False  # a single process may compute on it
    prohibited: bool = False  # none may
    slowed: bool = False  # by heat or power, this moment


@dataclass(frozen=True)
class Cards:
    """The driver, the newest CUDA that it serves, and its cards; without a driver the reason that NVML gives."""

    driver: str | None = None
    cuda: str | None = None
    cards: tuple[Card, ...] = ()
    problem: str | None = None


def look_at_cards() -> Cards:
    """Return what NVML says; where it says nothing, `problem` is its own text. Raises nothing."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Cards(problem=str(error))
    try:
        driver, served = str(pynvml.nvmlSystemGetDriverVersion()), int(pynvml.nvmlSystemGetCudaDriverVersion())
        cards = tuple(_card(pynvml, handle) for handle in _handles(pynvml))
        return Cards(driver, f"{served // 1000}.{served % 1000 // 10}", cards)
    except pynvml.NVMLError as error:
        return Cards(problem=str(error))
    finally:
        pynvml.nvmlShutdown()


def _handles(nvml: Any) -> Iterator[Any]:
    for number in range(nvml.nvmlDeviceGetCount()):
        yield nvml.nvmlDeviceGetHandleByIndex(number)


def _card(nvml: Any, handle: Any) -> Card:
    def told(ask: Callable[..., Any], *more: Any, default: Any = None) -> Any:
        # Cards for desktops know nothing of ECC or MIG, old drivers nothing of remapped rows.
        with contextlib.suppress(nvml.NVMLError):
            return ask(handle, *more)
        return default

    memory = told(nvml.nvmlDeviceGetMemoryInfo)
    rates = told(nvml.nvmlDeviceGetUtilizationRates)
    rows = told(nvml.nvmlDeviceGetRemappedRows, default=(0, 0, 0, 0))
    mode = told(nvml.nvmlDeviceGetComputeMode)
    reasons = told(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, default=0)
    hot = nvml.nvmlClocksThrottleReasonHwSlowdown | nvml.nvmlClocksThrottleReasonSwThermalSlowdown
    persistence = told(nvml.nvmlDeviceGetPersistenceMode)
    return Card(
        name=str(nvml.nvmlDeviceGetName(handle)),
        uuid=str(told(nvml.nvmlDeviceGetUUID, default="")),
        memory=int(memory.total) if memory else 0,
        used=int(memory.used) if memory else 0,
        busy=int(rates.gpu) if rates else None,
        processes=len(told(nvml.nvmlDeviceGetComputeRunningProcesses, default=())),
        mig=told(nvml.nvmlDeviceGetMigMode, default=(0, 0))[0] == 1,
        ecc_errors=told(
            nvml.nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        ),
        remap_pending=bool(rows[2]),
        remap_failed=bool(rows[3]),
        persistence=None if persistence is None else bool(persistence),
        exclusive=mode == nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
        prohibited=mode == nvml.NVML_COMPUTEMODE_PROHIBITED,
        slowed=bool(reasons & hot),
    )
