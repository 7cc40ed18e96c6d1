from .rewrite import Rewritable as Rewritable
from .rewrite import rewritable as rewritable
from .subclass import grafted as grafted
from .subclass import grafts_of as grafts_of
