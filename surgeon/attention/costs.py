"""What the attention in a network costs: found out when somebody asks, since it takes as long as putting it in."""

from copy import deepcopy
from dataclasses import replace

from surgeon.attention.gates import attention_modules
from surgeon.attention.probing import cost


def costed_sites(model):
    """{path of each gate that surgeon put into `model`: its Site, with what attention costs there}.

    The model is as it was: what `surgeon.inject` left open stays open on its own sites.
    """
    known = {}
    gates = {path: gate for path, gate in attention_modules(model).items() if gate.site is not None}
    return {path: _costed(gate, known) for path, gate in gates.items()}


def _costed(gate, known):
    site = gate.site
    if site.parameters is not None and site.macs is not None:
        return site
    key = str(gate.made), site.channels, site.size
    if key not in known:
        known[key] = cost(deepcopy(gate).to("meta"), (site.channels, *site.size))
    parameters, macs = known[key]
    return replace(site, parameters=parameters, macs=macs)
