from .export import read_program as read_program
from .export import write_onnx as write_onnx
from .export import write_program as write_program
from .unfold import is_program as is_program
from .unfold import network as network
from .vet import archive as archive
