"""Attention modules: made by name, checked on fake tensors, switched off and on, recorded."""

from surgeon.attention.building import build
from surgeon.attention.foreign import Foreign
from surgeon.attention.gate import EXACT, INITS, Gate, Init
from surgeon.attention.gates import attention_modules, attention_parameters, disabled, lost_attention, record
from surgeon.attention.naming import name_of, options_of, register, spec_of
from surgeon.attention.probing import Cost, cost, probe
from surgeon.attention.table import TABLE

__all__ = [
    "EXACT",
    "INITS",
    "TABLE",
    "Cost",
    "Foreign",
    "Gate",
    "Init",
    "attention_modules",
    "attention_parameters",
    "build",
    "cost",
    "disabled",
    "lost_attention",
    "name_of",
    "options_of",
    "probe",
    "record",
    "register",
    "spec_of",
]
