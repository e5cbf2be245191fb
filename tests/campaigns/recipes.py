"""Malformed recipes and flags: each ends with an exit code and a message; no traceback, no hang, nothing trained."""

import sys

from frame import DIGITS, Broken, campaign, command

VALUES = [
    "0", "-1", "1e308", "1e-320", "nan", "inf", "-inf", "true", "''", '""', "[]", "{}", "[[]]", "[1, 'a']", "0.5",
    "0x" + "f" * 500, "9" * 400, "9" * 5000, "1979-05-27", '"\\u0000"', '"é"', '"../x"', '"builtins:exit"', "1", "2",
    '"torch:tensor"', '":"', '"a:b"', '"json:dumps"', '"' + "x" * 3000 + '"', "[" * 400 + "]" * 400, "1000", '"host"',
    "100000000", '["host"]', '["ap-lite", "ap-lite"]', '"one-shot"', '"cubic"', '"taylor"', '"none"', "[0.0001]",
    "[1, 2, 3]", "0.999999999", "1.5",
]  # fmt: skip
FLAGS = [
    "",
    "x",
    "-1",
    "0",
    "1e400",
    "nan",
    "9" * 5000,
    "1,2,,3",
    ",",
    "a:b",
    "builtins:exit",
    "true",
    "0.5",
    "é",
    "\n",
]


def malformed(random, text):
    """A few lines changed, doubled, cut or filled with noise."""
    from budbreak.studies import field_types

    lines = text.splitlines()
    for _ in range(random.randint(1, 4)):
        at, kind = random.randrange(len(lines)), random.randrange(6)
        if kind <= 2:
            lines.insert(at, f"{random.choice(list(field_types()))} = {random.choice(VALUES)}")
        elif kind == 3:
            lines[at] = f"{lines[at].partition('=')[0]}= {random.choice(VALUES)}"
        elif kind == 4:
            lines[at] = lines[at][: random.randint(0, len(lines[at]))]
        else:
            lines[at] = "".join(chr(random.randrange(1, 0x2FF)) for _ in range(random.randint(1, 40)))
    # a key that is given twice is no TOML: mostly keep the last
    body = {line.partition("=")[0].strip(): line for line in lines} if random.random() < 0.8 else dict(enumerate(lines))
    return "\n".join(body.values())


def one_round(random, folder):
    from budbreak.studies import field_types

    path = folder / "a.toml"
    with open(DIGITS, encoding="utf-8") as stream:
        text = stream.read()
    path.write_bytes(malformed(random, text).encode("utf-8" if random.random() < 0.9 else "utf-16"))
    recipe = DIGITS if random.random() < 0.3 else str(path)
    arguments = ["run", recipe, "--dry-run", "--out", str(folder / "out")]
    for _ in range(random.randint(0, 3)):
        name = random.choice([*field_types(), "workers", "log", "data_dir", "seed", "level"]).replace("_", "-")
        arguments += [f"--{name}", random.choice(FLAGS + [value.strip("'\"[]") for value in VALUES])]
    code, said = command(arguments)
    if (folder / "out").exists():
        raise Broken(f"{arguments!r} wrote something")
    if code and (not said.strip() or len(said) > 10_000):
        raise Broken(f"{arguments!r}: code {code} with {len(said)} letters of explanation")
    return {0: "accepted", 1: "refused", 2: "wrong command lines"}[code]


if __name__ == "__main__":
    sys.exit(campaign("recipes", one_round, rounds=1000, limit=30))
