import contextlib

from budbreak.runs import job as jobs
from budbreak.runs.job import Job, run_job
from budbreak.runs.recipe import make_recipe

TINY = {
    "name": "tiny", "dataset": "digits", "network": "mlp", "train_limit": 100, "epochs": 2, "levels": 2, "seeds": 1,
    "learning_rate": 0.05, "batch_size": 50, "dnr_images": 50, "dnr_every": 1,
}  # fmt: skip


def test_dead_units_before_the_first_epoch_are_counted_with_fresh_statistics(tmp_path, monkeypatch):
    """Once in each level: before epoch 1, when weights were pruned and rewound, but never after an epoch."""
    inside, counted = [], []
    real = jobs.dead_neurons

    @contextlib.contextmanager
    def refreshed(model, batches):
        inside.append(True)
        yield
        inside.pop()

    def dead_neurons(*args, **options):
        counted.append(bool(inside))
        return real(*args, **options)

    monkeypatch.setattr(jobs, "refreshed_norms", refreshed)
    monkeypatch.setattr(jobs, "dead_neurons", dead_neurons)
    job = Job(make_recipe(TINY), "host", 0, tmp_path, None, 1)
    run_job(job, lambda event: None)
    assert counted == [True, False, False] * 3
