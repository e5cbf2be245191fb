"""What the campaign of the readers does to a file: damage of any kind, and forgeries with the right checksum."""

import json

import torch

from budbreak.files import digest, trees
from budbreak.files.storage import canonical


def flip(random, data, folder):
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 5, 50))):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random, data, folder):
    return data[: random.randrange(len(data))]


def blank(random, data, folder):
    start = random.randrange(len(data))
    return data[:start] + bytes(min(64, len(data) - start)) + data[start + 64 :]


def longer(random, data, folder):
    return data + random.randbytes(random.choice((1, 8, 1000)))


def noise(random, data, folder):
    return random.randbytes(random.choice((0, 1, 7, 8, 9, 100, 5000)))


def swapped(random, data, folder):
    others = sorted(path for path in folder.rglob("*") if path.is_file())
    return random.choice(others).read_bytes()


DAMAGES = (flip, cut, blank, longer, noise, swapped)
ODD = (
    None, True, -1, 0, 2**63, 10**299, 0.5, -1e308, float("nan"), float("inf"), "", "x", "\0\x1b[2J", "1" * 3000, [],
    {}, [[]], {"a": 1}, [1, "a"], ["tensor", "0"], ["value", 3], ["list", []],
)  # fmt: skip


def mutated(random, node):
    """The value with one of its parts changed: another type, a part more or less, an odd number."""
    if isinstance(node, dict) and node and random.random() < 0.9:
        key = random.choice(sorted(node))
        kind = random.random()
        if kind < 0.1:
            return {name: value for name, value in node.items() if name != key}
        if kind < 0.15:
            return {**node, "more": random.choice(ODD)}
        return {**node, key: mutated(random, node[key])}
    if isinstance(node, list) and node and random.random() < 0.9:
        place = random.randrange(len(node))
        kind = random.random()
        if kind < 0.1:
            return node[:place] + node[place + 1 :]
        if kind < 0.15:
            return [*node, node[place]]
        return [*node[:place], mutated(random, node[place]), *node[place + 1 :]]
    return random.choice(ODD)


def forged_json(random, path):
    body = json.loads(path.read_text())
    del body["sha256"]
    marks = {key: body[key] for key in ("kind", "store")}
    body = mutated(random, {key: value for key, value in body.items() if key not in marks})
    body = {**marks, **body} if isinstance(body, dict) else {"kind": None, "odd": body}
    if random.random() < 0.5 and "identity" in body and path.name == "identity.json":
        body["store"] = digest(body["identity"])
    try:
        path.write_text(json.dumps({**body, "sha256": digest(body)}))
    except UnicodeEncodeError:
        path.write_text("")


def forged_tree(random, path):
    from safetensors import safe_open
    from safetensors.torch import save

    with safe_open(path, framework="pt") as opened:
        text = opened.metadata()["tree"].partition(" ")[2]
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    head = json.loads(text)
    if random.random() < 0.7:
        head["tree"] = mutated(random, head["tree"])
    else:
        name = random.choice(sorted(tensors))
        tensors[name] = random.choice((
            torch.zeros(0), tensors[name].double(), tensors[name].reshape(-1)[:1], torch.full((3,), float("nan")),
            tensors[name].flatten().repeat(2), torch.tensor(7),
        ))  # fmt: skip
    text = canonical(head)
    path.write_bytes(save(tensors, {"tree": f"{trees._tensors_digest(tensors, text)} {text}"}))


def forged(random, path):
    if path.suffix == ".json":
        forged_json(random, path)
    elif path.name == "model.safetensors" or path.suffix != ".safetensors":
        path.write_bytes(flip(random, path.read_bytes(), None))
    else:
        forged_tree(random, path)
