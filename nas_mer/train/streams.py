"""Random streams: every use of randomness has its own, derived from what it is for."""

from __future__ import annotations

import hashlib
import json

import torch


def stream_seed(*about: str | int) -> int:
    """Return a 63-bit seed that depends on all of `about` (seed, genotype, fold, purpose, ...) and nothing else."""
    digest = hashlib.sha256(json.dumps(about).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(*about: str | int) -> torch.Generator:
    """Return a CPU generator with the seed `stream_seed(*about)`."""
    return torch.Generator().manual_seed(stream_seed(*about))
