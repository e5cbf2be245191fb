"""Networks whose forward is given as a function, and what a reader would check of their graphs by hand."""

from torch import nn


class Net(nn.Module):
    """Modules and parameters by name, and a forward given as a function of (net, *inputs)."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.run(self, *inputs)


def rows(graph):
    """(kind, site or weight or call, inputs) of each node."""
    return [
        (str(node.kind), node.site.name if node.site else ",".join(node.weights) or node.call, node.inputs)
        for node in graph.nodes
    ]


def ancestors(graph, index):
    """All nodes from which a path leads to this one."""
    found, todo = set(), [index]
    while todo:
        for source in graph.nodes[todo.pop()].inputs:
            if source not in found:
                found.add(source)
                todo.append(source)
    return found
