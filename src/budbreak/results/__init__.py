"""What runs measured: records, read and written; compared by seed, with intervals."""

from budbreak.results.between import between, distinct_names
from budbreak.results.compacting import (
    BATCH_SIZES,
    COMPACTION,
    compact_once,
    compaction_quantities,
    is_compacted,
    is_compaction,
    with_compacted,
)
from budbreak.results.compare import check_equal_survivors, paired_differences
from budbreak.results.costs import Cost, costs
from budbreak.results.histories import Histories, run_of_histories
from budbreak.results.intervals import Estimate, estimate, holm
from budbreak.results.notes import NOTES, NotedEnd, NotedEpoch, Notes, NotesFile, read_notes
from budbreak.results.result import (
    FILE_NAME,
    TEST_ACCURACY,
    TRAIN_ACCURACY,
    TRAIN_LOSS,
    TRAINING,
    VALIDATION_ACCURACY,
    VALIDATION_LOSS,
    WATCHED_TOO,
    ArmResult,
    Counted,
    Difference,
    EpochResult,
    LayerResult,
    LevelResult,
    RunResult,
    load_result,
)
from budbreak.results.retraining import WORDS as RETRAINED
from budbreak.results.retraining import is_retrained, retrained_folder, retrained_quantities, with_retrained
from budbreak.results.rows import difference_rows, level_rows, to_csv, to_json
from budbreak.results.subject import is_ap, subject

__all__ = [
    "BATCH_SIZES",
    "COMPACTION",
    "FILE_NAME",
    "NOTES",
    "RETRAINED",
    "TEST_ACCURACY",
    "TRAINING",
    "TRAIN_ACCURACY",
    "TRAIN_LOSS",
    "VALIDATION_ACCURACY",
    "VALIDATION_LOSS",
    "WATCHED_TOO",
    "ArmResult",
    "Cost",
    "Counted",
    "Difference",
    "EpochResult",
    "Estimate",
    "Histories",
    "LayerResult",
    "LevelResult",
    "NotedEnd",
    "NotedEpoch",
    "Notes",
    "NotesFile",
    "RunResult",
    "between",
    "check_equal_survivors",
    "compact_once",
    "compaction_quantities",
    "costs",
    "difference_rows",
    "distinct_names",
    "estimate",
    "holm",
    "is_ap",
    "is_compacted",
    "is_compaction",
    "is_retrained",
    "level_rows",
    "load_result",
    "paired_differences",
    "read_notes",
    "retrained_folder",
    "retrained_quantities",
    "run_of_histories",
    "subject",
    "to_csv",
    "to_json",
    "with_compacted",
    "with_retrained",
]
