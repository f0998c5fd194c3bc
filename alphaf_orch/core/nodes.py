"""Which of a training's machines this one is, and where the others meet it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One machine of a training: its rank, and the address and port of rank 0 where all of them meet; port 0 is any."""

    rank: int = 0
    address: str = "127.0.0.1"
    port: int = 0
