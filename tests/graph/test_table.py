from dataclasses import replace

from drawing import Drawing

from budbreak.graph import ModelGraph, Site


def drawn(blocks=1, name="block"):
    """Residual blocks with functional sites."""
    net = Drawing()

    def site(source, owner, where):
        index = net.relu(source)
        order = sum(node.site is not None for node in net.nodes)
        known = Site(f"{owner}.relu", None, (-1,), order, where=where)
        net.nodes[index] = replace(net.nodes[index], site=known, owner=owner, where=where)
        return index

    stream = site(net.linear(net.input(2, 3), "stem.weight", 4), "stem", "net.py:1")
    for block in range(blocks):
        branch = site(net.linear(stream, f"{name}{block}.in.weight", 8), f"{name}{block}", "net.py:2")
        stream = net.sum(stream, net.linear(branch, f"{name}{block}.out.weight", 4))
    net.output(net.linear(stream, "head.weight", 2))
    return net


def test_a_table_shows_sites_with_their_neighbours_and_groups():
    graph = drawn().graph()
    assert str(graph) == "\n".join(
        [
            "tensors: 9, calls of layers: 4, sites: 2, groups: 3",
            "",
            "site                    units  fed by     feeds",
            "stem.relu (net.py:1)    4      stem       block0.in, skip",
            "block0.relu (net.py:2)  8      block0.in  block0.out",
            "",
            "pruned together:",
            "units  made by           read by          with  but",
            "4      stem, block0.out  block0.in, head",
            "8      block0.in         block0.out",
            "2      head                                     fixed: is an output of the model",
        ]
    )


def test_what_goes_with_units_and_what_is_in_the_way_is_said():
    net = Drawing()
    hidden = net.layer_norm(net.linear(net.input(2, 4, 3), "first.weight", 4), "norm")
    net.linear(net.move(hidden, "view", (2, 16), 2, 16), "last.weight", 2)
    assert str(net.graph()).splitlines()[-5:] == [
        "pruned together:",
        "units  made by  read by        with  but",
        "4      first    last (4 each)  norm  inexact: layer_norm in norm takes its mean over them; sizes",
        "                                     given to view",
        "2      last",
    ]


def test_what_is_missing_is_listed_below():
    graph = ModelGraph(tuple(drawn().nodes), ("torch.exp called in head (net.py:41)",), ("unused.weight",))
    assert str(graph).splitlines()[-5:] == [
        "nonlinearities that are no site:",
        "  torch.exp called in head (net.py:41)",
        "",
        "weights that were not called:",
        "  unused.weight",
    ]


def test_a_long_network_with_long_names_stays_within_100_columns():
    net = drawn(60, name="a.module.with.a.path.that.is.longer.than.the.column.of.any.table.could.ever.be.")
    text = str(ModelGraph(tuple(net.nodes), ("x" * 150,)))
    assert max(map(len, text.splitlines())) == 100
    assert "57 more" in text
    assert text.count("net.py:2") == 60


def test_nothing_at_all_is_a_table_too():
    assert str(ModelGraph(())) == "tensors: 0, calls of layers: 0, sites: 0, groups: 0"
