"""Draw graphs by hand, for what no model of a few lines would show."""

from budbreak.graph import Kind, ModelGraph, Node
from budbreak.masks import UnitLayout


class Drawing:
    """Nodes in the order of the calls; each method gives the index of its node."""

    def __init__(self):
        self.nodes = []

    def add(self, kind, call, inputs, shape, **rest):
        index = len(self.nodes)
        self.nodes.append(
            Node(
                index=index,
                kind=kind,
                call=call,
                owner=rest.pop("owner", ""),
                inputs=tuple(inputs),
                shape=shape,
                **rest,
            )
        )
        return index

    def input(self, *shape):
        return self.add(Kind.INPUT, "input", (), shape)

    def like(self, kind, call, *inputs, **rest):
        return self.add(kind, call, inputs, self.nodes[inputs[0]].shape, **rest)

    def relu(self, source):
        return self.like(Kind.SITE, "relu", source)

    def sum(self, *sources):
        return self.like(Kind.ADD, "add", *sources)

    def linear(self, source, weight, units):
        shape = (*self.nodes[source].shape[:-1], units)
        return self.add(Kind.LAYER, "linear", (source,), shape, weights=(weight,), units=UnitLayout(0), unit_dims=(-1,))

    def conv(self, source, weight, units, *, groups=1):
        batch, _, *size = self.nodes[source].shape
        return self.add(
            Kind.LAYER,
            "conv2d",
            (source,),
            (batch, units, *size),
            weights=(weight,),
            units=UnitLayout(0),
            groups=groups,
        )

    def batch_norm(self, source, owner):
        return self.like(Kind.NORM, "batch_norm", source, owner=owner, weights=(f"{owner}.weight",))

    def move(self, source, call, shape, *arguments):
        return self.add(Kind.MOVE, call, (source,), shape, arguments=arguments)

    def cat(self, *sources, dim=1):
        shape = list(self.nodes[sources[0]].shape)
        shape[dim] = sum(self.nodes[source].shape[dim] for source in sources)
        return self.add(Kind.CONCAT, "cat", sources, tuple(shape), arguments=(dim,))

    def output(self, source):
        return self.like(Kind.OUTPUT, "output", source)

    def graph(self):
        return ModelGraph(tuple(self.nodes))
