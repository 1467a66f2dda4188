"""`streamrec simulate`, on files of the user's own."""

import numpy as np
import pandas as pd
import pytest

MEASURES = ["cumulative_regret", "sq_error", "rating", "seconds"]
STEPS = 6


@pytest.fixture
def world(tmp_path):
    rng = np.random.default_rng(3)
    rows = [(f"u{user}", f"i{item}") for user in range(12) for item in rng.choice(30, size=9, replace=False)]
    ratings = pd.DataFrame(rows, columns=["user_id", "item_id"])
    ratings["rating"] = rng.integers(1, 11, size=len(rows)) / 2
    ratings["ts"] = range(len(rows))
    ratings.to_csv(tmp_path / "r.csv", index=False)
    ratings.to_parquet(tmp_path / "r.parquet")
    vectors = pd.DataFrame(rng.normal(size=(5, 3))[rng.integers(0, 5, size=30)], columns=["x0", "x1", "x2"])
    vectors.insert(0, "item_id", [f"i{item}" for item in range(30)])
    vectors.to_parquet(tmp_path / "v.parquet")
    items = pd.DataFrame({"item_id": [f"i{item}" for item in range(30)], "year": 1990 + np.arange(30) % 4})
    items["genres"] = ["Drama|War" if item % 3 else "Comedy" for item in range(30)]
    items.to_csv(tmp_path / "items.csv", index=False)
    return ratings


def command(*more, ratings="r.csv", embeddings="v.parquet", out="out", policy=("greedy", "random")):
    base = ("simulate", "--ratings", ratings, "--embeddings", embeddings, "--steps", STEPS, "--out", out)
    return (*base, "--policy", *policy, *more)


def test_choices_and_curves_are_written_as_the_documentation_says(run, world, tmp_path):
    outcome = run(*command(policy=("greedy", "epsilon_greedy")))
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "choices.parquet",
        "curves.html",
        "curves.parquet",
        "curves.png",
    ]
    choices = pd.read_parquet(tmp_path / "out" / "choices.parquet")
    assert list(choices) == ["policy", "user_id", "step", "item_id", "score", "rating", "explored"]
    assert len(choices) == 2 * 12 * STEPS
    assert choices.policy.unique().tolist() == ["greedy_compat", "epsilon_greedy_compat"]
    met = choices.merge(world, on=["user_id", "item_id"], suffixes=("", "_given"), validate="many_to_one")
    assert len(met) == len(choices)
    assert (met.rating == met.rating_given).all()
    curves = pd.read_parquet(tmp_path / "out" / "curves.parquet")
    assert list(curves) == ["policy", "step", *(column for name in MEASURES for column in (name, f"{name}_se"))]
    greedy = curves[curves.policy == "greedy_compat"].set_index("step")
    assert greedy.index.tolist() == list(range(STEPS + 1))
    assert (greedy.loc[0, MEASURES] == 0).all()
    by_step = choices[choices.policy == "greedy_compat"].groupby("step").rating
    np.testing.assert_allclose(greedy.rating[1:], by_step.mean())
    np.testing.assert_allclose(greedy.rating_se[1:], by_step.std() / np.sqrt(12))


def test_the_same_seed_gives_the_same_choices_of_csv_and_of_parquet(run, world, tmp_path):
    for out, more in (("a", ()), ("b", ()), ("c", ("--seed", 8))):
        run(*command(*more, ratings="r.csv" if out == "a" else "r.parquet", out=out, policy=("random",)))
    choices = [pd.read_parquet(tmp_path / out / "choices.parquet") for out in "abc"]
    pd.testing.assert_frame_equal(choices[0], choices[1])
    assert not choices[0].item_id.equals(choices[2].item_id)


def test_users_are_sampled_and_all_are_taken_where_there_are_fewer(run, world, tmp_path):
    for users, expected in ((5, 5), (50, 12)):
        outcome = run(*command("--users", users))
        assert pd.read_parquet(tmp_path / "out" / "choices.parquet").user_id.nunique() == expected
    assert "50 users were asked for, r.csv has 12: all take part" in outcome.err


def test_default_mode_repeats_nothing_unless_asked(run, world, tmp_path):
    keys = ["policy", "user_id", "item_id"]
    run(*command("--mode", "default"))
    choices = pd.read_parquet(tmp_path / "out" / "choices.parquet")
    assert choices.policy.unique().tolist() == ["greedy", "random"]
    assert not choices.duplicated(keys).any()
    run(*command("--mode", "default", "--repeats"))
    assert pd.read_parquet(tmp_path / "out" / "choices.parquet").duplicated(keys).any()


def test_epsilon_is_the_chance_to_explore(run, world, tmp_path):
    for epsilon in (0, 1):
        run(*command("--epsilon", epsilon, policy=("epsilon_greedy",)))
        assert pd.read_parquet(tmp_path / "out" / "choices.parquet").explored.mean() == epsilon


def test_vectors_are_trained_on_items_where_no_file_gives_them(run, world, tmp_path):
    assert run(*command("--items", "items.csv", embeddings="pca")).code == 0
    outcome = run(*command(embeddings="pca"))
    assert (outcome.code, "--items FILE" in outcome.err) == (2, True)


def test_a_policy_of_the_working_directory_is_run_and_has_no_scores(run, world, tmp_path):
    (tmp_path / "my_policies.py").write_text(
        "def first(items, theta, counts, last_t, epoch):\n    return items.index[0]\n"
    )
    assert run(*command(policy=("my_policies:first", "greedy"))).code == 0
    choices = pd.read_parquet(tmp_path / "out" / "choices.parquet")
    mine = choices[choices.policy == "my_policies:first"]
    assert mine.score.isna().all()
    assert len(mine.drop_duplicates(["user_id", "item_id"])) == 12


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--policy", "best"), "policy must be one of"),
        (("--policy", "greedy", "--policy", "greedy_compat"), "each policy must be named once"),
        (("--policy", "nowhere:Policy"), "'nowhere:Policy' cannot be found"),
        (("--steps", "0"), "steps must be at least 1"),
        (("--users", "0"), "users must be at least 1"),
        (("--epsilon", "1.5"), "must be in [0, 1], got 1.5"),
        (("--s", "0"), "s must be positive"),
        (("--no-repeats",), "compat mode allows repeats"),
        (
            ("--through-bus", "--policy", "tests.services.lab.own_policies:greedy"),
            "got tests.services.lab.own_policies",
        ),
        (
            ("--through-bus", "--mode", "default"),
            "--through-bus is for policies of the scorer",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, world, more, says):
    base = ("simulate", "--ratings", "r.csv", "--embeddings", "v.parquet")
    outcome = run(*base, *more, *(() if "--policy" in more else ("--policy", "greedy")))
    assert outcome.code == 2
    assert says in outcome.err


def test_lines_that_break_the_contract_are_named_and_left_out(run, world, tmp_path):
    with (tmp_path / "r.csv").open("a") as file:
        file.write("u1,i1,9,0\n")
    outcome = run(*command())
    assert outcome.code == 0
    assert "1 lines were left out" in outcome.err


def test_a_folder_that_cannot_be_made_is_a_sentence(run, world, tmp_path):
    outcome = run(*command(out="r.csv"))
    assert outcome.code == 1
    assert "--out r.csv cannot be made" in outcome.err
