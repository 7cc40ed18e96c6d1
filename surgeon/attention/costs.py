"""What the attention in a network costs: found out when somebody asks, since it takes as long as putting it in."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from surgeon.attention.gate import Gate
from surgeon.attention.gates import attention_modules
from surgeon.attention.probing import Cost, cost
from surgeon.sites import Site

# What a gate was made from as text, its channels and the size of its map: gates alike in these cost the same.
Kind = tuple[str, int, tuple[int, ...]]


# What is copied under a caller's inference mode could not be run outside of it.
@torch.inference_mode(False)
def costed_sites(model: nn.Module) -> dict[str, Site]:
    """{path of each gate that surgeon put into `model`: its Site, with what attention costs there}.

    The model is as it was: what `surgeon.inject` left open stays open on its own sites.
    """
    known: dict[Kind, Cost] = {}
    gates = attention_modules(model)
    return {path: _costed(gate, gate.site, known) for path, gate in gates.items() if gate.site is not None}


def _costed(gate: Gate, site: Site, known: dict[Kind, Cost]) -> Site:
    if site.parameters is not None and site.macs is not None:
        return site
    kind = str(gate.made), site.channels, site.size
    if kind not in known:
        known[kind] = cost(deepcopy(gate).to("meta"), (site.channels, *site.size))
    return replace(site, parameters=known[kind].parameters, macs=known[kind].macs)
