from .graph import Graph as Graph
from .graph import Node as Node
from .graph import Value as Value
from .outputs import max_abs_diff as max_abs_diff
from .outputs import outputs as outputs
from .outputs import same_bits as same_bits
from .recorder import observe as observe
