"""The starts that are compared, and what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """How attention starts in a trained network, and how it learns.

    init: what `surgeon.inject` is given; None for no attention. faster: the attention's rate, in rates of the network.
    gammas: the rate of the gammas alone, in rates of the attention. opens: gamma goes from 0 to 1 over a warm-up.
    scratch: attention was there when the network was trained first.
    """

    init: str | None = "identity"
    faster: float = 1
    gammas: float = 1
    opens: bool = False
    scratch: bool = False


CANDIDATES = {
    "none": Candidate(None),
    "scratch": Candidate("neutral", scratch=True),
    "eager": Candidate("eager"),
    "identity": Candidate(),
    "identity, rate x 10": Candidate(faster=10),
    "identity, gamma x 30": Candidate(gammas=30),
    "neutral": Candidate("neutral"),
    "neutral, rate x 10": Candidate("neutral", faster=10),
    "opening": Candidate(opens=True),
    "paper": Candidate("paper"),
}
# What each is, for readers of the page.
MEANINGS = {
    "none": "the network alone, trained as long",
    "eager": "(c) last layers from 0, a gain of 2, and scores ten times as steep; one rate for all",
    "scratch": "attention was there from the first epoch of the network's own training (started as neutral)",
    "identity": "(a) gamma from 0, one learning rate for all",
    "identity, rate x 10": "(b) the same, the attention with ten times the network's rate",
    "identity, gamma x 30": "(b) the same, gamma alone with thirty times the rate",
    "neutral": "(c) last layers from 0 and a gain of 2, one rate for all",
    "neutral, rate x 10": "(c) the same, the attention with ten times the network's rate",
    "opening": "(d) gamma raised from 0 to 1 over the first fifth of the steps (`surgeon.Opening`)",
    "paper": "(e) the published start, batch norms measured anew before the first step (`surgeon.recalibrate`)",
}
