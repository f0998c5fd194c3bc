"""What a job is to find on its machines, as it is where it is submitted."""

from __future__ import annotations

from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.settings.clusters import Profile


def place_here(profile: Profile) -> Place:
    """Return python, folder and variables of this moment; variables of a secret's name or value are left out."""
    raise NotImplementedError
