"""The exported contract of a deployment."""

import json


def test_schemas_are_written_with_the_deployments_scale_and_topics(run, tmp_path):
    outcome = run("schema", "export", "out/schemas", "--rating-max", "10", "--topic-prefix", "shop.")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == "out/schemas/rating.schema.json"
    rating = json.loads((tmp_path / "out/schemas/rating.schema.json").read_text())
    assert rating["properties"]["rating"]["maximum"] == 10
    channels = json.loads((tmp_path / "out/schemas/asyncapi.json").read_text())["channels"]
    assert channels["ratings"]["address"] == "shop.ratings"
