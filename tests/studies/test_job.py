import contextlib

from budbreak.studies.job import Job, run_job

from budbreak.studies import job as jobs
from budbreak.studies import look_ahead
from budbreak.studies.recipe import make_recipe

TINY = {
    "name": "tiny", "dataset": "digits", "network": "mlp", "train_limit": 100, "epochs": 2, "levels": 2, "seeds": 1,
    "learning_rate": 0.05, "batch_size": 50, "dnr_images": 50, "dnr_every": 1,
}  # fmt: skip


def test_dead_units_before_the_first_epoch_are_counted_with_fresh_statistics(tmp_path, monkeypatch):
    """Once in each level: before epoch 1, when weights were pruned and rewound, but never after an epoch."""
    inside, counted = [], []
    real = jobs.measure

    @contextlib.contextmanager
    def refreshed(model, batches):
        inside.append(True)
        yield
        inside.pop()

    def measure(*args, **options):
        counted.append(bool(inside))
        return real(*args, **options)

    monkeypatch.setattr(jobs, "refreshed_norms", refreshed)
    monkeypatch.setattr(jobs, "measure", measure)
    job = Job(make_recipe(TINY), "host", 0, tmp_path, None, 1)
    run_job(job, lambda event: None)
    assert counted == [True, False, False] * 3


def test_what_stays_dense_is_said_by_the_look_ahead_and_not_again_by_each_job(tmp_path, monkeypatch):
    (tmp_path / "rows.py").write_text(
        "from torch import nn\n"
        "class Rows(nn.Module):\n"
        "    def __init__(self, classes, shape):\n"
        "        super().__init__()\n"
        "        self.gru, self.fc = nn.GRU(shape[2], 6, batch_first=True), nn.Linear(6, classes)\n"
        "        self.act = nn.ReLU()\n"
        "    def forward(self, x):\n"
        "        return self.fc(self.act(self.gru(x[:, 0])[0][:, -1]))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = make_recipe(
        {"name": "rows", "dataset": "digits", "network": "rows:Rows", "init": "own", "train_limit": 100, "epochs": 1,
         "levels": 1, "seeds": 2, "learning_rate": 0.05, "batch_size": 50, "dnr_images": 50}
    )  # fmt: skip
    overview = look_ahead(recipe, data_dir=None, out=tmp_path)
    assert "60 of 312 weights prunable; uncovered: gru.weight_ih_l0 (GRU, 144)" in " ".join(str(overview).split())
    run_job(Job(recipe, "host", 0, tmp_path / "job", None, 1), lambda event: None)  # a warning would be an error here
