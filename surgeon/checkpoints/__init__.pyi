from .checkpoint import Checkpoint as Checkpoint
from .checkpoint import read as read
from .published import load_published as load_published
