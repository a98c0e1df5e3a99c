import random

import pytest

from braintumorseg.cohort_shard import Shard


@pytest.mark.parametrize(("studies", "shards"), [(24, 1), (24, 5), (3, 8), (0, 2), (100, 7)])
def test_all_shards_together_have_each_study_once_in_equal_parts(studies, shards):
    names = [f"case{number}" for number in range(studies)]
    parts = [Shard(index, shards).of(random.Random(index).sample(names, studies), by=str) for index in range(1, shards + 1)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("index", "count"), [(0, 3), (4, 3), (1, 0), (-1, 1)])
def test_there_is_no_part_beyond_the_last(index, count):
    with pytest.raises(ValueError, match="no part"):
        Shard(index, count)
