"""Locked packages whose licence is not on the list, each with why it may be there all the same."""

from __future__ import annotations

_COPYLEFT = (
    "used unchanged through its Python interface, installed by pip and no part of our wheel; who hands it on, in an"
    " air-gap bundle too, hands on its licence and its source, which the wheel is"
)
_FILE = "its metadata name no licence; the file that it ships does"
_CUDA = (
    "NVIDIA's own licence for the CUDA toolkit: free to use and to hand on with an application, no source; every torch"
    " for CUDA needs it, and a machine without an NVIDIA GPU gets none of it"
)
EXCEPTIONS: dict[str, str] = {}
