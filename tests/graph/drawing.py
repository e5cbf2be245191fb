"""Draw graphs by hand, for what no model of a few lines would show."""

from budbreak.graph import Kind, ModelGraph, Node
from budbreak.graph.parts import Part, aimed, whole
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
        *leading, columns = self.nodes[source].shape
        part = aimed(whole(weight, (units, columns)), {-2: -1, -1: None})
        return self.add(
            Kind.LAYER,
            "linear",
            (source,),
            (*leading, units),
            weights=(weight,),
            units=UnitLayout(0),
            unit_dims=(-1,),
            parts=(part,),
        )

    def conv(self, source, weight, units, *, groups=1):
        batch, columns, *size = self.nodes[source].shape
        dims = {-4: -3} if groups > 1 else {-4: -3, -3: None}
        return self.add(
            Kind.LAYER,
            "conv2d",
            (source,),
            (batch, units, *size),
            weights=(weight,),
            units=UnitLayout(0),
            groups=groups,
            parts=(aimed(whole(weight, (units, columns // groups, 1, 1)), dims),),
        )

    def batch_norm(self, source, owner):
        shape = self.nodes[source].shape
        part = aimed(whole(f"{owner}.weight", shape[1:2]), {-1: 1 - len(shape)})
        return self.like(Kind.NORM, "batch_norm", source, owner=owner, weights=(part.name,), parts=(part,))

    def layer_norm(self, source, owner):
        shape = self.nodes[source].shape
        part = whole(f"{owner}.weight", shape[-1:])
        weights = (part.name,)
        return self.like(Kind.NORM, "layer_norm", source, owner=owner, weights=weights, parts=(part,), over=(-1,))

    def constant(self, shape, name="", *, made_of=None, known=True):
        """A parameter, or with ``made_of`` one of that shape, expanded; without a name what the code makes."""
        part = whole(name, shape if made_of is None else made_of)
        parts = (part if known else Part(name, (), known=False),)
        return self.add(Kind.CONSTANT, "", (), shape, weights=(name,) if name else (), parts=parts)

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
