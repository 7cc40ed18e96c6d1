"""A toy network as it is seen: for tests of what looks at a run."""

from surgeon.anatomy.scene import Scene
from surgeon.anatomy.watch import observed
from tests.shared import toy


def scene(model, image=None):
    """The Scene of one run on `image`, 16 x 16 pixels if none is given."""
    with observed(model, toy.image() if image is None else image) as observation:
        return Scene(observation.scene.graph)


def graph(scene, path):
    """The graph of the module at `path`."""
    return next(graph for graph in scene.graphs if graph.path == path)


def adds(scene, path):
    """The additions in the forward of the module at `path`."""
    return [node for node in graph(scene, path).nodes if node.op == "add"]
