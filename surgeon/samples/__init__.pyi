from .images import digits as digits
from .network import load as load
