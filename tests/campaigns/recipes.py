"""Malformed recipes and options: each ends with an exit code and a message; no traceback, no hang, nothing trained.

Sections, arms, grids and ``--set`` at random, over what is right: a part of what comes out is a valid recipe.
"""

import sys

from frame import DIGITS, ROOT, Broken, campaign, command

VALUES = [
    "0", "-1", "1e308", "1e-320", "nan", "inf", "-inf", "true", "''", '""', "[]", "{}", "[[]]", "[1, 'a']", "0.5",
    "0x" + "f" * 500, "9" * 400, "9" * 5000, "1979-05-27", '"\\u0000"', '"é"', '"../x"', '"builtins:exit"', "1", "2",
    '"torch:tensor"', '":"', '"a:b"', '"json:dumps"', '"' + "x" * 3000 + '"', "[" * 400 + "]" * 400, "1000", '"host"',
    "100000000", '["host"]', '["ap", "ap"]', '"one-shot"', '"cubic"', '"taylor"', '"none"', "[0.0001]", "0.2", "10",
    "[1, 2, 3]", "0.999999999", "1.5", '{is = "ap", q = 0.02}', '[{is = "ap", q = 0.02, variant = "pro"}]', '["ap"]',
    '{is = "geometric", rate = 0.2, levels = 2}', '{is = "geometric", levels = 2}', '{is = "geometric", rate = 20}',
    '{is = "magnitude", alpha = 1}', '{is = "torch.nn:Linear"}', '{is = "dataclasses:Field"}', "{is = 3}", '{"" = ""}',
    '"magnitude"', '"gradient"', '"adam"', '"cosine"', '"linear"', '"steps"', '"plateau"', '["train"]', '"weights"',
    '{is = "steps", milestones = [1]}', '{is = "steps", milestones = [99999]}', '"unit"', '{is = "unit", dim = 7}',
    '["dead-units", "gradient-norm"]', '{is = "random", seed = 1}', '"learning-rate"', '["*"]', '"layer"', '"mnist"',
    '{is = "sgd", learning_rate = 0}', '{is = "adamw", betas = [0.9]}', '"budbreak.criteria:Magnitude"', '"resnet-20"',
]  # fmt: skip
ARGUMENTS = ["levels", "rate", "sparsity", "learning_rate", "momentum", "milestones", "q", "is", "seed", "", "x.y", "é"]
OPTIONS = ["--workers", "--log", "--data-dir", "--seed", "--level", "--seeds", "--arms", "--executor", "--set", "--yes"]
WORDS = [
    "", "x", "-1", "0", "1", "2", "1e400", "nan", "9" * 5000, "1,2,,3", ",", "a:b", "builtins:exit", "true", "0.5", "é",
    "\n", "host", "host,ap-lite", "ap-lite", "here", "processes", "train.epochs", "train.epochs=", "=1", "..=1",
]  # fmt: skip
NAMES = ["host", "ap-lite", "b", "a b", "none", "é", "x" * 50, '"a.b"', '""', "grid"]


def paths():
    """Dotted paths, most of them right."""
    from budbreak.recipes import recipe_fields

    return [f"{section}.{field.name}" for section, fields in recipe_fields().items() for field in fields]


def path(random):
    """A dotted path, mostly to a field."""
    right = random.choice(paths())
    kind = random.random()
    if kind < 0.15:
        return f"{right}.{random.choice(ARGUMENTS)}"
    if kind < 0.2:
        return right.replace(random.choice("aeiou."), random.choice(["", ".", "x"]))
    if kind < 0.25:
        return random.choice(
            [right.partition(".")[0], right.partition(".")[2], "prune.schedule.levels", ".", "arms.host"]
        )
    return right


def value(random):
    return random.choice(VALUES)


def added_arm(random):
    lines = [f"[arms.{random.choice(NAMES)}]"]
    if random.random() < 0.4:
        known = [f'"{name}"' for name in NAMES[:5]]
        lines.append(f"reference = {random.choice([*known, *VALUES])}")
    lines += [f'"{path(random)}" = {value(random)}' for _ in range(random.randint(0, 3))]
    return lines


def added_grid(random):
    lists = [f"[{', '.join(value(random) for _ in range(random.randint(0, 3)))}]" for _ in range(random.randint(1, 3))]
    return ["[grid]", *(f'"{path(random)}" = {random.choice([text, text, value(random)])}' for text in lists)]


def added_field(random):
    section, _, field = random.choice(paths()).partition(".")
    return [f"[{section}]", f"{field} = {value(random)}"]


def malformed(random, text):
    """A few lines changed, sections, arms and grids added, lines cut or filled with noise."""
    lines = text.splitlines()
    for _ in range(random.randint(1, 3)):
        at, kind = random.randrange(len(lines)), random.randrange(10)
        if kind <= 2:
            lines[at] = f"{lines[at].partition('=')[0]}= {value(random)}"
        elif kind <= 4:
            lines += added_arm(random)
        elif kind <= 6:
            lines += added_grid(random)
        elif kind == 7:
            lines[at:at] = added_field(random)
        elif kind == 8:
            lines[at] = lines[at][: random.randint(0, len(lines[at]))]
        else:
            lines[at] = "".join(chr(random.randrange(1, 0x2FF)) for _ in range(random.randint(1, 40)))
    return "\n".join(lines)


def merged(random, text):
    """A valid recipe with a value replaced, or one field more, where that leaves it TOML."""
    lines = text.splitlines()
    section, _, field = random.choice(paths()).partition(".")
    lines = [line for line in lines if not line.startswith(f"{field} = ")]
    if f"[{section}]" in lines:
        lines.insert(lines.index(f"[{section}]") + 1, f"{field} = {value(random)}")
    return "\n".join([*lines, *(added_arm(random) if random.random() < 0.5 else added_grid(random))])


def options(random):
    """Options of the command, mostly ``--set``."""
    words = []
    for _ in range(random.randint(0, 3)):
        if random.random() < 0.6:
            words += ["--set", f"{path(random)}={value(random)}"]
        else:
            words += [random.choice(OPTIONS), random.choice([*WORDS, *(text.strip("'\"[]") for text in VALUES)])]
    return words


def one_round(random, folder):
    recipe = folder / "a.toml"
    text = random.choice([DIGITS, str(ROOT / "recipes/digits-hosts.toml")])
    with open(text, encoding="utf-8") as stream:
        text = stream.read()
    changed = random.choice([malformed, merged])(random, text)
    recipe.write_bytes(changed.encode("utf-8" if random.random() < 0.9 else "utf-16"))
    chosen = DIGITS if random.random() < 0.3 else str(recipe)
    arguments = ["run", chosen, "--dry-run", "--out", str(folder / "out"), *options(random)]
    try:
        code, said = command(arguments)
    except Broken as error:
        raise Broken(f"{error}\n{changed if chosen != DIGITS else ''}") from None
    if (folder / "out").exists():
        raise Broken(f"{arguments!r} wrote something")
    if code and (not said.strip() or len(said) > 10_000):
        raise Broken(f"{arguments!r}: code {code} with {len(said)} letters of explanation")
    return {0: "accepted", 1: "refused", 2: "wrong command lines"}[code]


if __name__ == "__main__":
    sys.exit(campaign("recipes", one_round, rounds=1000, limit=30))
