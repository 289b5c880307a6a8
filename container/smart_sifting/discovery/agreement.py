"""One verdict for all ranks: a rank that sifts beside one that does not would hang the job."""

from __future__ import annotations

from smart_sifting.discovery.watch import Verdict
from smart_sifting.ranks import lowest_of_all_ranks


def agreed(verdict: Verdict) -> Verdict:
    """The least of all ranks' verdicts. A collective: every rank calls it after the same batch."""
    (lowest,) = lowest_of_all_ranks([int(verdict)])
    return Verdict(lowest)
